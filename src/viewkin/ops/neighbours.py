"""Exact nearest neighbours by dot product, block by block within a bound on memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BYTES_PER_SCORE = 16
"""Peak bytes for one entry of a float32 block: the similarity, and what choosing the largest and merging them adds."""
AT_ONCE = 2**16
"""Entries of a block among which ties are resolved at a time."""
SAMPLED = 1024
"""Reference rows, or up to twice as many, that show how similar the nearest are."""


@torch.no_grad()
def top_k(
    queries: Tensor,
    reference: Tensor,
    k: int,
    *,
    block: int = 65536,
    memory: int = 256 * 2**20,
    exclude_self: bool = False,
    dtype: torch.dtype | None = None,
    scale: Tensor | None = None,
    ties: bool = True,
) -> tuple[Tensor, Tensor]:
    """Find the k reference rows with the largest dot product ``s_j = q . r_j`` for every query.

    Exact, in no more than ``memory`` bytes beyond inputs and result: blocks of both sides meet one at a time. Equal
    similarities come in the order of their index, also where they straddle the k-th place (not in half precision,
    where nearly all ties are rounding).

    Args:
        queries: (Q, D), finite; unit norm makes the product a cosine.
        reference: (N, D), finite; may lie on another device, each block is moved to that of the queries.
        k: neighbours wanted; more than there are gives all of them.
        block: most reference rows compared at once.
        memory: bound on working memory, in bytes.
        exclude_self: the queries are the reference, and row i may not find itself.
        scale: (N,) factors of the products with each reference row, such as 1 / norm: saves a normalised copy.
        dtype: precision of the products, by default that of the queries; bfloat16 is faster and finds nearly all
            neighbours, for what is rounded are differences from a query's similarity to rows that are near it.
        ties: False takes equal similarities as the device orders them: looking for them would make the host wait.

    Returns:
        similarity (Q, k) falling (float32 for half precision), and index (Q, k) int64.
    """
    k = max(min(k, len(reference) - int(exclude_self)), 0)
    dtype = dtype or queries.dtype
    ties = ties and dtype.itemsize >= 4
    rows, block = _block_sizes(len(queries), len(reference), block, memory * 4 // max(dtype.itemsize, 4), k)
    result_dtype = torch.promote_types(dtype, torch.float32)
    similarity = torch.empty(len(queries), k, dtype=result_dtype, device=queries.device)
    index = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    if k == 0:
        return similarity, index
    buffer = torch.empty(rows * block, dtype=dtype, device=queries.device)
    for first in range(0, len(queries), rows):
        query = queries[first : first + rows].to(dtype)
        shift = _shift(query, reference) if dtype.itemsize < 4 and scale is None else None

        def scores(query: Tensor = query, first: int = first, shift: Any = shift) -> Iterator[tuple[int, Tensor]]:
            for start in range(0, len(reference), block):
                part = reference[start : start + block].to(queries.device, dtype)
                score = buffer[: len(query) * len(part)].view(len(query), len(part))
                if shift is None:
                    torch.mm(query, part.T, out=score)
                else:
                    torch.addmm(shift.expand(-1, len(part)), query, part.T, out=score)
                if scale is not None:
                    score *= scale[start : start + block].to(queries.device, dtype)
                if exclude_self:
                    _hide_self_(score, first, start)
                yield start, score

        best, where = _joined(_best_of(scores(), k, ties), k, ties)
        similarity[first : first + rows], index[first : first + rows] = best if shift is None else best - shift, where
    return similarity, index


def merge(*parts: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Merge partial results ``(similarity (Q, k_i), index (Q, k_i))`` of disjoint references to the best k.

    Exact, ties by index included, when every part holds its own first k.
    """
    if len(parts) == 1:
        return parts[0][0][:, :k], parts[0][1][:, :k]
    value, index = ordered(torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1))
    return value[:, :k], index[:, :k]


