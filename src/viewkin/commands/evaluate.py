"""Judge features by a protocol."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.commands.detection import DETECTION, judged_by_detection
from viewkin.commands.labelled_images import LabelledRequest, labelled_splits
from viewkin.commands.output_files import check_target
from viewkin.data.dataset import Dataset
from viewkin.data.identity import fingerprint_of
from viewkin.data.source import Source
from viewkin.encode.features import recalibrated
from viewkin.encode.model import Model
from viewkin.encode.onnx_network import refuse_onnx
from viewkin.evaluation.labels import labels_of
from viewkin.evaluation.network import Network
from viewkin.evaluation.protocols import PROTOCOLS, Protocol, settings_of
from viewkin.evaluation.results import Result, describe, read_results, write_results
from viewkin.nets.backbone_place import exists
from viewkin.runs.images import few
from viewkin.runs.models import baselines, device_named, open_model
from viewkin.runtime.errors import UserError, require

RECALIBRATED = 50
"""Batches that move BatchNorm's statistics, where settings ask for it."""


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


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured, and where it was written."""

    results: list[Result]
    """One result a model: chance and the baselines first, then what was judged."""
    written: Path | None
    """JSON file that holds them; None: no file was asked for."""


def evaluate(request: EvaluateRequest, *, write: bool = True) -> Evaluation:
    """Judge a model, and write the results as JSON.

    Args:
        request: what to judge, how, and on which images.
        write: write the results to ``request.out`` or, if that is None, beside the model.

    Raises:
        UserError: an unknown protocol or setting, unlabelled data, or no split to judge on.
    """
    target = target_of(request) if write else None
    # A file that is named holds what was asked for; beside a model, results of other images and settings stay.
    before = read_results(target) if target is not None and request.out is None and target.exists() else []
    detects = request.protocol == DETECTION
    results = detected(request) if detects else judged(request, [request.features])
    if target is not None:
        write_results(
            target, [*(old for old in before if not any(same_measurement(old, new) for new in results)), *results]
        )
    return Evaluation(results, target)


def same_measurement(one: Result, other: Result) -> bool:
    """Tell whether a result takes the place of another: the same model, images and settings, as JSON holds these."""
    texts = [json.dumps([r.model, r.data, r.settings], sort_keys=True, default=str) for r in (one, other)]
    return texts[0] == texts[1] and (one.images == other.images or not (one.images and other.images))


def target_of(request: EvaluateRequest) -> Path:
    """Choose the file of the results, and refuse one that cannot be written.

    Raises:
        UserError: it cannot be written, or holds something else.
    """
    model = Path(request.model)
    name = f"evaluation-{request.protocol}-{request.features}.json"
    if request.out is not None:
        check_target(request.out, ".json", read_results)
        return request.out
    if not exists(model):  # a name, such as timm/NAME:FILE
        return Path(f"{re.sub(r'[^A-Za-z0-9._-]+', '-', request.model)}-{name}")
    # What is measured of one file, such as best.ckpt, is no result of the run that it lies in.
    return model / name if model.is_dir() else model.with_name(f"{model.stem}-{name}")


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
    if protocol.takes_images and "embedding" in features:
        raise UserError(f"{request.protocol} takes the network and no head; use --features backbone.")
    models = [sized(open_model(request.model, name, where), request.image_size) for name in features]
    if getattr(settings, "reference", "") == "bank" and not all(one.memory for one in models):
        raise UserError(
            "reference=bank takes the embedding of a run whose method keeps a bank; use --features embedding, or leave "
            "it out."
        )
    dataset = Dataset.of(request.data, request.reading)
    train, test = labelled_splits(request, dataset, request.protocol, protocol, models[0])
    if most is not None:
        train, test = None if train is None else few(train, most), few(test, most)
    if request.baselines:
        others = baselines(request.model)[1 if protocol.takes_images else 0 :]  # raw pixels are no network
        models = [*(sized(one, request.image_size) for one in others), *models]
    images = fingerprint_of_both(dataset, request, train, test)
    results = [measured(request, dataset, protocol, settings, model, train, test, where) for model in models]
    results = [replace(result, images=images) for result in results]
    if protocol.chance is None:
        return results
    values = protocol.chance(results[0], settings, labels_of(train or test), labels_of(test))
    return [replace(results[0], model="chance", values=values, seconds=0.0, notes=()), *results]


def fingerprint_of_both(dataset: Dataset, request: EvaluateRequest, train: Source | None, test: Source) -> str:
    """Hash the keys and contents of the images that teach and of those that are judged."""
    judged_split = request.train_split if request.holdout is not None else request.test_split
    parts = {"train": (request.train_split, train), "test": (judged_split, test)}
    return fingerprint_of(
        (f"{role}/{key}", content)
        for role, (split, source) in parts.items()
        if source is not None
        for key, content in zip(source.keys, dataset.content_ids(split, keys=source.keys))
    )


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
    dataset: Dataset,
    protocol: Protocol,
    settings: Any,
    model: Model,
    train: Source | None,
    test: Source,
    device: torch.device,
) -> Result:
    """Judge one model."""
    began = time.monotonic()
    if protocol.takes_images:
        outcome = protocol.function(settings, network_of(model, device), train, test)
    else:
        if getattr(settings, "bn_recalibrate", "none") != "none":
            refuse_onnx(model.encoder)
        moving = {"train": train, "test": test}.get(getattr(settings, "bn_recalibrate", "none"))
        with (
            nullcontext()
            if moving is None
            else recalibrated(model.encoder, model.views(moving, device, settings.batch_size, RECALIBRATED))
        ):
            sets: list[Any] = [model.features(test, device), labels_of(test)]
            if train is not None:
                sets = [_teaching(model, settings, train, device), labels_of(train), *sets]
            outcome = protocol.function(settings, *sets)
    split = f"held out of {request.train_split}" if request.holdout is not None else request.test_split
    taught = "" if train is None else f"{len(train):,} {request.train_split}, "
    chosen = "" if request.classes is None else f" of the classes {request.classes}"
    return describe(
        request.protocol,
        getattr(outcome, "config", settings),
        outcome.values(),
        model=model.name,
        data=f"{dataset.name}: {taught}{len(test):,} {split}{chosen}",
        seed=getattr(settings, "seed", None),
        seconds=time.monotonic() - began,
        device=device,
        notes=outcome.notes,
    )


def network_of(model: Model, device: torch.device) -> Network:
    """Give the network of a model, for protocols that show it images.

    Raises:
        UserError: it has none.
    """
    refuse_onnx(model.encoder)
    if not isinstance(model.encoder, nn.Module):
        raise UserError(f"{model.name} has no network to show images to.")
    model.to(device)
    return Network(encoder=model.encoder, policy=model.policy, image_size=model.image_size, device=device)
