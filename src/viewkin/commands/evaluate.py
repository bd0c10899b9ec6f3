"""Use a trained model: embed images, judge features."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from viewkin.cli.output import say, show_results
from viewkin.collection.embeddings import read_schema, write_embeddings
from viewkin.commands.detection import DETECTION, judged_by_detection, show_detection
from viewkin.commands.labelled_images import LabelledRequest, labelled_splits
from viewkin.data.dataset import open_source, survey
from viewkin.data.source import Source
from viewkin.encode.features import recalibrated
from viewkin.evaluation.labels import labels_of
from viewkin.evaluation.protocols import PROTOCOLS, Protocol, settings_of
from viewkin.evaluation.results import Result, describe, read_results, write_results
from viewkin.runs.images import few, stored_size
from viewkin.runs.models import Model, baselines, device_named, open_model
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.provenance import versions

RECALIBRATED = 50
"""Batches that move BatchNorm's statistics, where settings ask for it (METHODS 4.6)."""


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
    check_target(out, ".parquet", read_schema)
    where = device_named(device)
    found = survey(data)
    if split not in found.splits:
        raise UserError(f"{data} has no {split} split; it has {', '.join(found.splits)}.")
    opened = open_model(model, features, where)
    size = stored_size(found, opened.image_size)
    source = open_source(data, split=split, size=size, squash=opened.policy.squash)
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


def check_target(out: Path, suffix: str, read: Callable[[Path], object]) -> None:
    """Refuse a file as :func:`check_file` does, and one of another kind: it may be the user's images or a run's part.

    Args:
        out: the file.
        suffix: how its name must end.
        read: reads a file of the kind that is written; one that exists is replaced only if this takes it.

    Raises:
        UserError: it cannot be written, has another ending, or holds something else.
    """
    check_file(out)
    if out.suffix.lower() != suffix:
        raise UserError(f"--out {out} must end in {suffix}.")
    if out.exists():
        try:
            read(out)
        except UserError as error:
            raise UserError(f"--out {out} exists and holds something else; name another file.") from error


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(LabelledRequest):
    """What to judge, how, and on which images."""

    protocol: str
    """Name in ``PROTOCOLS``."""
    model: str
    """Run directory, backbone file or checkpoint."""
    out: Path | None = None
    """JSON to write; None: beside the model."""
    features: str = "backbone"
    """``backbone`` or ``embedding``."""
    image_size: int | None = None
    """Side of the test view, pixels; None: the one that the model was trained for."""
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
    name = f"evaluation-{request.protocol}-{request.features}.json"
    # What is measured of one file, such as best.ckpt, is no result of the run that it lies in.
    target = request.out or (model / name if model.is_dir() else model.with_name(f"{model.stem}-{name}"))
    if request.out is not None:
        check_target(target, ".json", read_results)
    # A file that is named holds what was asked for; beside a model, results of other images and settings stay.
    before = read_results(target) if request.out is None and target.exists() else []
    if request.protocol == DETECTION:
        results, show = detected(request), show_detection
    else:
        results, show = judged(request, [request.features]), show_results
    new = [(result.model, result.data, result.settings) for result in results]
    kept = [result for result in before if (result.model, result.data, result.settings) not in new]
    write_results(target, [*kept, *results])
    show(console, f"{request.protocol} on {results[0].data}", results)
    say(console, f"Written to {target}")
    return results


def detected(request: EvaluateRequest) -> list[Result]:
    """Judge a model by fine-tuning a detector from it.

    Raises:
        UserError: as :func:`evaluate`.
    """
    return judged_by_detection(
        request,
        model=request.model,
        features=request.features,
        image_size=request.image_size,
        baseline=request.baselines,
        settings=request.settings,
        device=request.device,
    )


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
        raise UserError(
            f"There is no protocol {request.protocol!r}; it must be one of {', '.join([*PROTOCOLS, DETECTION])}."
        )
    protocol = PROTOCOLS[request.protocol]
    settings = settings_of(protocol, request.settings)
    where = device_named(request.device)
    if protocol.sees and "embedding" in features:
        raise UserError(f"{request.protocol} takes the network and no head; use --features backbone.")
    models = [sized(open_model(request.model, name, where), request.image_size) for name in features]
    if getattr(settings, "reference", "") == "bank" and not all(one.memory for one in models):
        raise UserError(
            "reference=bank takes the embedding of a run whose method keeps a bank; use --features embedding, or leave "
            "it out."
        )
    found = survey(request.data)
    train, test = labelled_splits(request, request.protocol, protocol, found, models[0])
    if most is not None:
        train, test = None if train is None else few(train, most), few(test, most)
    if request.baselines:
        others = baselines(request.model)[1 if protocol.sees else 0 :]  # raw pixels are no network
        models = [*(sized(one, request.image_size) for one in others), *models]
    results = [measured(request, protocol, settings, model, train, test, where) for model in models]
    if protocol.chance is None:
        return results
    values = protocol.chance(results[0], settings, labels_of(train or test), labels_of(test))
    return [replace(results[0], model="chance", values=values, seconds=0.0, notes=()), *results]


def sized(model: Model, image_size: int | None) -> Model:
    """Let a model see another size than it was trained for; raw pixels keep their own where it is smaller.

    Raises:
        UserError: a size that no image is stored at.
    """
    if image_size is None:
        return model
    require(8 <= image_size <= 1024, "--image-size", image_size, "8 to 1024 pixels")
    return replace(model, image_size=min(image_size, 32) if model.name == "raw pixels" else image_size)


def _teaching(model: Model, settings: Any, train: Source, device: torch.device) -> Tensor | Callable[[int], Tensor]:
    """Encode what teaches once, or a random view of each every epoch, or take the bank, where the settings ask for it.

    Raises:
        UserError: the bank of another run's images.
    """
    if getattr(settings, "reference", "") == "bank" and model.memory is not None:
        return model.memory(train)
    if getattr(settings, "views", "test") == "augmented":
        return partial(model.augmented, train, device, settings.seed)
    return model.features(train, device)


def measured(
    request: EvaluateRequest,
    protocol: Protocol,
    settings: Any,
    model: Model,
    train: Source | None,
    test: Source,
    device: torch.device,
) -> Result:
    """Judge one model."""
    began = time.monotonic()
    if protocol.sees:
        found = protocol.function(settings, model.network(device), train, test)
    else:
        moving = {"train": train, "test": test}.get(getattr(settings, "bn_recalibrate", "none"))
        with (
            nullcontext()
            if moving is None
            else recalibrated(model.encoder, model.views(moving, device, settings.batch_size, RECALIBRATED))
        ):
            sets: list[Any] = [model.features(test, device), labels_of(test)]
            if train is not None:
                sets = [_teaching(model, settings, train, device), labels_of(train), *sets]
            found = protocol.function(settings, *sets)
    split = f"held out of {request.train_split}" if request.holdout is not None else request.test_split
    taught = "" if train is None else f"{len(train):,} {request.train_split}, "
    chosen = "" if request.classes is None else f" of the classes {request.classes}"
    return describe(
        request.protocol,
        settings,
        found.values(),
        model=model.name,
        data=f"{request.data}: {taught}{len(test):,} {split}{chosen}",
        seed=getattr(settings, "seed", None),
        seconds=time.monotonic() - began,
        device=device,
        notes=found.notes,
    )
