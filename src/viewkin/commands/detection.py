"""Judge backbones by detection: fine-tune a detector from each, measure its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from viewkin.commands.labelled_images import LabelledRequest
from viewkin.data.dataset import Dataset, Images
from viewkin.data.reading import Reading
from viewkin.encode.model import Model
from viewkin.encode.onnx_network import refuse_onnx
from viewkin.evaluation.detection.annotations import open_boxes
from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.results import Result, describe
from viewkin.runs.models import baselines, device_named, open_model
from viewkin.runtime.errors import UserError
from viewkin.settings import read_assignment, with_values

DETECTION = "detection"
"""Name of the protocol on the command line."""
OF_CLASS = "AP "
"""What measures of one class begin with; the others are over all classes."""


def judged_by_detection(
    asked: LabelledRequest,
    *,
    model: str,
    features: str,
    image_size: int | None,
    baseline: bool,
    settings: Sequence[str],
    device: str,
) -> list[Result]:
    """Fine-tune a detector from a model, and from the untrained network beside it, and measure both.

    Raises:
        UserError: an option that detection has not, an unknown setting or class, no boxes, or no stages.
    """
    if features != "backbone" or asked.holdout is not None or image_size is not None:
        raise UserError(
            "Detection fine-tunes the backbone on whole images of two splits: leave out --features, --holdout and "
            "--image-size, and set train_sides and test_side instead."
        )
    config = DetectionConfig()
    config = with_values(config, dict(read_assignment(config, text) for text in settings))
    where = device_named(device)
    reading = asked.reading or Reading()
    if reading.label_column is not None:
        raise UserError("Detection takes labels from the column 'labels' beside 'boxes': leave out --label-column.")
    data, column = _place_of(asked.data), reading.image_column
    train, test = (open_boxes(data, split, column) for split in (asked.train_split, asked.test_split))
    if asked.classes is not None:
        train, test = train.only_classes(asked.classes), test.only_classes(asked.classes)
    opened = open_model(model, "backbone", where)
    refuse_onnx(opened.encoder)
    models = [opened]
    if baseline:
        untrained = baselines(model)[1]
        models = [
            Model(untrained.name, _like(untrained.encoder, opened.encoder), untrained.image_size, opened.policy),
            *models,
        ]
    # torchvision's detectors take a second to import, which no other command waits for.
    from viewkin.evaluation.detection.finetune import detection

    results: list[Result] = []
    for one in models:
        network: Any = one.encoder
        got = detection(config, network, train, test, device=where)
        results.append(
            describe(
                DETECTION,
                got.config,
                got.values(),
                model=one.name,
                data=f"{data}: {len(train):,} {asked.train_split}, {len(test):,} {asked.test_split}",
                seed=config.seed,
                seconds=got.seconds,
                device=where,
                notes=got.notes,
            )
        )
    return results


def _place_of(images: Images) -> str:
    """Give the path of images with boxes.

    Raises:
        UserError: they lie in no file.
    """
    if isinstance(images, Dataset) and images.address is not None:
        return images.name if Path(images.name).exists() else images.address
    if isinstance(images, (str, Path)):
        return str(images)
    raise UserError("Detection reads boxes from files: give the path of a folder or a Parquet file.")


def _like(untrained: Any, trained: Any) -> nn.Module:
    """Tell an untrained network how images are normalised for the trained one."""
    for name in ("config", "mean", "std"):
        setattr(untrained, name, getattr(trained, name))
    return untrained
