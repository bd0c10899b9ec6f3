"""What a run leaves when training is over: its result on test, a report to look at, and where to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from viewkin.augment.views import ViewMaker
from viewkin.commands.evaluate import EvaluateRequest, judged
from viewkin.commands.figures.neighbours import neighbour_rows, titled
from viewkin.data.source import Source
from viewkin.encode.model import Model
from viewkin.evaluation.labels import labels_of
from viewkin.evaluation.results import Result, write_results
from viewkin.figures.image_grid import Tile, draw_grid
from viewkin.figures.report import write_report
from viewkin.figures.style import can_draw, content_of
from viewkin.ops.neighbours import nearest_others
from viewkin.runs.adapt import SMOKE_IMAGES
from viewkin.runs.evidence import write_evidence
from viewkin.runs.execute import TrainedRun, train_run
from viewkin.runs.images import few
from viewkin.runs.models import baselines, open_model
from viewkin.runs.resolve import TrainRequest
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import reporter
from viewkin.runtime.wording import duration
from viewkin.training.fabric import accelerator_of
from viewkin.training.logs import read_metrics
from viewkin.training.monitors import LABELS_NEEDED, labelled

LOOKED_AT = 5000
"""Images among which the report's neighbours are sought."""
PAIRS = 256
"""Images whose two views are to be matched."""
SMALL = 4000
"""Labelled images below which 20 neighbours vote instead of 200."""


@dataclass(frozen=True)
class Training:
    """What training came to."""

    run: TrainedRun
    """The run: its plan, its images and how it ended."""
    results: tuple[Result, ...] = ()
    """kNN of the last epoch, where there are labels: chance and the baselines first."""
    learnt: str = ""
    """What the results say, in a sentence; empty where nothing was judged."""
    evidence: tuple[Path, ...] = ()
    """Tables of what the method took for positives and negatives, for figures."""

    @property
    def finished(self) -> bool:
        """Whether training reached its last epoch; a run that a signal stopped can be resumed."""
        return not self.run.outcome.exit_code


def train(request: TrainRequest) -> Training:
    """Train; then judge a finished run on its images and write its report.

    Raises:
        UserError: anything about the request, the images or the directory does not fit; nothing is written then.
        RunStoppedError: the run could not go on; its last checkpoint is kept.
    """
    run = train_run(request)
    if not run.leads or run.outcome.exit_code:
        return Training(run)
    device = torch.device(accelerator_of(run.plan.stored.recipe.runtime))
    results, learnt = judge(run, device)
    evidence = write_evidence(run.plan.out, run.plan.stored, run.plan.source, device)
    report(run, device, results, learnt)
    return Training(run, tuple(results), learnt, tuple(evidence))


def judge(run: TrainedRun, device: torch.device) -> tuple[list[Result], str]:
    """Measure what was learnt, by the last epoch's weights: kNN where there are labels, else the matching of views.

    Returns:
        The results, and what they say in a sentence.
    """
    source = run.plan.source
    if labelled(source.labels) >= LABELS_NEEDED:
        try:
            return by_neighbours(run, device)
        except UserError as error:  # a run that is done is not lost for what it is judged on
            reporter().say(f"Not judged by labels: {error}")
    untrained, trained = (matched(m, source, device) for m in (baselines(str(run.plan.out))[1], backbone(run, device)))
    count = min(PAIRS, len(source))
    return [], (
        f"Learnt: of two views of one image among {count}, the network matches {trained:.1f} %; untrained "
        f"{untrained:.1f} %, by chance {100 / count:.1f} %."
    )


def by_neighbours(run: TrainedRun, device: torch.device) -> tuple[list[Result], str]:
    """Judge by kNN on the test split or, where there is none to judge on, on a fifth of the training images.

    Raises:
        UserError: neither can be judged on.
    """
    out, stored, source = run.plan.out, run.plan.stored, run.plan.source
    # A test split need not have the classes that were trained on: these are judged among themselves.
    chosen = stored.recipe.data.classes
    holdout = None if chosen is None and "test" in run.plan.dataset.splits else 0.2
    # 200 voters, as published, are too many for the classes of a small set.
    settings = ("k=20",) if len(source) < SMALL else ()
    wanted = EvaluateRequest(
        protocol="knn",
        model=str(out),
        data=run.plan.dataset,
        holdout=holdout,
        classes=chosen,
        settings=settings,
        device=device.type,
    )
    most, features = SMOKE_IMAGES if stored.smoke else None, ["backbone", "embedding"]
    try:
        results = judged(wanted, features, most)
    except UserError as error:
        if holdout is not None:
            raise
        reporter().say(f"{error} A fifth of the training images is judged instead.")
        results = judged(replace(wanted, holdout=0.2), features, most)
    write_results(out / "evaluation-knn.json", results)
    classes = len(source.classes) if chosen is None else len({*labels_of(source).tolist()} - {-1})
    return results, in_words(results, classes)


def in_words(results: Sequence[Result], classes: int) -> str:
    """Say a kNN comparison in a sentence."""
    values = {result.model.partition(",")[0]: next(iter(result.values.values())) for result in results}
    names = {"chance": "chance", "raw pixels": "raw pixels", "untrained": "untrained network", "backbone": "trained"}
    said = ", ".join(f"{name} {values[model]:.1f} %" for model, name in names.items() if model in values)
    return f"Learnt: naming one of {classes} classes by nearest neighbours: {said}."


def backbone(run: TrainedRun, device: torch.device) -> Model:
    """Open the run's backbone."""
    return open_model(str(run.plan.out), "backbone", device)


def matched(model: Model, source: Source, device: torch.device) -> float:
    """Percentage of images whose first view is nearest to their own second view, among PAIRS images."""
    part = few(source, PAIRS)
    maker = ViewMaker(model.policy, model.image_size, {"first": "first", "second": "second"})
    parameters = maker.sample(len(part), generator_for(0, "pairs"), part.size)
    rows: dict[str, list[Tensor]] = {"first": [], "second": []}
    for index, images in part.blocks(64):
        views = maker(images.to(device), parameters.rows(int(index[0]), int(index[-1]) + 1))
        for name, view in views.items():
            rows[name].append(torch.nn.functional.normalize(model.encode(view, device), dim=1))
    similarity = torch.cat(rows["first"]) @ torch.cat(rows["second"]).T
    return 100 * float((similarity.argmax(1) == torch.arange(len(part), device=device)).float().mean())


def report(run: TrainedRun, device: torch.device, results: Sequence[Result], learnt: str) -> None:
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
    facts += [("learnt", learnt.removeprefix("Learnt: "))] if learnt else []
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
