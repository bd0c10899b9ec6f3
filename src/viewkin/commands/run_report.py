"""The page that a finished run leaves: facts, curves, and the neighbours of a few images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import torch

from viewkin.commands.figures.neighbours import neighbour_rows, titled
from viewkin.commands.judge import backbone
from viewkin.evaluation.results import Result
from viewkin.figures.image_grid import Tile, draw_grid
from viewkin.figures.report import Sheet, write_report
from viewkin.figures.style import can_draw, content_of
from viewkin.ops.neighbours import nearest_others
from viewkin.runs.execute import TrainedRun
from viewkin.runs.images import few
from viewkin.runtime.wording import duration
from viewkin.training.logs import read_metrics
from viewkin.training.monitors import warning_of

LEFT_OUT = re.compile(r"left out|\bnot (used|read)\b")
"""Tells a sentence on images that were not used."""
LOOKED_AT = 5000
"""Images among which the report's neighbours are sought."""


def report(run: TrainedRun, device: torch.device, results: Sequence[Result], verdict: str) -> None:
    """Write ``report.html``: what came out, facts, what was left out, curves, and the neighbours of a few images."""
    out, recipe, source, outcome = run.plan.out, run.plan.stored.recipe, run.plan.source, run.outcome
    facts = [
        ("recipe", f"{recipe.name}: {recipe.about}"),
        ("images", f"{len(source):,} of {source.name}"),
        ("training", f"{outcome.steps:,} steps, {recipe.schedule.epochs} epochs"),
        ("seed", str(recipe.seed)),
    ]
    if outcome.images_per_second:
        speed = f"{outcome.images_per_second:,.0f} images/s, {duration(outcome.seconds)} since the start or resume"
        facts.append(("speed", speed))
    facts += [(f"{r.protocol}, {r.model}", ", ".join(f"{k} {v:.2f} %" for k, v in r.values.items())) for r in results]
    history = read_metrics(out / "metrics.jsonl")
    left_out, notes = sorted_notes(run)
    write_report(
        out / "report.html",
        title=out.name,
        summary=verdict,
        facts=facts,
        history=history,
        sheets=[neighbours(run, device)] if can_draw() else [],
        warnings=warnings_at_the_end(history, recipe.data.batch_size),
        left_out=left_out,
        notes=[*notes, *dict.fromkeys(note for result in results for note in result.notes)],
    )


def warnings_at_the_end(history: Sequence[Mapping[str, Any]], batch_size: int) -> list[str]:
    """Say what looked wrong when training ended."""
    last = {name: value for name, value in history[-1].items() if isinstance(value, (int, float))} if history else {}
    warning = warning_of(last, batch_size) if {"spread", "effective_rank"} <= last.keys() else None
    return [] if warning is None else [warning]


def sorted_notes(run: TrainedRun) -> tuple[list[str], list[str]]:
    """Part what is said of the images into what was left out and what was chosen."""
    left_out = [one.sentence for one in run.plan.dataset.left_out(run.plan.stored.recipe.data.split)]
    for note in run.plan.source.notes:
        if LEFT_OUT.search(note) and note not in left_out:
            left_out.append(note)
    return left_out, [note for note in run.plan.source.notes if note not in left_out]


def neighbours(run: TrainedRun, device: torch.device, queries: int = 8, k: int = 8) -> Sheet:
    """Draw a few images with their nearest neighbours by the backbone's features, and name their files."""
    source = run.plan.source
    part = few(source, LOOKED_AT)
    rows = torch.nn.functional.normalize(backbone(run, device).features(part, device), dim=1)
    asked = torch.linspace(0, len(part) - 1, min(queries, len(part))).long()
    similarity, index = nearest_others(rows, asked, k)
    labels = torch.full((len(part),), -1) if part.labels is None else part.labels
    names = [PurePosixPath(name).name for name in part.names]
    tiles = neighbour_rows(part.images, labels, asked, index, similarity, names)
    frames = "" if part.labels is None else "; green: of the anchor's class, red and x: of another"
    anchors = [Tile(image, name=names[i]) for image, i in zip(part.images(asked), asked.tolist())]
    board = draw_grid(anchors, [(titled("nearest first", tiles), tiles)], f"By cosine{frames}.")
    keys, near = list(part.keys), [[int(i) for i in row] for row in index.tolist()]
    files = [(keys[own], [keys[i] for i in row]) for own, row in zip(asked.tolist(), near)]
    title = f"Nearest neighbours among {len(part):,} training images"
    return Sheet(title, content_of(board.figure(), "png"), files)