def nearest_others(rows: Tensor, asked: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k rows most like each of some rows, but for these themselves.

    Args:
        rows: (N, D) unit norm.
        asked: (Q,) rows that ask.
        k: neighbours.

    Returns:
        Cosine (Q, k) falling, and row (Q, k) int64; fewer than k where there are no more.
    """
    similarity, index = top_k(rows[asked], rows, k + 1)
    # The image itself is its own nearest; leave it out by name, since a duplicate may come first.
    own = index == asked.unsqueeze(1)
    own[:, -1] |= ~own.any(1)
    kept = (~own).sort(dim=1, descending=True, stable=True).indices[:, : index.shape[1] - 1].sort(dim=1).values
    return similarity.gather(1, kept), index.gather(1, kept)


def _best_of(blocks: Iterator[tuple[int, Tensor]], k: int, ties: bool) -> list[tuple[Tensor, Tensor]]:
    """The best k of all blocks, in parts; joined before they take as many columns as an eighth of a block."""
    found: list[tuple[Tensor, Tensor]] = []
    select = _select if ties else _largest
    for start, score in blocks:
        value, column = select(score, min(k, score.shape[1]))
        found.append((value.to(torch.promote_types(score.dtype, torch.float32)), column + start))
        if len(found) > 1 and sum(part.shape[1] for part, _ in found) > max(score.shape[1] // 8, 2 * k):
            found = [_joined(found, k, ties)]
    return found


def _shift(query: Tensor, reference: Tensor) -> Tensor:
    """Minus the largest similarity of each query to some of the rows: (Q, 1).

    Similarities beside it are small numbers, which half precision tells apart where it does not tell 0.980 from 0.981.
    """
    some = reference[:: max(len(reference) // SAMPLED, 1)].to(query.device, query.dtype)
    return -(query.float() @ some.float().T).amax(1, keepdim=True).to(query.dtype)


def _joined(parts: list[tuple[Tensor, Tensor]], k: int, ties: bool) -> tuple[Tensor, Tensor]:
    """The best k of parts of rising index, each in order, so that the first of equals is the one of lowest index."""
    if len(parts) == 1:
        return parts[0][0][:, :k], parts[0][1][:, :k]
    value, place = (_select if ties else _largest)(torch.cat([value for value, _ in parts], 1), k)
    return value, torch.cat([index for _, index in parts], 1).gather(1, place)


def _block_sizes(queries: int, reference: int, block: int, memory: int, k: int) -> tuple[int, int]:
    """Rows of each side that fit in ``memory`` together; at least one row meets one row."""
    scores, kept = max(memory // BYTES_PER_SCORE, 1), 4 * k
    # A product of few queries with many rows waits for memory: at least 256 queries, where there are as many.
    block = max(min(block, reference, scores, max(scores // min(queries or 1, 256) - kept, 1024)), 1)
    return max(min(scores // (block + kept), queries, 1024), 1), block


def _hide_self_(score: Tensor, first_query: int, first_reference: int) -> None:
    """Give each query's own column the score -inf; both blocks start at the given rows of the same set."""
    column = torch.arange(len(score), device=score.device) + first_query - first_reference
    inside = (column >= 0) & (column < score.shape[1])
    score[inside.nonzero().squeeze(1), column[inside]] = -torch.inf


def _select(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, falling, ties by column."""
    value, index = _largest(score, min(k + 1, score.shape[1]))
    tied = (value[:, 1:] == value[:, :-1]).any(1).nonzero().squeeze(1)
    for rows in tied.split(max(AT_ONCE // score.shape[1], 1)) if len(tied) else ():
        if value.shape[1] > k:
            at_border = rows[value[rows, k - 1] == value[rows, k]]
            index[at_border, :k] = _first_of_the_tied(score[at_border], value[at_border, k - 1 : k], k)
        value[rows, :k], index[rows, :k] = ordered(score[rows[:, None], index[rows, :k]], index[rows, :k])
    return value[:, :k], index[:, :k]


def _first_of_the_tied(score: Tensor, border: Tensor, k: int) -> Tensor:
    """Columns of the k largest of each row where several equal the k-th value ``border``: the first of these."""
    above, equal = score > border, score == border
    wanted = k - above.sum(1, keepdim=True, dtype=torch.int32)
    kept = above | (equal & (equal.cumsum(1, dtype=torch.int32) <= wanted))
    return kept.nonzero()[:, 1].view(len(score), k)


def _largest(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``topk``, several times faster on long rows: the k largest lie in the k groups with the largest maxima."""
    columns = score.shape[1]
    size = 16 if columns >= 64 * k else 8
    groups = columns // size
    if groups < 4 * k:
        return score.topk(k, dim=1)
    grouped = score[:, : groups * size].unflatten(1, (size, groups))
    group = grouped.amax(1).topk(k, dim=1, sorted=False).indices
    members = grouped.gather(2, group[:, None, :].expand(-1, size, -1)).flatten(1)
    value, place = torch.cat([members, score[:, groups * size :]], 1).topk(k, dim=1)
    in_group = place < size * k
    column = group.gather(1, place % k) + (place // k) * groups
    return value, torch.where(in_group, column, place - size * k + groups * size)


def ordered(value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Sort rows by falling value, then by rising index."""
    index, order = index.sort(dim=1)
    value, order = value.gather(1, order).sort(dim=1, descending=True, stable=True)
    return value, index.gather(1, order)
