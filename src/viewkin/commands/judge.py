"""What a run has learnt, measured by its last epoch's weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from viewkin.augment.views import ViewMaker
from viewkin.commands.evaluate import EvaluateRequest, judged
from viewkin.commands.verdict import of_matching, of_neighbours
from viewkin.data.source import Source
from viewkin.encode.model import Model
from viewkin.evaluation.labels import labels_of
from viewkin.evaluation.probes.knn import MANY, SMALL
from viewkin.evaluation.results import Result, write_results
from viewkin.recipes import everyday
from viewkin.runs.adapt import SMOKE_IMAGES
from viewkin.runs.execute import TrainedRun
from viewkin.runs.images import few
from viewkin.runs.models import baselines, open_model
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import reporter
from viewkin.training.monitors import LABELS_NEEDED, labelled

EVERYDAY = tuple(everyday.RECIPES)
"""Recipes that are of no paper."""
PAIRS = 256
"""Images whose two views are to be matched."""


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
    models = [*baselines(str(run.plan.out))[1:], backbone(run, device)]
    untrained, *start, trained = (matched(model, source, device) for model in models)
    count = min(PAIRS, len(source))
    return [], of_matching(trained, untrained, count, start=start[0] if start else None, smoke=run.plan.stored.smoke)


def by_neighbours(run: TrainedRun, device: torch.device) -> tuple[list[Result], str]:
    """Judge by kNN on the test split or, where there is none to judge on, on a fifth of the training images.

    Raises:
        UserError: neither can be judged on.
    """
    out, stored, source = run.plan.out, run.plan.stored, run.plan.source
    # A test split need not have the classes that were trained on: these are judged among themselves.
    chosen = stored.recipe.data.classes
    holdout = None if chosen is None and "test" in run.plan.dataset.splits else 0.2
    # A recipe of a paper keeps the published number; otherwise the protocol chooses it by the size of the set.
    published = stored.recipe.name.partition("-")[0] not in EVERYDAY and len(source) >= SMALL
    settings = (f"k={MANY}",) if published else ()
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
    return results, of_neighbours(results, classes, smoke=stored.smoke)


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
