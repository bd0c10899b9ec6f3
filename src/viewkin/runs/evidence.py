"""Evidence of a finished run: what its method takes for kin of a few fixed images, and how it divides them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin.augment.policies import Policy
from viewkin.augment.views import test_views
from viewkin.data.source import Source
from viewkin.encode.features import frozen
from viewkin.figures.evidence import (
    ASSIGNMENTS_FILE,
    EVIDENCE_FILE,
    MAX_IMAGES,
    PartAssignments,
    RelatedImages,
    write_assignments,
    write_related,
)
from viewkin.methods.base import Batch, Method
from viewkin.runs.run_settings import RunSettings, rebuilt
from viewkin.runtime.draws import Draw
from viewkin.schedules import Progress
from viewkin.training.checkpoint import load_method, load_newest
from viewkin.training.config import Recipe

ANCHORS = 256
"""Images that are explained: as far apart in the set as can be, always the same."""
TOGETHER = 64
"""Images explained at once."""


def write_evidence(out: Path, stored: RunSettings, source: Source, device: torch.device) -> list[Path]:
    """Explain a finished run by its last checkpoint; write a table of each kind for which there is something to say.

    Every view of an anchor is the test view, so that what is rows does not hang on an augmentation, and a map of
    parts lies over the image as it is.

    Returns:
        The files written.
    """
    path, state, _ = load_newest(out)
    method = rebuilt(stored.recipe, len(source))
    load_method(path, state, method)
    method.to(device)
    finds, parts = explained(method, stored.recipe, source, state["progress"], device)
    about = {"run": stored.recipe.name, "step": state["progress"]["step"], "images": len(source)}
    if finds:
        write_related(out / EVIDENCE_FILE, finds, about)
    if parts:
        write_assignments(out / ASSIGNMENTS_FILE, parts, about)
    return [out / name for name, rows in ((EVIDENCE_FILE, finds), (ASSIGNMENTS_FILE, parts)) if rows]


def explained(
    method: Method, recipe: Recipe, source: Source, progress: Mapping[str, Any], device: torch.device
) -> tuple[list[RelatedImages], list[PartAssignments]]:
    """Let a method explain the anchors, in eval mode."""
    at = _progress(recipe, len(source), progress)
    policy = recipe.augment.chosen()
    anchors = torch.linspace(0, len(source) - 1, min(ANCHORS, len(source))).long()
    bank = method.bank
    finds: list[RelatedImages] = []
    parts: list[PartAssignments] = []
    with frozen(method):
        for number, index in enumerate(anchors.split(TOGETHER)):
            if len(index) < 2:  # no method compares an image with nothing
                continue
            batch = _batch(method, recipe, source, policy, index, number, device)
            for what, explanation in method.explain(batch, at).items():
                if explanation.ndim == 2:
                    finds += _finds(what, explanation[:, :MAX_IMAGES].cpu(), index, source, bank)
                else:
                    parts += [
                        PartAssignments(i, str(source.keys[i]), what, part)
                        for i, part in zip(index.tolist(), explanation.cpu())
                    ]
    return finds, parts


def _batch(
    method: Method,
    recipe: Recipe,
    source: Source,
    policy: Policy,
    index: Tensor,
    number: int,
    device: torch.device,
) -> Batch:
    """The anchors as they are, in the place of every view."""
    views = test_views(source.images(index).to(device), recipe.augment.image_size, policy, method.view_spec)
    draw = Draw(recipe.seed, number, len(index), 0, len(index))
    return Batch(views=views, index=index.to(device), draw=draw)


def _finds(what: str, images: Tensor, index: Tensor, source: Source, bank: Any) -> list[RelatedImages]:
    cosine = None if bank is None else _cosines(bank, index, images)
    finds: list[RelatedImages] = []
    for row, anchor in enumerate(index.tolist()):
        there = images[row] >= 0  # -1 fills up
        similar = None if cosine is None else tuple(cosine[row][there].tolist())
        finds.append(RelatedImages(anchor, str(source.keys[anchor]), what, tuple(images[row][there].tolist()), similar))
    return finds


def _cosines(bank: Any, index: Tensor, images: Tensor) -> Tensor:
    """Cosine of each anchor's row of the bank with those of its images: (B, n)."""
    rows: Tensor = bank.everything()
    own = F.normalize(rows[index.to(rows.device)].float(), dim=1)
    theirs = F.normalize(rows[images.clamp(min=0).to(rows.device)].float(), dim=2)
    return (own.unsqueeze(1) * theirs).sum(2).cpu()


def _progress(recipe: Recipe, images: int, progress: Mapping[str, Any]) -> Progress:
    """Where the run ended; within its last epoch, for schedules know no epoch after that."""
    schedule = recipe.schedule
    steps = max(images // recipe.data.batch_size, 1) * schedule.epochs
    return Progress(
        step=min(int(progress["step"]), steps),
        steps=steps,
        epoch=min(int(progress["epoch"]), schedule.epochs - 1),
        epochs=schedule.epochs,
        round=min(int(progress["round"]), schedule.rounds - 1),
        rounds=schedule.rounds,
    )
