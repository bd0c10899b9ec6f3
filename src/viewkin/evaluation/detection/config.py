"""Settings of detection: how a detector is fine-tuned and measured, as published and shrunk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from viewkin.evaluation.detection.average_precision import Rule
from viewkin.runtime.errors import require
from viewkin.settings import Count, Filled, Momentum, NotNegative, Positive, Settings, Side, WholeNumber

Preset = Literal["small", "voc", "voc-invp", "coco"]
Form = Literal["c4", "fpn"]
Norm = Literal["batch", "frozen"]

PUBLISHED = {
    "batch_size": 16,
    "lr": 0.02,
    "test_side": 800,
    "longest": 1333,
    "anchors": (32, 64, 128, 256, 512),
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "iterations": 600,
        "milestones": (450, 550),
        "warmup": 50,
        "batch_size": 4,
        "lr": 0.005,
        "train_sides": (192, 208, 224, 240, 256),
        "test_side": 240,
        "longest": 400,
        "anchors": (16, 32, 64, 128, 256),
        "rule": "coco",
    },
    "voc": {
        **PUBLISHED,
        "iterations": 24_000,
        "milestones": (18_000, 22_000),
        "warmup": 100,
        "train_sides": tuple(range(480, 801, 32)),
        "rule": "voc07",
    },
    "voc-invp": {
        **PUBLISHED,
        "batch_size": 4,
        "lr": 0.005,
        "iterations": 96_000,
        "milestones": (72_000, 88_000),
        "warmup": 400,
        "train_sides": tuple(range(480, 801, 32)),
        "rule": "voc07",
    },
    "coco": {
        **PUBLISHED,
        "iterations": 180_000,
        "milestones": (120_000, 160_000),
        "warmup": 1000,
        "train_sides": tuple(range(640, 801, 32)),
        "rule": "coco",
    },
}
"""``voc`` and ``coco`` follow MoCo, with Detectron2's warm-up and train sides; ``voc-invp`` follows InvP,
with the same sides; ``small`` is this library's own."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(Settings):
    """How a detector is fine-tuned and measured; None stands for the preset's value.

    References:
        Ren et al., Faster R-CNN, 2015; He et al., MoCo, 2020, section 4.2.
    """

    preset: Preset = "small"
    """``voc``: VOC07+12 trainval to VOC07 test, ``voc-invp`` with 4 images a step; ``coco``; ``small``: a few hundred
    small images."""
    form: Form = "c4"
    """``c4``: proposals on the conv4 map, layer4 as the box head; ``fpn``: a pyramid of conv2 to conv5, two linear
    layers as the box head."""
    norm: Norm = "batch"
    """``batch``: BatchNorm is trained, with a new one after layer4 (C4) or in the pyramid (FPN). ``frozen``: BatchNorm
    keeps the statistics, scales and shifts of pre-training, and no new one is added."""
    iterations: Count | None = None
    """Optimiser steps."""
    milestones: tuple[int, ...] | None = None
    """Steps after which the rate falls tenfold, rising."""
    warmup: WholeNumber | None = None
    """Steps over which the rate rises linearly from a thousandth."""
    batch_size: Count | None = None
    """Images per step; the preset's value is lowered if there are fewer images."""
    lr: Positive | None = None
    """Peak learning rate, absolute."""
    momentum: Momentum = 0.9
    """Momentum of SGD."""
    weight_decay: NotNegative = 1e-4
    """L2 penalty on every weight."""
    train_sides: Annotated[tuple[Side, ...], Filled()] | None = None
    """Shorter sides that training images are resized to, pixels; one is drawn for each image."""
    test_side: Side | None = None
    """Shorter side of test images, pixels."""
    longest: Count | None = None
    """Upper limit of the longer side, pixels; it takes precedence over the shorter side's size."""
    anchors: Annotated[tuple[Side, ...], Filled()] | None = None
    """Sides of the anchors, pixels of the resized image. C4 uses all on its one map; FPN needs five, one per level."""
    proposals: Count = 1000
    """Proposals per image in the test; training uses twice as many."""
    regions: Count = 512
    """Regions per image on which the box head is trained."""
    pyramid: Count = 256
    """Channels of FPN's maps."""
    head: Count = 1024
    """Width of FPN's box head."""
    least_score: Momentum = 0.05
    """Detections with a lower probability are dropped."""
    precise: WholeNumber = 200
    """Batches over which BatchNorm's statistics are averaged before the test; 0 keeps the running statistics."""
    rule: Rule | None = None
    """``voc07`` (11 points) or ``coco`` (101 points)."""
    seed: int = 0
    """Seed of new layers, order, sizes, flips and sampled regions."""

    def _check(self) -> None:
        rising = self.milestones is None or list(self.milestones) == sorted(self.milestones)
        require(rising, "milestones", self.milestones, "in rising order")
        levels = len(self.anchors) if self.anchors is not None else 5
        require(self.form != "fpn" or levels == 5, "anchors", self.anchors, "five, one a level of FPN")

    def resolved(self, images: int) -> DetectionConfig:
        """Fill in the preset for a set of ``images`` training images.

        If ``iterations`` differs from the preset's, warm-up and milestones are scaled in proportion.

        Raises:
            UserError: ``batch_size`` is larger than the number of images.
        """
        filled = dict(PRESETS[self.preset])
        share = (self.iterations or filled["iterations"]) / filled["iterations"]
        filled["milestones"] = tuple(max(round(share * one), 1) for one in filled["milestones"])
        filled["warmup"] = round(share * filled["warmup"])
        filled["batch_size"] = min(filled["batch_size"], images)
        require(
            (self.batch_size or 1) <= images, "batch_size", self.batch_size, f"at most {images}, the images to train on"
        )
        missing = {name: value for name, value in filled.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)
