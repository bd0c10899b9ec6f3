"""What a run leaves when training is over: its result on test, a report to look at, and where to look."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from rich.console import Console

from viewkin.data.opening import survey
from viewkin.data.source import Source
from viewkin.draws import generator_for
from viewkin.evaluate.results import Result
from viewkin.figures.neighbours import neighbour_sheet
from viewkin.figures.report import write_report
from viewkin.neighbours import top_k
from viewkin.recipes.resolve import TrainRequest
from viewkin.recipes.run import opened, stored_run
from viewkin.recipes.use import EvaluateRequest, evaluate, open_model
from viewkin.train.logs import read_metrics
from viewkin.train.loop import Outcome

LOOKED_AT = 5000
"""Images among which the report's neighbours are sought."""


def finish(request: TrainRequest, out: Path, outcome: Outcome, console: Console) -> int:
    """Evaluate and report a finished run; say how to go on with a stopped one.

    Returns:
        The process's exit code: 0, or 128 + the signal that stopped the run.
    """
    if int(os.environ.get("RANK", "0")):
        return 0 if outcome.finished else 128 + (outcome.signal or 0)
    if not outcome.finished:
        console.print(
            f"Stopped and saved at step {outcome.steps}. Go on with: viewkin train {request.data} --out {out} --resume",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return 128 + (outcome.signal or 0)
    results = final_results(request, out, console)
    report(request, out, outcome, results)
    console.print(f"Backbone: {out / 'backbone.safetensors'}   load it with viewkin.load_backbone({str(out)!r})")
    console.print(f"Report:   {out / 'report.html'}   curves and nearest neighbours, in any browser")
    return 0


def final_results(request: TrainRequest, out: Path, console: Console) -> list[Result]:
    """Judge by kNN on test, by the last epoch's weights, where the data has labels and a test split."""
    found = survey(request.data)
    if not found.labelled or "test" not in found.splits:
        return []
    results: list[Result] = []
    for features, compare in (("backbone", True), ("embedding", False)):
        wanted = EvaluateRequest(
            protocol="knn", model=str(out), data=request.data, features=features, baselines=compare
        )
        results += evaluate(wanted, console)
    return results


def report(request: TrainRequest, out: Path, outcome: Outcome, results: list[Result]) -> None:
    """Write ``report.html``: facts, curves, and the neighbours of a few images."""
    stored, recipe = stored_run(out)
    source = opened(request.data, recipe, bool(stored["smoke"]))
    facts = [
        ("recipe", f"{recipe.name}: {recipe.about}"),
        ("images", f"{len(source):,} of {source.name}"),
        ("training", f"{outcome.steps:,} steps, {recipe.schedule.epochs} epochs, {outcome.seconds / 60:.1f} minutes"),
        ("speed", f"{outcome.images_per_second:,.0f} images/s"),
        ("seed", str(recipe.seed)),
    ]
    facts += [(f"{r.protocol}, {r.model}", ", ".join(f"{k} {v:.2f}" for k, v in r.values.items())) for r in results]
    write_report(
        out / "report.html",
        title=out.name,
        facts=facts,
        history=read_metrics(out / "metrics.jsonl"),
        sheets=[neighbours(out, source)],
        warnings=[*source.notes],
    )


def neighbours(out: Path, source: Source, queries: int = 8, k: int = 8) -> tuple[str, bytes]:
    """Draw a few images with their nearest neighbours by the backbone's features."""
    order = torch.randperm(len(source), generator=generator_for(0, "report"))[:LOOKED_AT]
    part = source.subset(order.sort().values)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = torch.nn.functional.normalize(open_model(str(out), "backbone", device).features(part, device), dim=1)
    asked = torch.linspace(0, len(part) - 1, min(queries, len(part))).long()
    similarity, index = top_k(rows[asked], rows, k + 1)
    # The image itself is its own nearest; leave it out by name, since a duplicate may come first.
    own = index == asked.unsqueeze(1)
    own[:, -1] |= ~own.any(1)
    kept = (~own).sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
    similarity, index = similarity.gather(1, kept), index.gather(1, kept)
    everything, place = torch.cat([asked, index.flatten()]).unique(return_inverse=True)
    sheet = neighbour_sheet(
        part.images(everything),
        place[: len(asked)],
        place[len(asked) :].view_as(index),
        similarity,
        None if part.labels is None else part.labels[everything],
    )
    return f"Nearest neighbours among {len(part):,} training images", sheet
