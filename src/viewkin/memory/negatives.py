"""Negatives of other clusters, drawn by how near they are to the query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.members import Members
from viewkin.runtime.draws import Draw, onto

Sampler = Literal["semihard", "hard", "random", "semieasy"]
"""Members of the nearest pool, the nearest of all, any, or members of the farthest pool."""
PoolForm = Literal["exact", "candidates"]
"""The pool of the whole bank, or of rows drawn at random."""
SCORES = 2**24
"""Similarities held at once while the whole bank is searched: 64 MiB in float32."""
SHOWN = 64
"""Negatives of each query that monitors see."""
SPARSE = 4
"""One row in so many, or fewer, are drawn with replacement: an eighth of them at most repeat others, and nothing grows
with the number of rows."""
LOOKED_AT = 4096
"""Candidates whose similarities say where the pool's edge lies."""


class Drawn(NamedTuple):
    """The negatives of a batch of queries."""

    similarity: Tensor
    """(B, n) with gradient; -inf leaves a place empty."""
    images: Tensor
    """(B, m) int64: some of them for monitors, -1 where there is none."""


@dataclass(frozen=True)
class NegativeSampler:
    """Draw K negatives for every query from the bank rows with other labels.

    ``exact``, with N_pool = ``pool`` N: ``semihard`` draws K of the N_pool rows most similar to the query without
    replacement, then every row of the query's own label again from the others of the pool; ``semieasy`` does so with
    the least similar; ``random`` draws with replacement from all rows of other labels; ``hard`` takes the K most
    similar of these.

    ``candidates`` draws K / ``pool`` rows at random, each once (but see ``SPARSE``), and leaves out those of the
    query's label: of the rest ``semihard`` keeps the K most similar, ``semieasy`` the K least; ``random`` draws K rows,
    with replacement, and leaves out the own. ``hard`` has no such form. A row at rank r of the bank is in with
    probability near K/N_pool below N_pool and near 0 beyond, so the exact distribution is approached as K grows.
    :meth:`log_sum` cuts shared candidates at a threshold instead: the similarity of the K / M-th part of the first
    ``LOOKED_AT`` of M, so that about K are kept.

    Where a whole pool has the query's label, the query has no negative.

    References:
        Xie et al., InterCLR, 2022, section 3.3 and the released code; METHODS 6.3.
    """

    sampler: Sampler
    negatives: int
    """K."""
    pool: float
    """N_pool / N, share of the bank that is near (or far)."""
    form: PoolForm
    shared: bool
    """Candidates are drawn once for the batch instead of for each query."""

    @property
    def _candidates(self) -> int:
        """M, rows that a pool is approached by."""
        return round(self.negatives / self.pool)

    def __call__(self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str) -> Drawn:
        """Draw for queries.

        Args:
            q: (B, D) unit norm, with gradient.
            index: (B,) int64, their images.
            bank: (N, D) constant.
            members: the bank's labels.
            draw: place of the queries in the global batch.
            purpose: names this draw apart from others of the same step.
        """
        if self.sampler == "random" and self.form == "exact":
            chance = draw.rows(purpose, lambda n, g: torch.rand(n, self.negatives, generator=g, dtype=torch.float64))
            return self._chosen(q, bank, members.strangers(index, onto(chance, q.device)))
        if self.form == "candidates" and self.sampler != "hard":
            return self._of_candidates(q, index, bank, members, draw, purpose)
        return self._of_everything(q, index, bank, members, draw, purpose)

    def log_sum(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """``log sum e^(q.V_j / tau)`` over the negatives (B,), with gradient, and some of their images (B, m).

        Shared candidates are summed over blockwise. Arguments as of a call, and tau.
        """
        if self.form == "candidates" and self.shared and self.sampler != "hard":
            return self._pooled(q, index, bank, members, draw, purpose, temperature)
        found = self(q, index, bank, members, draw, purpose)
        none = found.similarity.isneginf().all(1)
        logits = (found.similarity / temperature).masked_fill(none.unsqueeze(1), 0)  # any number: finite gradients
        return logits.logsumexp(1).masked_fill(none, -torch.inf), found.images

    def _pooled(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str, temperature: float
    ) -> tuple[Tensor, Tensor]:
        drawn = onto(self._shared(len(bank), draw, purpose), q.device)
        labels, own = members.labels.index_select(0, drawn), members.labels[index]
        some, other = drawn[:LOOKED_AT], labels[:LOOKED_AT] != own.unsqueeze(1)
        if self.sampler == "random":
            place, least = torch.arange(len(some), device=q.device).expand_as(other), None
        else:
            first = losses.pool_logits(q, bank, some, temperature)
            value, place = self._best(first, other, max(round(self.pool * len(some)), 1))
            least = value[:, -1]
        shown = some_of(place)
        images = some[shown].masked_fill(~other.gather(1, shown), -1)
        far = self.sampler == "semieasy"
        return losses.pool_log_sum(q, bank, drawn, labels, own, least, temperature, far=far), images

    def _shared(self, count: int, draw: Draw, purpose: str) -> Tensor:
        """Candidates (M,) for the whole batch."""
        generator = draw.generator(purpose)
        if self.sampler == "random":
            return torch.randint(count, (self.negatives,), generator=generator)
        if self._candidates < count // SPARSE:
            return torch.randint(count, (self._candidates,), generator=generator)
        return torch.randperm(count, generator=generator)[: self._candidates]

    def _of_each(self, count: int, draw: Draw, purpose: str) -> Tensor:
        """Candidates (B, M) of each query's own: a window of one order of all rows, each from another place on."""
        if self.sampler == "random":
            return draw.rows(purpose, lambda n, g: torch.randint(count, (n, self.negatives), generator=g))
        order = torch.randperm(count, generator=draw.generator(purpose))
        first = draw.rows(f"{purpose} first", lambda n, g: torch.randint(count, (n, 1), generator=g))
        return order[(first + torch.arange(min(self._candidates, count))) % count]

    # ---------------------------------------------------------------- exact

    def _of_everything(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str
    ) -> Drawn:
        """Search the whole bank for each query, some queries at a time."""
        chances: list[Tensor] = []
        if self.sampler != "hard":
            size = max(round(self.pool * len(bank)), 1)
            for what, width in (("order", size), ("again", min(self.negatives, size))):
                chances.append(onto(draw.rows(f"{purpose} {what}", partial(_chances, width)), q.device))
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
                place, bad = drawn_of_pool(same.gather(1, near), *(chance[part] for chance in chances))
                column = near.gather(1, place)
            values.append(similarity.gather(1, column).masked_fill(bad, -torch.inf))
            columns.append(column.masked_fill(bad, -1))
        return self._with_gradient(q, bank, torch.cat(columns), torch.cat(values))

    def _chosen(self, q: Tensor, bank: Tensor, index: Tensor) -> Drawn:
        """Similarities to rows (B, K) that are drawn already; -1 for none."""
        found = torch.cat([s.gather(1, index[part].clamp_min(0)) for part, s in similarities(q, bank)])
        return self._with_gradient(q, bank, index, found.masked_fill(index < 0, -torch.inf))

    def _with_gradient(self, q: Tensor, bank: Tensor, index: Tensor, similarity: Tensor) -> Drawn:
        return Drawn(losses.bank_similarity(q, bank, index, similarity), some_of(index))

    # ---------------------------------------------------------------- candidates

    def _of_candidates(
        self, q: Tensor, index: Tensor, bank: Tensor, members: Members, draw: Draw, purpose: str
    ) -> Drawn:
        """Compare with rows drawn at random, the same for all queries or each query's own."""
        if self.shared:
            drawn = onto(self._shared(len(bank), draw, purpose), q.device)
            similarity = losses.wide(q @ bank.index_select(0, drawn).to(q.dtype).T)
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
        # Of shared rows the product above has the gradient: no (B, K, D) floats, and a softmax over K, not K / pool.
        return Drawn(value, some_of(chosen)) if self.shared else self._with_gradient(q, bank, chosen, value)

    def _best(self, similarity: Tensor, other: Tensor, count: int) -> torch.return_types.topk:
        """Find the candidates of other labels that are the most (or least) similar: values, infinite where none is."""
        easy = self.sampler == "semieasy"
        return similarity.masked_fill(~other, torch.inf if easy else -torch.inf).topk(count, dim=1, largest=not easy)


def some_of(images: Tensor) -> Tensor:
    """Take every n-th of (B, K), as many as monitors see."""
    return images[:, :: max(images.shape[1] // SHOWN, 1)][:, :SHOWN]


def _chances(width: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, width, generator=generator)


@torch.no_grad()
def similarities(q: Tensor, bank: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Similarities to all bank rows (b, N) without gradient, for some queries at a time: never B x N."""
    step, kind = max(SCORES // len(bank), 1), losses.product_type(bank)
    rows = bank.to(kind)
    with torch.autocast(q.device.type, enabled=False):
        for start in range(0, len(q), step):
            part = slice(start, start + step)
            yield part, losses.wide(q[part].detach().to(kind) @ rows.T)


def drawn_of_pool(same: Tensor, order: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
    """Draw K places of a pool without replacement; then replace those of the query's label by others, with replacement.

    Args:
        same: (B, P) bool, whether a place of the pool has the query's label.
        order: (B, P) uniform random numbers.
        again: (B, K) uniform random numbers.

    Returns:
        places (B, K) int64, and whether a place is bad (B, K) because the whole pool has the query's label.
    """
    place = order.topk(again.shape[1], dim=1).indices
    rank_of_other = (~same).cumsum(1)
    others = rank_of_other[:, -1:]
    number = torch.minimum((again * others).long(), others - 1) + 1
    bad = same.gather(1, place)
    other = torch.searchsorted(rank_of_other, number).clamp_max(same.shape[1] - 1)
    return torch.where(bad, other, place), bad & (others == 0)
