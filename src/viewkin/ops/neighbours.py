"""Exact nearest neighbours by dot product, computed in blocks within a memory limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BYTES_PER_SCORE = 16
"""Peak bytes per entry of a float32 block: the similarity, and the temporaries of selection and merging."""
AT_ONCE = 2**16
"""Maximum number of entries among which ties are resolved at a time."""
SAMPLED = 1024
"""Number of reference rows (up to twice as many) from which the largest similarity is estimated."""


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

    The search is exact and uses at most ``memory`` bytes besides inputs and result: it compares one block of queries
    with one block of reference rows at a time. Equal similarities are ordered by index, also at the k-th place (but not
    in half precision, where nearly all ties come from rounding).

    Args:
        queries: (Q, D), finite; unit norm makes the product a cosine.
        reference: (N, D), finite; may be on another device, each block is moved to that of the queries.
        k: number of neighbours; if there are fewer, all are returned.
        block: maximum number of reference rows per block.
        memory: limit of working memory, in bytes.
        exclude_self: the queries are the reference, and row i must not find itself.
        scale: (N,) factors of the products with each reference row, such as 1 / norm: saves a normalised copy.
        dtype: precision of the products, by default that of the queries. bfloat16 is faster and still finds nearly all
            neighbours, because the rounded values are differences from the largest similarity of the query.
        ties: False leaves the order of equal similarities to the device; checking for ties would wait for a GPU.

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

    The result is exact, ties by index included, if every part holds the best k of its reference.
    """
    if len(parts) == 1:
        return parts[0][0][:, :k], parts[0][1][:, :k]
    value, index = ordered(torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1))
    return value[:, :k], index[:, :k]


def nearest_others(rows: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k rows most similar to some of the rows, excluding the query itself.

    Args:
        rows: (N, D) unit norm.
        queries: (Q,) numbers of the rows that are queries.
        k: number of neighbours.

    Returns:
        Cosine (Q, k) falling, and row (Q, k) int64; N - 1 columns if that is less than k.
    """
    similarity, index = top_k(rows[queries], rows, k + 1)
    # The query is excluded by its index, not its rank, since a duplicate may come first.
    own = index == queries.unsqueeze(1)
    own[:, -1] |= ~own.any(1)
    kept = (~own).sort(dim=1, descending=True, stable=True).indices[:, : index.shape[1] - 1].sort(dim=1).values
    return similarity.gather(1, kept), index.gather(1, kept)


def _best_of(blocks: Iterator[tuple[int, Tensor]], k: int, ties: bool) -> list[tuple[Tensor, Tensor]]:
    """Return the best k of all blocks, in parts; parts are merged before they have an eighth of a block's columns."""
    best: list[tuple[Tensor, Tensor]] = []
    select = _select if ties else _largest
    for start, score in blocks:
        value, column = select(score, min(k, score.shape[1]))
        best.append((value.to(torch.promote_types(score.dtype, torch.float32)), column + start))
        if len(best) > 1 and sum(part.shape[1] for part, _ in best) > max(score.shape[1] // 8, 2 * k):
            best = [_joined(best, k, ties)]
    return best


def _shift(query: Tensor, reference: Tensor) -> Tensor:
    """Minus the largest similarity of each query to a sample of the rows: (Q, 1).

    Differences from it are small numbers, which half precision resolves; it does not distinguish 0.980 from 0.981.
    """
    sample = reference[:: max(len(reference) // SAMPLED, 1)].to(query.device, query.dtype)
    return -(query.float() @ sample.float().T).amax(1, keepdim=True).to(query.dtype)


def _joined(parts: list[tuple[Tensor, Tensor]], k: int, ties: bool) -> tuple[Tensor, Tensor]:
    """Merge parts in order of rising index, so that the first of equal similarities is that of the lowest index."""
    if len(parts) == 1:
        return parts[0][0][:, :k], parts[0][1][:, :k]
    value, place = (_select if ties else _largest)(torch.cat([value for value, _ in parts], 1), k)
    return value, torch.cat([index for _, index in parts], 1).gather(1, place)


def _block_sizes(queries: int, reference: int, block: int, memory: int, k: int) -> tuple[int, int]:
    """Numbers of query and reference rows per block that fit in ``memory``; at least one of each."""
    scores, kept = max(memory // BYTES_PER_SCORE, 1), 4 * k
    # A product of few queries with many rows is limited by memory bandwidth: use at least 256 queries if possible.
    block = max(min(block, reference, scores, max(scores // min(queries or 1, 256) - kept, 1024)), 1)
    return max(min(scores // (block + kept), queries, 1024), 1), block


def _hide_self_(score: Tensor, first_query: int, first_reference: int) -> None:
    """Set each query's own column to -inf; both blocks start at the given rows of the same set."""
    column = torch.arange(len(score), device=score.device) + first_query - first_reference
    inside = (column >= 0) & (column < score.shape[1])
    score[inside.nonzero().squeeze(1), column[inside]] = -torch.inf


def _select(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row, falling, ties by column."""
    value, index = _largest(score, min(k + 1, score.shape[1]))
    tied = (value[:, 1:] == value[:, :-1]).any(1).nonzero().squeeze(1)
    for rows in tied.split(max(AT_ONCE // score.shape[1], 1)) if len(tied) else ():
        if value.shape[1] > k:
            at_border = rows[value[rows, k - 1] == value[rows, k]]
            index[at_border, :k] = _first_of_the_tied(score[at_border], value[at_border, k - 1 : k], k)
        value[rows, :k], index[rows, :k] = ordered(score[rows[:, None], index[rows, :k]], index[rows, :k])
    return value[:, :k], index[:, :k]


def _first_of_the_tied(score: Tensor, border: Tensor, k: int) -> Tensor:
    """Columns of the k largest of each row, if several equal the k-th value ``border``: the first of them are taken."""
    above, equal = score > border, score == border
    wanted = k - above.sum(1, keepdim=True, dtype=torch.int32)
    kept = above | (equal & (equal.cumsum(1, dtype=torch.int32) <= wanted))
    return kept.nonzero()[:, 1].view(len(score), k)


def _largest(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``topk``, but several times faster on long rows: the k largest are in the k groups with the largest maxima."""
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
