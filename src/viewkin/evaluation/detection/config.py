"""Settings of detection: how a detector is fine-tuned and measured, as published and shrunk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from viewkin.evaluation.detection.average_precision import Rule
from viewkin.runtime.errors import require

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
"""``voc`` and ``coco`` follow METHODS 8.6, with Detectron2's warm-up and train sides; ``voc-invp`` follows METHODS 3.6,
with the same sides; ``small`` is this library's own."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """How a detector is fine-tuned and measured; None stands for the preset's value.

    References:
        Ren et al., Faster R-CNN, 2015; He et al., MoCo, 2020, section 4.2; METHODS 8.6.
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
    iterations: int | None = None
    """Optimiser steps."""
    milestones: tuple[int, ...] | None = None
    """Steps after which the rate falls tenfold, rising."""
    warmup: int | None = None
    """Steps over which the rate rises linearly from a thousandth."""
    batch_size: int | None = None
    """Images per step; the preset's value is lowered if there are fewer images."""
    lr: float | None = None
    """Peak learning rate, absolute."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """L2 penalty on every weight."""
    train_sides: tuple[int, ...] | None = None
    """Shorter sides that training images are resized to, pixels; one is drawn for each image."""
    test_side: int | None = None
    """Shorter side of test images, pixels."""
    longest: int | None = None
    """Upper limit of the longer side, pixels; it takes precedence over the shorter side's size."""
    anchors: tuple[int, ...] | None = None
    """Sides of the anchors, pixels of the resized image. C4 uses all on its one map; FPN needs five, one per level."""
    proposals: int = 1000
    """Proposals per image in the test; training uses twice as many."""
    regions: int = 512
    """Regions per image on which the box head is trained."""
    pyramid: int = 256
    """Channels of FPN's maps."""
    head: int = 1024
    """Width of FPN's box head."""
    least_score: float = 0.05
    """Detections with a lower probability are dropped."""
    precise: int = 200
    """Batches over which BatchNorm's statistics are averaged before the test; 0 keeps the running statistics."""
    rule: Rule | None = None
    """``voc07`` (11 points) or ``coco`` (101 points)."""
    seed: int = 0
    """Seed of new layers, order, sizes, flips and sampled regions."""

    def __post_init__(self) -> None:
        for name, allowed in (("preset", Preset), ("form", Form), ("norm", Norm)):
            value = getattr(self, name)
            require(value in get_args(allowed), name, value, f"one of {', '.join(get_args(allowed))}")
        require(self.rule is None or self.rule in get_args(Rule), "rule", self.rule, "voc07 or coco")
        for name in ("iterations", "batch_size", "longest", "proposals", "regions", "pyramid", "head"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        for name in ("warmup", "precise", "weight_decay"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, "at least 0")
        for name in ("train_sides", "anchors"):
            value = getattr(self, name)
            require(
                value is None or (len(value) > 0 and min(value) >= 8), name, value, "one or more, of at least 8 pixels"
            )
        require(self.test_side is None or self.test_side >= 8, "test_side", self.test_side, "at least 8 pixels")
        require(self.lr is None or self.lr > 0, "lr", self.lr, "above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(0 <= self.least_score < 1, "least_score", self.least_score, "at least 0 and below 1")
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
