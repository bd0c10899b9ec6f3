"""What methods know of a memory of vectors: reads, searches and sums over its rows, but never where these lie."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from viewkin import losses
from viewkin.ops.neighbours import ordered, top_k


class Storage(nn.Module, ABC):
    """Rows of unit vectors in memory, by number: a bank of all images, or a queue of keys.

    A method holds a storage and calls the operations below; it never sees all rows. So the rows may lie whole on every
    rank, as in :class:`Replicated`, or be divided among the ranks, without a change to any method. Reads have no side
    effect.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return N, number of rows."""

    @abstractmethod
    def read(self, index: Tensor) -> Tensor:
        """Copy rows: index of any shape (...) int64 -> (..., D) float32 or wider."""

    @abstractmethod
    def similarity(self, q: Tensor, images: Tensor) -> Tensor:
        """Similarities of queries (B, D) to the rows ``images`` (B, R) each: (B, R), with gradient to q.

        Where ``images`` is below 0 the value has no meaning.
        """

    @abstractmethod
    def nearest(self, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Search the k rows nearest to each query (B, D): similarity (B, k) falling, no gradient, and row (B, k)."""

    @abstractmethod
    def log_probability(self, q: Tensor, index: Tensor, temperature: float, own: Tensor | None = None) -> Tensor:
        """Log-probability of each query's own row in the softmax over all rows, (B,), with gradient.

        Args:
            q: (B, D) unit norm.
            index: (B,) int64, own rows.
            temperature: tau.
            own: (B, D), takes the place of the own rows; None: they are read.
        """

    @abstractmethod
    def nearest_sums(
        self,
        q: Tensor,
        index: Tensor,
        count: int,
        temperature: float,
        *,
        positives: losses.Positives | None,
        denominator: losses.Denominator,
        edge: int,
    ) -> losses.Nearest:
        """Sums of exponentials over the ``count`` rows nearest to each query: :func:`viewkin.losses.nearest_sums`."""

    @abstractmethod
    def relation_divergence(self, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """KL(P || P^) of the softmax similarities of two views (B, D) to all rows: (B,), with gradient."""

    @abstractmethod
    def relation_cross_entropy(self, teacher: Tensor, student: Tensor, temperatures: tuple[float, float]) -> Tensor:
        """Cross-entropy of a student's similarities to all rows with a constant teacher's, both (B, D): (B,)."""

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor, temperature: float) -> Tensor:
        """Cross-entropy with k as own row: ``-q.k/tau + log( e^(q.k/tau) + sum_{j != i} e^(q.V_j/tau) )``.

        Per row. If k is the own row, this is the full softmax of NPID.
        """
        return -self.log_probability(q, index, temperature, own=k)


class Replicated(Storage):
    """Every rank holds all rows; all ranks make the same writes."""

    @abstractmethod
    def everything(self) -> Tensor:
        """Return all rows (N, D), not a copy: read only. For monitors, figures and other memories, not for methods."""

    def __len__(self) -> int:
        return len(self.everything())

    def read(self, index: Tensor) -> Tensor:
        """Copy rows."""
        # index_select copies whole rows; indexing with a tensor is many times slower on a CPU.
        rows = self.everything().index_select(0, index.flatten())
        return losses.at_least_float32(rows.view(*index.shape, -1))

    def similarity(self, q: Tensor, images: Tensor) -> Tensor:
        """Multiply queries with the named rows."""
        return losses.bank_similarity(q, self.everything(), images)

    def nearest(self, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Search all rows.

        In half precision (of the rows or of autocast) the search returns 8 k candidates, which are then compared in
        full precision. On a CPU, equal similarities are ordered by row; on a GPU that would require waiting for it.
        """
        rows = self.everything()
        q, dtype = losses.at_least_float32(q.detach()), losses.product_type(rows)
        if dtype.itemsize >= 4:
            return top_k(q, rows, k, ties=q.device.type == "cpu")
        _, image = top_k(q, rows, 8 * k, dtype=dtype)
        similarity, image = ordered(losses.bank_similarity(q, rows, image), image)
        return similarity[:, :k], image[:, :k]

    def log_probability(self, q: Tensor, index: Tensor, temperature: float, own: Tensor | None = None) -> Tensor:
        """Sum over all rows: :func:`viewkin.losses.instance_log_probability`."""
        return losses.instance_log_probability(q, self.everything(), index, temperature, own=own)

    def nearest_sums(
        self,
        q: Tensor,
        index: Tensor,
        count: int,
        temperature: float,
        *,
        positives: losses.Positives | None,
        denominator: losses.Denominator,
        edge: int,
    ) -> losses.Nearest:
        """Search and sum over all rows."""
        return losses.nearest_sums(
            q, self.everything(), index, count, temperature, positives=positives, denominator=denominator, edge=edge
        )

    def relation_divergence(self, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """Sum over all rows: :func:`viewkin.losses.relation_divergence`."""
        return losses.relation_divergence(first, second, self.everything(), temperature)

    def relation_cross_entropy(self, teacher: Tensor, student: Tensor, temperatures: tuple[float, float]) -> Tensor:
        """Sum over all rows: :func:`viewkin.losses.relation_cross_entropy`."""
        return losses.relation_cross_entropy(teacher, student, self.everything(), temperatures)


Rows = Replicated | Tensor
"""A memory, or its rows (N, D)."""


def rows_of(memory: Rows) -> Tensor:
    """Return all rows (N, D) of a memory."""
    return memory.everything() if isinstance(memory, Replicated) else memory
