"""List pictures that are in a collection more than once, suggest which to keep, and link those that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin.collection.duplicates import (
    Forbidden,
    candidate_pairs,
    groups_of,
    scene_groups,
)
from viewkin.collection.findings import Findings, findings
from viewkin.collection.marks import Pair, add_marks, read_marks
from viewkin.collection.pixel_likeness import SIDE, likeness_of_pairs
from viewkin.collection.reader import Reader
from viewkin.commands.duplicate_thresholds import SAME, Thresholds, chosen_thresholds
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.commands.links import check_links, link_images
from viewkin.commands.search import Searcher
from viewkin.commands.stored_images import StoredImages
from viewkin.data.grey_thumbnail import grey_thumbnail
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.wording import counted


@dataclass(frozen=True, kw_only=True)
class DuplicatesRequest:
    """In which collection to look for duplicates, and what to do about them."""

    collection: Path
    """Folder of the collection."""
    near: float | None = None
    """Likeness of pixels from which two are the same picture, 0 to 1; None: chosen by copies of the images."""
    scene: float | None = None
    """Similarity of vectors from which two show the same scene, 0 to 1; None: chosen likewise."""
    not_duplicates: Sequence[tuple[str, str]] = ()
    """Pairs of keys to remember as no duplicates."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""
    link: Path | None = None
    """Folder to fill with links to the images that are kept; None: no folder."""
    hard: bool = False
    """Make hard links, where symbolic ones are of no use."""
    model: str | None = None
    """The collection's model, where it has moved; None: where it was."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""


@dataclass(frozen=True)
class Group:
    """Images that belong together, the one to keep first."""

    kind: str
    """``exact``, ``near`` or ``scene``."""
    rows: list[int]
    """Rows of the collection."""
    likeness: dict[int, float]
    """Row to its likeness to the one that is kept; the kept one has none."""


def duplicates(request: DuplicatesRequest) -> Findings:
    """Look for duplicates; write the list and make the links that are asked for.

    Raises:
        UserError: no collection, a mark of a key that is not there, or a place that cannot be written.
    """
    for name, value in (("--near", request.near), ("--scene", request.scene)):
        require(value is None or 0 < value <= 1, name, value, "above 0 and at most 1")
    check_finding_file(request.out)
    reader = opened_collection(request.collection)
    check_links(request.link, reader)
    marks = _marked(reader, request.not_duplicates)
    groups, notes = _groups(request, reader, marks)
    found = _table(reader, groups, notes)
    write_findings(request.out, found)
    if request.link is not None:
        dropped = {row for group in groups if group.kind != "scene" for row in group.rows[1:]}
        kept = [row for row in range(len(reader)) if row not in dropped]
        linked = link_images(request.link, reader, kept, hard=request.hard)
        said = f"{counted(linked, 'link')} in {request.link}, one for each image that is kept."
        found = Findings(found.table(), [*found.notes, said], found.shown)
    return found


def _marked(reader: Reader, pairs: Sequence[tuple[str, str]]) -> set[Pair]:
    """Remember pairs, and give all that are remembered."""
    row_of, contents = reader.rows.row_of, _contents(reader)
    for key in (key for pair in pairs for key in pair):
        if key not in row_of:
            raise UserError(f"{key} is no key of {reader.folder}: take keys as `viewkin duplicates` lists them.")
    new: list[Pair] = [frozenset(contents[row_of[key]] for key in pair) for pair in pairs]
    return add_marks(reader.folder, new) if new else read_marks(reader.folder)


def _contents(reader: Reader) -> list[str]:
    """Give what tells images apart: the content id, with the hash of all bytes where that leaves some out."""
    table = reader.rows.table
    return [
        f"{content}{whole or ''}" for content, whole in zip(table["content"].to_pylist(), table["whole"].to_pylist())
    ]


def _groups(request: DuplicatesRequest, reader: Reader, marks: set[Pair]) -> tuple[list[Group], list[str]]:
    """Find the three kinds, one after the other, each among the images that the kind before keeps."""
    contents, better = _contents(reader), _better(reader)
    exact = [Group("exact", rows, dict.fromkeys(rows[1:], 1.0)) for rows in _same_bytes(contents, better, marks)]
    kept = _without(list(range(len(reader))), exact)
    images = StoredImages(reader)
    look = partial(grey_thumbnail, side=SIDE, value_range=reader.manifest.value_range)
    seen = [
        image if image is not None else np.zeros((SIDE, SIDE), np.float32)
        for image in images.each(kept, look, "Reading")
    ]
    thumbnails = torch.from_numpy(np.stack(seen))
    unread = sum(not image.any() for image in seen)
    notes = [f"{counted(unread, 'image')} could not be read, and only exact copies of them are found."] * (unread > 0)
    searcher = Searcher(reader, request.model, request.device)
    alike = _alike(candidate_pairs(torch.from_numpy(reader.vectors[kept]), thumbnails), thumbnails)
    twins = groups_of([pair for pair, value in alike if value >= SAME], set())
    thresholds = chosen_thresholds(searcher, images, kept, thumbnails, twins, request.near, request.scene)
    near = _near(alike, kept, thresholds.near, _forbidden(kept, contents, marks), better)
    rest = _without(kept, near)
    forbidden = _forbidden(rest, contents, marks)
    scenes = scene_groups(reader.vectors[rest], thresholds.scene, forbidden)
    scene = [_group("scene", [rest[i] for i in group], better, _similarity(reader)) for group in scenes]
    return [*exact, *near, *scene], [*thresholds.notes, *notes, *_counts(exact, near, scene, thresholds)]


Alike = list[tuple[tuple[int, int], float]]
"""Pairs with their likeness, falling."""


def _alike(pairs: Tensor, thumbnails: Tensor) -> Alike:
    """Compare pairs; those that are nothing alike are left out."""
    likeness = likeness_of_pairs(thumbnails, pairs)
    order = likeness.argsort(descending=True, stable=True)[: int((likeness > 0).sum())]
    return [((a, b), value) for (a, b), value in zip(pairs[order].tolist(), likeness[order].tolist())]


def _near(
    alike: Alike, kept: list[int], threshold: float, forbidden: Forbidden, better: NDArray[np.int64]
) -> list[Group]:
    """Group images that show the same picture."""
    value = {pair: likeness for pair, likeness in alike if likeness >= threshold}
    best: dict[int, float] = {}
    for pair, likeness in value.items():
        for one in pair:
            best[kept[one]] = max(best.get(kept[one], 0.0), likeness)
    of_rows = {(kept[a], kept[b]): likeness for (a, b), likeness in value.items()}

    def likeness_of(one: int, other: int) -> float:
        """Likeness of two; where they were joined through a third, the best that the other has with any."""
        return of_rows.get((min(one, other), max(one, other)), best[other])

    groups = groups_of(list(value), forbidden)
    return [_group("near", [kept[i] for i in group], better, likeness_of) for group in groups]


def _same_bytes(contents: list[str], better: NDArray[np.int64], marks: set[Pair]) -> list[list[int]]:
    """List the rows of images of the same bytes, the one to keep first."""
    rows_of: dict[str, list[int]] = {}
    for row, content in enumerate(contents):
        rows_of.setdefault(content, []).append(row)
    groups = [rows for content, rows in rows_of.items() if len(rows) > 1 and frozenset([content]) not in marks]
    return [sorted(rows, key=better.__getitem__) for rows in groups]


def _better(reader: Reader) -> NDArray[np.int64]:
    """Rank the images: most pixels first, then the largest file, then the key."""
    table: Any = reader.rows.table
    width, height, size = (table[name].fill_null(0).to_numpy().astype(np.int64) for name in ("width", "height", "size"))
    order = np.lexsort((np.array(reader.rows.keys), -size, -width * height))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _group(kind: str, rows: list[int], better: NDArray[np.int64], alike: Any) -> Group:
    first, *others = sorted(rows, key=better.__getitem__)
    return Group(kind, [first, *others], {row: alike(first, row) for row in others})


def _similarity(reader: Reader) -> Any:
    return lambda one, other: float(reader.vectors[one] @ reader.vectors[other])


def _without(rows: list[int], groups: Sequence[Group]) -> list[int]:
    """Leave out all images of the groups but the one of each that is kept."""
    dropped = {row for group in groups for row in group.rows[1:]}
    return [row for row in rows if row not in dropped]


def _forbidden(rows: list[int], contents: list[str], marks: set[Pair]) -> Forbidden:
    """Number the pairs that are marked, among some rows."""
    place = {contents[row]: i for i, row in enumerate(rows)}
    pairs = [tuple(place[one] for one in pair) for pair in marks if len(pair) == 2 and all(c in place for c in pair)]
    return {(a, b) for a, b in pairs} | {(b, a) for a, b in pairs}


def _table(reader: Reader, groups: Sequence[Group], notes: Sequence[str]) -> Findings:
    """Write the groups as a table, the image to keep first in each."""
    members = [(number, group, row) for number, group in enumerate(groups, 1) for row in group.rows]
    columns = {
        "group": [number for number, _, _ in members],
        "kind": [group.kind for _, group, _ in members],
        "keep": [row == group.rows[0] or group.kind == "scene" for _, group, row in members],
        "likeness": [group.likeness.get(row, 1.0) for _, group, row in members],
        "like": [reader.rows.keys[group.rows[0]] for _, group, _ in members],
    }
    shown = ("group", "kind", "keep", "key", "likeness", "width", "height", "size")
    return findings(reader, [row for _, _, row in members], columns, notes, shown)


def _counts(exact: Sequence[Group], near: Sequence[Group], scene: Sequence[Group], at: Thresholds) -> list[str]:
    def one(groups: Sequence[Group], word: str, words: str) -> str:
        images = sum(len(group.rows) - 1 for group in groups)
        return f"{images:,} {word if images == 1 else words} in {counted(len(groups), 'group')}"

    return [
        f"Exact: {one(exact, 'copy', 'copies')}.",
        f"Near (likeness of {at.near:.3f} or more): {one(near, 'copy', 'copies')}.",
        f"Same scene (similarity of {at.scene:.3f} or more): {one(scene, 'further image', 'further images')}.",
    ]
