"""Use a trained model: embed images, judge features."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from viewkin import config
from viewkin.data.opening import Survey, open_source, survey
from viewkin.data.source import Source
from viewkin.draws import generator_for
from viewkin.errors import UserError
from viewkin.evaluate.embeddings import write_embeddings
from viewkin.evaluate.knn import KnnConfig, knn
from viewkin.evaluate.linear import LinearConfig, linear
from viewkin.evaluate.mlp import MlpConfig, mlp
from viewkin.evaluate.results import Result, describe, write_results
from viewkin.recipes.models import Model, baselines, device_named, open_model
from viewkin.recipes.opening import few, stored_size
from viewkin.recipes.say import say, show_results
from viewkin.recipes.stored import versions

PROTOCOLS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "knn": (KnnConfig, knn),
    "linear": (LinearConfig, linear),
    "mlp": (MlpConfig, mlp),
}
"""Protocol to its settings and its function."""


def embed(
    model: str,
    data: str,
    out: Path,
    *,
    split: str,
    features: str,
    normalise: bool,
    device: str,
    console: Console,
) -> None:
    """Write one embedding for every image of a split as Parquet.

    Raises:
        UserError: a model, split or place that is not there.
    """
    check_file(out)
    where = device_named(device)
    found = survey(data)
    if split not in found.splits:
        raise UserError(f"{data} has no {split} split; it has {', '.join(found.splits)}.")
    opened = open_model(model, features, where)
    source = open_source(data, split=split, size=stored_size(found, opened.image_size))
    rows = opened.features(source, where)
    if normalise:
        rows = nn.functional.normalize(rows, dim=1)
    metadata = {"model": model, "features": opened.name, "normalised": str(normalise), **versions()}
    write_embeddings(out, rows, source.ids, labels=source.labels, classes=source.classes, metadata=metadata)
    say(console, *source.notes, f"{len(rows):,} embeddings of {rows.shape[1]} numbers in {out}")


def check_file(out: Path) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        UserError: it is a folder, or lies in none that may be written.
    """
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise UserError(
            f"--out {out} must be a file in a folder that exists and may be written, such as out/{out.name}."
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What to judge, and how."""

    protocol: str
    """``knn``, ``linear`` or ``mlp``."""
    model: str
    """Run directory, backbone file or checkpoint."""
    data: str
    """Labelled images."""
    out: Path | None = None
    """JSON to write; None: beside the model."""
    features: str = "backbone"
    """``backbone`` or ``embedding``."""
    train_split: str = "train"
    """Split that teaches."""
    test_split: str = "test"
    """Split that is judged."""
    holdout: float | None = None
    """Share of the training split to judge on instead of a test split, 0 to 1."""
    baselines: bool = True
    """Judge raw pixels and the untrained network as well."""
    settings: tuple[str, ...] = ()
    """``path=value`` of the protocol."""
    device: str = "auto"
    """Device."""


def evaluate(request: EvaluateRequest, console: Console) -> list[Result]:
    """Judge a model, print the table, write the JSON.

    Raises:
        UserError: an unknown protocol or setting, unlabelled data, or no split to judge on.
    """
    model = Path(request.model)
    beside = model if model.is_dir() else model.parent
    target = request.out or beside / f"evaluation-{request.protocol}-{request.features}.json"
    results = judged(request, [request.features])
    write_results(target, results)
    show_results(console, f"{request.protocol} on {results[0].data}", results)
    say(console, f"Written to {target}")
    return results


def judged(request: EvaluateRequest, features: Sequence[str], most: int | None = None) -> list[Result]:
    """Judge a model by each kind of its features: chance first, then the baselines, then the model.

    Args:
        request: what to judge; ``features`` below stands in for its own.
        features: ``backbone``, ``embedding`` or both.
        most: images of each split at most.

    Raises:
        UserError: as :func:`evaluate`.
    """
    if request.protocol not in PROTOCOLS:
        raise UserError(f"There is no protocol {request.protocol!r}; it must be one of {', '.join(PROTOCOLS)}.")
    kind, _ = PROTOCOLS[request.protocol]
    settings = kind()
    settings = config.with_values(settings, dict(config.read(settings, text) for text in request.settings))
    if request.out is not None:
        check_file(request.out)
    where = device_named(request.device)
    models = [open_model(request.model, name, where) for name in features]
    train, test = labelled_splits(request, survey(request.data), models[0].image_size)
    if most is not None:
        train, test = few(train, most), few(test, most)
    compared = [*(baselines(request.model) if request.baselines else []), *models]
    results = [measured(request, settings, model, train, test, where) for model in compared]
    return [chance(results[0], _labels(train), _labels(test)), *results]


def measured(
    request: EvaluateRequest, settings: Any, model: Model, train: Source, test: Source, device: torch.device
) -> Result:
    """Judge one model."""
    began = time.monotonic()
    taught, asked = model.features(train, device), model.features(test, device)
    _, function = PROTOCOLS[request.protocol]
    found = function(settings, taught, _labels(train), asked, _labels(test))
    split = f"held out of {request.train_split}" if request.holdout is not None else request.test_split
    return describe(
        request.protocol,
        settings,
        found.values(),
        model=model.name,
        data=f"{request.data}: {len(train):,} {request.train_split}, {len(test):,} {split}",
        seconds=time.monotonic() - began,
        device=device,
        notes=found.notes,
    )


def chance(like: Result, train: Tensor, test: Tensor) -> Result:
    """What naming always the k commonest classes of the training labels gives, for every top-k measure of ``like``."""
    labels, counts = train.unique(return_counts=True)
    ranked = labels[counts.argsort(descending=True, stable=True)]
    values: dict[str, float] = {}
    for name in like.values:
        tried = 5 if name.endswith("top-5") else 1
        values[name] = 100 * float(torch.isin(test, ranked[:tried]).float().mean())
    return replace(like, model="chance", values=values, seconds=0.0, notes=())


def labelled_splits(request: EvaluateRequest, found: Survey, image_size: int) -> tuple[Source, Source]:
    """Open the split that teaches and the one that is judged, both labelled."""
    data, size = request.data, stored_size(found, image_size)
    if request.train_split not in found.splits:
        raise UserError(f"{data} has no {request.train_split} split; it has {', '.join(found.splits)}.")
    train = open_source(data, split=request.train_split, size=size)
    if train.labels is None:
        raise UserError(
            f"{data} has no labels, which {request.protocol} needs; put the images of each class in a folder."
        )
    train = train.subset((train.labels >= 0).nonzero().squeeze(1))
    if request.holdout is not None:
        return held_out(train, request.holdout)
    if request.test_split not in found.splits:
        raise UserError(
            f"{data} has no {request.test_split} split, only {', '.join(found.splits)}; name another --test-split, "
            "or judge on a part of the images with --holdout 0.2."
        )
    test = open_source(data, split=request.test_split, size=size)
    if test.labels is None:
        raise UserError(f"The {request.test_split} split of {data} has no labels; name another --test-split.")
    return train, test.subset((test.labels >= 0).nonzero().squeeze(1))


def held_out(source: Source, share: float) -> tuple[Source, Source]:
    """Split a labelled source in two, class by class, always in the same way: (what teaches, what is judged)."""
    if not 0 < share < 1:
        raise UserError(f"--holdout is {share}; it must be a share between 0 and 1, such as 0.2.")
    labels, order = _labels(source), torch.randperm(len(source), generator=generator_for(0, "holdout"))
    taken: list[Tensor] = []
    for label in labels.unique():
        own = order[labels[order] == label]
        taken.append(own[: max(round(share * len(own)), 1)] if len(own) > 1 else own[:0])
    asked = torch.cat(taken).sort().values
    if not len(asked):
        raise UserError(f"No class of {source.name} has two images, so none can be held out; add images.")
    kept = torch.ones(len(source), dtype=torch.bool).index_fill_(0, asked, False)
    return source.subset(kept.nonzero().squeeze(1)), source.subset(asked)


def _labels(source: Source) -> Tensor:
    if source.labels is None:
        raise UserError(f"{source.name} has no labels.")
    return source.labels
