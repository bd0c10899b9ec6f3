"""From where on two images are the same picture: chosen and checked by copies of the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin.collection.duplicates import (
    NEAR,
    SCENE,
    SCENE_QUANTILE,
    CopyCheck,
    candidates_of_copies,
    check_of,
)
from viewkin.collection.pixel_likeness import SIDE, likeness_of_pairs
from viewkin.commands.copies import KINDS, copies_of, vectors_of_copies
from viewkin.commands.search import Searcher
from viewkin.commands.stored_images import StoredImages
from viewkin.data.grey_thumbnail import grey_thumbnail
from viewkin.runs.models import device_named
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError

SAMPLE = 100
"""Images that copies are made of."""
LEAST = 20
"""Images of which copies could be made, below which the thresholds are not chosen by them."""
SAME = 0.75
"""Likeness from which pictures of the collection count as copies of each other: a copy of one may be taken for another
of them."""


@dataclass(frozen=True)
class Thresholds:
    """From where on images are the same."""

    near: float
    """Likeness of pixels."""
    scene: float
    """Cosine of vectors."""
    notes: list[str]
    """How they were chosen, and what they find."""


def chosen_thresholds(
    searcher: Searcher,
    images: StoredImages,
    kept: Sequence[int],
    thumbnails: Tensor,
    twins: Sequence[list[int]],
    near: float | None,
    scene: float | None,
) -> Thresholds:
    """Choose the thresholds that are not given, and say which share of copies they find.

    Args:
        searcher: the collection, and its model where that is there.
        images: opens its images.
        kept: rows that are compared.
        thumbnails: (N, S, S), of these rows.
        twins: groups of these rows, by position, that are alike by :data:`SAME`.
        near: as given; None: to be chosen.
        scene: as given; None: to be chosen.
    """
    if not bool(thumbnails.any()):
        why = "The images are not where they were, so only exact copies and scenes are looked for."
        return Thresholds(near or NEAR, scene or SCENE, [why])
    order = torch.randperm(len(kept), generator=generator_for(0, "copies"))[:SAMPLE].sort().values.tolist()
    look = partial(copies_of, value_range=searcher.reader.manifest.value_range)
    made = list(images.each([kept[i] for i in order], look, "Making copies"))
    origins = np.array([i for i, copies in zip(order, made) if copies is not None for _ in KINDS], dtype=np.int64)
    copies = [copy for several in made if several is not None for copy in several]
    if len(copies) < LEAST * len(KINDS):
        why = (
            f"Too few images to check the thresholds by copies of them: near is {near or NEAR}, scene {scene or SCENE}."
        )
        return Thresholds(near or NEAR, scene or SCENE, [why])
    vectors, notes = _encoded(searcher, copies)
    check, cropped = _checked(searcher, kept, thumbnails, twins, origins, copies, vectors)
    near = check.threshold() if near is None else near
    if scene is None:
        scene = SCENE if cropped is None else cropped
    found = ", ".join(f"{100 * share:.0f} % of the {kind}" for kind, share in check.found(near).items())
    said = (
        f"Checked by {len(copies)} copies of {len(copies) // len(KINDS)} of the images at a likeness of {near:.3f}: "
        f"{found} are found; {100 * check.false(near):.1f} % are taken for another picture as well."
    )
    return Thresholds(near, scene, [*notes, said])


def _encoded(searcher: Searcher, copies: Sequence[bytes]) -> tuple[Tensor | None, list[str]]:
    """Encode copies by the collection's model, where it is there."""
    try:
        model = searcher.model()
    except UserError as error:
        return None, [f"The thresholds are checked by pixels alone, because the model cannot be used: {error}"]
    return vectors_of_copies(model, copies, device_named("cpu")), []


def _checked(
    searcher: Searcher,
    kept: Sequence[int],
    thumbnails: Tensor,
    twins: Sequence[list[int]],
    origins: NDArray[np.int64],
    copies: Sequence[bytes],
    vectors: Tensor | None,
) -> tuple[CopyCheck, float | None]:
    """Search for the copies: what is found, and how similar cropped ones are to their pictures."""
    count = len(kept)
    small = [grey_thumbnail(BytesIO(copy), SIDE) for copy in copies]
    every = torch.cat([thumbnails, torch.from_numpy(np.stack([one for one in small if one is not None]))])
    rows = None if vectors is None else torch.cat([torch.from_numpy(searcher.reader.vectors[kept]), vectors])
    pairs = candidates_of_copies(rows, every, count)
    likeness = likeness_of_pairs(every, pairs, progress=False)
    twin = _numbered(twins, count)
    same = twin[pairs[:, 0]] == twin[torch.from_numpy(origins)[pairs[:, 1] - count]]
    own = pairs[:, 0] == torch.from_numpy(origins)[pairs[:, 1] - count]
    kept_pairs = own | ~same
    kinds = [KINDS[i % len(KINDS)] for i in range(len(copies))]
    check = check_of(kinds, origins, pairs[kept_pairs], likeness[kept_pairs], count)
    if rows is None or vectors is None:
        return check, None
    cropped = (rows[torch.from_numpy(origins)] * vectors).sum(1)[len(KINDS) - 1 :: len(KINDS)]
    return check, float(cropped.quantile(SCENE_QUANTILE))


def _numbered(groups: Sequence[list[int]], count: int) -> Tensor:
    """Number the groups of ``count`` positions; one that is in none has a number of its own."""
    number = torch.arange(count)
    for group in groups:
        number[group] = group[0]
    return number
