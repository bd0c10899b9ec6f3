"""Negatives of other clusters, drawn by their similarity to the query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.members import Members
from viewkin.memory.negatives_config import NegativesConfig, PoolForm, Sampler
from viewkin.memory.storage import Rows, rows_of
from viewkin.runtime.draws import Draw, onto

SCORES = 2**24
"""Maximum number of similarities in memory while the whole bank is searched: 64 MiB in float32."""
MONITORED = 64
"""Number of negatives per query for monitors."""
SPARSE = 4
"""If fewer than one in so many rows are drawn, they are drawn with replacement: at most an eighth of them are repeats,
and the cost does not depend on the number of rows."""
THRESHOLD_SAMPLE = 4096
"""Number of candidates from which the similarity threshold of the pool is computed."""


class DrawnNegatives(NamedTuple):
    """The negatives of a batch of queries."""

    similarity: Tensor
    """(B, n) with gradient; -inf is padding."""
    images: Tensor
    """(B, m) int64: some of the negatives for monitors; -1 is padding."""


@dataclass(frozen=True)
class NegativeSampler:
    """Draw K negatives for every query from the bank rows with other labels.

    ``exact``, with N_pool = ``pool`` N: ``semihard`` draws K of the N_pool rows most similar to the query, without
    replacement; rows of the query's own label are then replaced by other rows of the pool. ``semieasy`` does the same
    with the least similar rows. ``random`` draws with replacement from all rows of other labels. ``hard`` takes the K
    most similar rows of other labels.

    ``candidates`` draws K / ``pool`` rows at random, each once (but see ``SPARSE``), and removes those of the query's
    label. Of the rest ``semihard`` keeps the K most similar, ``semieasy`` the K least similar. ``random`` draws K rows,
    with replacement, and removes those of the query's label. ``hard`` has no such form. A row at rank r of the bank is
    drawn with a probability near K/N_pool if r < N_pool and near 0 otherwise; the exact distribution is approached as K
    grows. :meth:`log_sum` instead cuts M shared candidates at a similarity threshold, which the fraction K / M of the
    first ``THRESHOLD_SAMPLE`` candidates reach, so that about K are kept.

    If the whole pool has the query's label, the query has no negative.

    References:
        Xie et al., InterCLR, 2022, section 3.3 and the released code.
    """

    sampler: Sampler
    negatives: int
    """K."""
    pool: float
    """N_pool / N, size of the pool as a fraction of the bank."""
    form: PoolForm
    shared: bool
    """Whether candidates are drawn once for the batch instead of for each query."""

    @classmethod
    def of(cls, config: NegativesConfig) -> NegativeSampler:
        """Make a sampler by settings in which number and form are chosen."""
        assert config.number is not None
        assert config.form != "auto"
        return cls(config.sampler, config.number, config.pool, config.form, config.shared_candidates)

    @property
    def _candidates(self) -> int:
        """M, number of candidates."""
        return round(self.negatives / self.pool)

    def __call__(
        self, q: Tensor, index: Tensor, bank: Rows, members: Members, draw: Draw, purpose: str
    ) -> DrawnNegatives:
        """Draw for queries.

        Args:
            q: (B, D) unit norm, with gradient.
            index: (B,) int64, their images.
            bank: memory of all images, or its rows (N, D), constant.
            members: the bank's labels.
            draw: random numbers of the queries within the global batch.
            purpose: name of this draw, different from all others of the same step.
        """
        bank = rows_of(bank)
        if self.sampler == "random" and self.form == "exact":
            chance = draw.rows(purpose, lambda n, g: torch.rand(n, self.negatives, generator=g, dtype=torch.float64))
            return self._similarity_to(q, bank, members.draw_negatives(index, onto(chance, q.device)))
        if self.form == "candidates" and self.sampler != "hard":
            return self._of_candidates(q, index, bank, members, draw, purpose)
        return self._of_everything(q, index, bank, members, draw, purpose)

    def log_sum(
        self, q: Tensor, index: Tensor, bank: Rows, members: Members, draw: Draw, purpose: str, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """``log sum e^(q.V_j / tau)`` over the negatives (B,), with gradient, and some of their images (B, m).

        Shared candidates are summed blockwise. The arguments are those of a call, and tau.
        """
        bank = rows_of(bank)
        if self.form == "candidates" and self.shared and self.sampler != "hard":
            return self._pooled(q, index, bank, members, draw, purpose, temperature)
        negatives = self(q, index, bank, members, draw, purpose)
        none = negatives.similarity.isneginf().all(1)
        logits = (negatives.similarity / temperature).masked_fill(none.unsqueeze(1), 0)  # finite, for the gradient
        return logits.logsumexp(1).masked_fill(none, -torch.inf), negatives.images

    def _pooled(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str, temperature: float
    ) -> tuple[Tensor, Tensor]:
        drawn = onto(self._shared(len(bank), draw, purpose), q.device)
        labels, own = members.labels.index_select(0, drawn), members.labels[index]
        some, other = drawn[:THRESHOLD_SAMPLE], labels[:THRESHOLD_SAMPLE] != own.unsqueeze(1)
        if self.sampler == "random":
            place, least = torch.arange(len(some), device=q.device).expand_as(other), None
        else:
            first = losses.pool_logits(q, bank, some, temperature)
            value, place = self._best(first, other, max(round(self.pool * len(some)), 1))
            least = value[:, -1]
        shown = every_nth(place)
        images = some[shown].masked_fill(~other.gather(1, shown), -1)
        far = self.sampler == "semieasy"
        return losses.pool_log_sum(q, bank, drawn, labels, own, least, temperature, far=far), images

    def _shared(self, count: int, draw: Draw, purpose: str) -> Tensor:
        """Draw candidates (M,) for the whole batch."""
        generator = draw.generator(purpose)
        if self.sampler == "random":
            return torch.randint(count, (self.negatives,), generator=generator)
        if self._candidates < count // SPARSE:
            return torch.randint(count, (self._candidates,), generator=generator)
        return torch.randperm(count, generator=generator)[: self._candidates]

    def _of_each(self, count: int, draw: Draw, purpose: str) -> Tensor:
        """Draw candidates (B, M) for each query: windows of one permutation of all rows, each with a random start."""
        if self.sampler == "random":
            return draw.rows(purpose, lambda n, g: torch.randint(count, (n, self.negatives), generator=g))
        order = torch.randperm(count, generator=draw.generator(purpose))
        first = draw.rows(f"{purpose} first", lambda n, g: torch.randint(count, (n, 1), generator=g))
        return order[(first + torch.arange(min(self._candidates, count))) % count]

    # ---------------------------------------------------------------- exact

    def _of_everything(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str
    ) -> DrawnNegatives:
        """Search the whole bank for each query, in blocks of queries."""
        chances: list[Tensor] = []
        if self.sampler != "hard":
            size = max(round(self.pool * len(bank)), 1)
            for what, width in (("order", size), ("again", min(self.negatives, size))):
                chances.append(onto(draw.rows(f"{purpose} {what}", partial(_uniform, width)), q.device))
        own = members.labels[index]
        columns: list[Tensor] = []
        values: list[Tensor] = []
        for part, similarity in similarities(q, bank):
            same = members.labels == own[part].unsqueeze(1)
            if self.sampler == "hard":
                column = similarity.masked_fill(same, -torch.inf).topk(min(self.negatives, len(bank)), dim=1).indices
                bad = same.gather(1, column)
            else:
                near = similarity.topk(chances[0].shape[1], dim=1, largest=self.sampler == "semihard").indices
                place, bad = draw_from_pool(same.gather(1, near), *(chance[part] for chance in chances))
                column = near.gather(1, place)
            values.append(similarity.gather(1, column).masked_fill(bad, -torch.inf))
            columns.append(column.masked_fill(bad, -1))
        return self._with_gradient(q, bank, torch.cat(columns), torch.cat(values))

    def _similarity_to(self, q: Tensor, bank: Tensor, index: Tensor) -> DrawnNegatives:
        """Compute the similarities to drawn rows (B, K); -1 for none."""
        similarity = torch.cat([s.gather(1, index[part].clamp_min(0)) for part, s in similarities(q, bank)])
        return self._with_gradient(q, bank, index, similarity.masked_fill(index < 0, -torch.inf))

    def _with_gradient(self, q: Tensor, bank: Tensor, index: Tensor, similarity: Tensor) -> DrawnNegatives:
        return DrawnNegatives(losses.bank_similarity(q, bank, index, similarity), every_nth(index))

    # ---------------------------------------------------------------- candidates

    def _of_candidates(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str
    ) -> DrawnNegatives:
        """Choose among random rows, which are shared by all queries or drawn for each query."""
        if self.shared:
            drawn = onto(self._shared(len(bank), draw, purpose), q.device)
            similarity = losses.at_least_float32(q @ bank.index_select(0, drawn).to(q.dtype).T)
        else:
            drawn = onto(self._of_each(len(bank), draw, purpose), q.device)
            similarity = torch.cat([s.gather(1, drawn[part]) for part, s in similarities(q, bank)])
        other = members.labels[drawn] != members.labels[index].unsqueeze(1)
        if self.sampler == "random":
            best = torch.arange(other.shape[1], device=other.device).expand_as(other)
        else:
            best = self._best(similarity.detach(), other, min(self.negatives, other.shape[1])).indices
        bad = ~other.gather(1, best)
        value = similarity.gather(1, best).masked_fill(bad, -torch.inf)
        chosen = drawn.expand_as(other).gather(1, best).masked_fill(bad, -1)
        # With shared rows the gradient is that of the product above: no (B, K, D) tensor, and a softmax over K only.
        return DrawnNegatives(value, every_nth(chosen)) if self.shared else self._with_gradient(q, bank, chosen, value)

    def _best(self, similarity: Tensor, other: Tensor, count: int) -> torch.return_types.topk:
        """Take the most (or least) similar candidates of other labels; their values are infinite if there are none."""
        easy = self.sampler == "semieasy"
        return similarity.masked_fill(~other, torch.inf if easy else -torch.inf).topk(count, dim=1, largest=not easy)


def every_nth(images: Tensor) -> Tensor:
    """Take every n-th image of (B, K), at most ``MONITORED`` per row, for monitors."""
    return images[:, :: max(images.shape[1] // MONITORED, 1)][:, :MONITORED]


def _uniform(width: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, width, generator=generator)


@torch.no_grad()
def similarities(q: Tensor, bank: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of queries and their similarities to all bank rows (b, N), without gradient: never B x N at once."""
    step, kind = max(SCORES // len(bank), 1), losses.product_type(bank)
    rows = bank.to(kind)
    with torch.autocast(q.device.type, enabled=False):
        for start in range(0, len(q), step):
            part = slice(start, start + step)
            yield part, losses.at_least_float32(q[part].detach().to(kind) @ rows.T)


def draw_from_pool(same: Tensor, order: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
    """Draw K members of a pool without replacement; replace those of the query's label by others, with replacement.

    Args:
        same: (B, P) bool, whether a member of the pool has the query's label.
        order: (B, P) uniform random numbers for the first draw.
        again: (B, K) uniform random numbers for the replacements.

    Returns:
        Positions in the pool (B, K) int64, and a mask (B, K) of positions that are invalid because the whole pool has
        the query's label.
    """
    place = order.topk(again.shape[1], dim=1).indices
    rank_of_other = (~same).cumsum(1)
    others = rank_of_other[:, -1:]
    number = torch.minimum((again * others).long(), others - 1) + 1
    bad = same.gather(1, place)
    other = torch.searchsorted(rank_of_other, number).clamp_max(same.shape[1] - 1)
    return torch.where(bad, other, place), bad & (others == 0)
