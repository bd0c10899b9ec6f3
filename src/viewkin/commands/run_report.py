"""The page that a finished run leaves: facts, curves, and the neighbours of a few images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from viewkin.commands.figures.neighbours import neighbour_rows, titled
from viewkin.commands.judge import backbone
from viewkin.evaluation.results import Result
from viewkin.figures.image_grid import Tile, draw_grid
from viewkin.figures.report import write_report
from viewkin.figures.style import can_draw, content_of
from viewkin.ops.neighbours import nearest_others
from viewkin.runs.execute import TrainedRun
from viewkin.runs.images import few
from viewkin.runtime.wording import duration
from viewkin.training.logs import read_metrics

LOOKED_AT = 5000
"""Images among which the report's neighbours are sought."""


def report(run: TrainedRun, device: torch.device, results: Sequence[Result], verdict: str) -> None:
    """Write ``report.html``: facts, curves, and the neighbours of a few images."""
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
    facts += [(f"{r.protocol}, {r.model}", ", ".join(f"{k} {v:.2f}" for k, v in r.values.items())) for r in results]
    facts += [("in short", verdict)] if verdict else []
    write_report(
        out / "report.html",
        title=out.name,
        facts=facts,
        history=read_metrics(out / "metrics.jsonl"),
        sheets=[neighbours(run, device)] if can_draw() else [],
        warnings=[*source.notes],
    )


def neighbours(run: TrainedRun, device: torch.device, queries: int = 8, k: int = 8) -> tuple[str, bytes]:
    """Draw a few images with their nearest neighbours by the backbone's features."""
    source = run.plan.source
    part = few(source, LOOKED_AT)
    rows = torch.nn.functional.normalize(backbone(run, device).features(part, device), dim=1)
    asked = torch.linspace(0, len(part) - 1, min(queries, len(part))).long()
    similarity, index = nearest_others(rows, asked, k)
    labels = torch.full((len(part),), -1) if part.labels is None else part.labels
    rows = neighbour_rows(part.images, labels, asked, index, similarity)
    frames = "" if part.labels is None else "; green: of the anchor's class, red and x: of another"
    blocks = [(titled("nearest first", rows), rows)]
    board = draw_grid([Tile(image) for image in part.images(asked)], blocks, f"By cosine{frames}.")
    return f"Nearest neighbours among {len(part):,} training images", content_of(board.figure(), "png")
