"""Linear classification of cached features: one softmax layer on a frozen network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import ROWS_AT_ONCE, train_and_test
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import Bar, progress_bar
from viewkin.schedules import cosine, step_decay
from viewkin.settings import (
    Bytes,
    Count,
    Epochs,
    LearningRates,
    Milestones,
    Momentum,
    NotNegative,
    Positive,
    Proportion,
    Settings,
)

BYTES_PER_IMAGE = 48
"""Bytes per training image of the permutations and row numbers, as int64."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig(Settings):
    """Linear probe on pooled features, by default as for EIR's LC (CIFAR, STL, ImageNet-100)."""

    learning_rates: LearningRates = (0.1, 1.0, 10.0, 30.0)
    """Peak learning rates to try, per 256 images; of several, the best on held-out *train* images is used."""
    epochs: Epochs = 100
    """Passes over the training features."""
    batch_size: Count = 256
    """Images per step (B); the rate is multiplied by B / 256."""
    momentum: Momentum = 0.9
    """Momentum of SGD."""
    weight_decay: NotNegative = 0.0
    """L2 penalty on weights and biases."""
    schedule: Literal["cosine", "step"] = "cosine"
    """``cosine``: half a cosine to 0 over all steps; ``step``: times ``factor`` at each milestone."""
    milestones: Milestones = (40, 60, 80)
    """Epochs after which the step schedule falls."""
    factor: Positive = 0.2
    """Factor of the learning rate at each milestone of the step schedule."""
    init_std: NotNegative | None = 0.01
    """Standard deviation of the initial weights; None: sqrt(2 / classes). Biases start at 0."""
    scaling: Literal["none", "standardise", "unit"] = "none"
    """``none``: features as they are; ``standardise``: mean 0 and variance 1 per dimension over train; ``unit``: unit
    norm."""
    holdout: Proportion = 0.1
    """Fraction of the training images that is held out to choose the rate."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and the held-out part."""
    memory: Bytes = 2**30
    """Limit of working memory besides the given features, bytes; rates that do not fit together are tried in turn."""


_MOCO = LinearConfig(learning_rates=(30.0,), schedule="step", milestones=(60, 80), factor=0.1)
LINEAR_PRESETS = {
    "eir": LinearConfig(),
    "moco": _MOCO,
    "eir-moco": replace(_MOCO, learning_rates=(10.0,)),
    "invp": LinearConfig(learning_rates=(30.0,), schedule="step", init_std=None),
}
"""Name to published settings: ``eir`` for EIR's LC (its optimiser is not published), ``moco`` on ImageNet,
``eir-moco`` of EIR's released code on ImageNet-100, ``invp`` on CIFAR and SVHN."""


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """Accuracy of the linear probe after the last epoch."""

    top1: float
    """Top-1 accuracy on test, 0 to 1."""
    top5: float
    """Fraction of test images with the right class among the five best (all, if there are fewer), 0 to 1."""
    learning_rate: float
    """Rate used, per 256 images."""
    validation: dict[float, float]
    """Rate -> top-1 on the held-out part of train; empty if only one rate was given."""
    predicted: Tensor
    """(M,) predicted labels, in the values of the training labels."""
    weight: Tensor
    """(C, D), for features after scaling."""
    bias: Tensor
    """(C,)."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {"linear top-1": 100 * self.top1, "linear top-5": 100 * self.top5}


def linear(
    config: LinearConfig,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    progress: bool = True,
) -> LinearResult:
    """Train a softmax layer on frozen features and measure it on test, once, after the last epoch.

    The learning rate is chosen on a held-out part of train; the layer is then trained again on all of train.

    Args:
        config: the protocol.
        train: (N, D) features; their device is used.
        train_labels: (N,) non-negative integers, any values.
        test: (M, D).
        test_labels: (M,); a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes do not match, features are not finite, an image has no label, a probe that diverges
            at every learning rate, or one layer that needs more than ``config.memory``.

    References:
        Zhang et al., Colorful Image Colorization, 2016, section 3.2; He et al., MoCo, 2020, section 4.1 (rate 30).
    """
    began = time.perf_counter()
    data = train_and_test(train, train_labels, test, test_labels)
    scale = _feature_scaling(config, data.train)
    probe = _Probe(config=config, x=data.train, y=data.y, classes=len(data.classes), scale=scale)
    rate, validation, weight, bias = _choose_and_fit(probe, progress)
    top1, top5, predicted = data.classify_test(lambda x: scale(x) @ weight + bias, probe.rows_at_once)
    return LinearResult(
        top1=top1,
        top5=top5,
        learning_rate=rate,
        validation=validation,
        predicted=predicted,
        weight=weight.T.contiguous(),
        bias=bias,
        seconds=time.perf_counter() - began,
        notes=data.notes + ((f"Learning rate {rate:g}, chosen on a part of train.",) if validation else ()),
    )


def _feature_scaling(config: LinearConfig, train: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that scales features (B, D) by the statistics of train; it keeps no second copy of a set."""
    if config.scaling == "unit":
        return lambda x: torch.nn.functional.normalize(x, dim=1)
    if config.scaling == "standardise":
        std, mean = torch.std_mean(train, 0, correction=0)
        return lambda x: (x - mean) / (std + 1e-6)
    return lambda x: x


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """Training data of the layers, and how much fits in memory at once."""

    config: LinearConfig
    x: Tensor
    """(N, D), before scaling."""
    y: Tensor
    """(N,) positions of the classes."""
    classes: int
    scale: Callable[[Tensor], Tensor]

    @property
    def rows_at_once(self) -> int:
        """Number of rows that are classified at once."""
        return max(min(ROWS_AT_ONCE, self.config.memory // (16 * sum(self.shape))), 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Dimensions and classes (D, C)."""
        return self.x.shape[1], self.classes

    def layers_at_once(self) -> int:
        """Number of layers that are trained at the same time.

        Raises:
            UserError: a single layer does not fit in memory.
        """
        (dim, classes), batch = self.shape, min(self.config.batch_size, len(self.x))
        common = BYTES_PER_IMAGE * len(self.x) + 4 * 2 * batch * dim
        each = 4 * 3 * classes * (dim + batch)  # weight, velocity, gradient; logits, their softmax, the error
        if common + each > self.config.memory:
            raise UserError(
                f"a linear layer of {classes:,} classes on {dim:,} dimensions and {len(self.x):,} images needs "
                f"{common + each:,} bytes of working memory and memory is {self.config.memory:,}: give more, or a "
                "smaller batch_size."
            )
        return min((self.config.memory - common) // each, len(self.config.learning_rates))


def _choose_and_fit(probe: _Probe, progress: bool) -> tuple[float, dict[float, float], Tensor, Tensor]:
    """Choose the rate, then train with it on all of train: rate, validation, weight (D, C), bias (C,)."""
    config, images = probe.config, len(probe.x)
    rates = config.learning_rates
    at_once, sweep = probe.layers_at_once(), len(rates) > 1
    held = min(max(round(config.holdout * images), 1), images - 1) if sweep else 0
    passes = -(-len(rates) // at_once) if sweep else 0
    total = config.epochs * (_steps(config, images - held) * passes + _steps(config, images))
    validation: dict[float, float] = {}
    with progress_bar("linear probe", total, shown=progress) as bar:
        if sweep:
            if held < 1:
                raise UserError(
                    "one training image is too few to choose a learning rate on: give a single learning rate."
                )
            order = torch.randperm(images, generator=generator_for(config.seed, "linear holdout")).to(probe.x.device)
            kept, out = order[held:].sort().values, order[:held]
            for first in range(0, len(rates), at_once):
                validation |= _validate(probe, rates[first : first + at_once], kept, out, bar)
            rates = (max(rates, key=validation.__getitem__),)
        weight, bias = _fit(probe, rates, torch.arange(images, device=probe.x.device), bar)
    if not torch.isfinite(weight).all():
        raise UserError("the linear probe diverged: give smaller learning_rates, or scaling='standardise'.")
    return rates[0], validation, weight[:, 0], bias[0]


def _validate(probe: _Probe, rates: tuple[float, ...], kept: Tensor, out: Tensor, bar: Bar) -> dict[float, float]:
    """Train on the images ``kept`` with several rates at once; return each rate's top-1 on the images held ``out``."""
    weight, bias = _fit(probe, rates, kept, bar)
    accuracies: dict[float, float] = {}
    for column, rate in enumerate(rates):
        layer, offset = weight[:, column], bias[column]
        best = [(probe.scale(probe.x[rows]) @ layer + offset).argmax(1) for rows in out.split(probe.rows_at_once)]
        finite = bool(torch.isfinite(layer).all())
        accuracies[rate] = metrics.accuracy(torch.cat(best), probe.y[out]) if finite else 0.0
    return accuracies


def _fit(probe: _Probe, rates: tuple[float, ...], images: Tensor, bar: Bar) -> tuple[Tensor, Tensor]:
    """Train one softmax layer per rate on ``images``, all on the same batches: weight (D, L, C), bias (L, C).

    The layers form one (D, L*C) matrix, so a step is two matrix products. The gradient is
    ``x^T (softmax - onehot) / B``. A rate that diverges affects only its own columns.
    """
    config, (dim, classes) = probe.config, probe.shape
    generator = generator_for(config.seed, "linear init")
    std = math.sqrt(2 / classes) if config.init_std is None else config.init_std
    start = torch.randn(dim, 1, classes, generator=generator) * std
    weight = start.expand(-1, len(rates), -1).flatten(1).to(probe.x.device, copy=True)
    bias = probe.x.new_zeros(len(rates) * classes)
    state = [(weight, torch.zeros_like(weight)), (bias, torch.zeros_like(bias))]
    per_image = torch.tensor(rates, device=bias.device).repeat_interleave(classes) / 256
    scale = per_image * min(config.batch_size, len(images))
    steps = config.epochs * _steps(config, len(images))
    step = 0
    for epoch in range(config.epochs):
        order = torch.randperm(len(images), generator=generator_for(config.seed, "linear order", epoch))
        for rows in order.to(images.device).split(config.batch_size):
            rows = images[rows]
            part = probe.scale(probe.x[rows])
            error = torch.addmm(bias, part, weight).view(len(rows), len(rates), classes).softmax(2)
            right = probe.y[rows, None, None].expand(-1, len(rates), 1)
            error.scatter_add_(2, right, -error.new_ones(right.shape))
            error = error.flatten(1).div_(len(rows))
            decay = (
                cosine(step / steps)
                if config.schedule == "cosine"
                else step_decay(epoch, config.milestones, config.factor)
            )
            for (value, velocity), gradient in zip(state, (part.T @ error, error.sum(0)), strict=True):
                velocity.mul_(config.momentum).add_(gradient).add_(value, alpha=config.weight_decay)
                value.addcmul_(velocity, scale, value=-decay)
            step += 1
        bar.advance(_steps(config, len(images)))
    return weight.view(-1, len(rates), classes), bias.view(len(rates), classes)


def _steps(config: LinearConfig, images: int) -> int:
    """Steps of one epoch; the last batch may be smaller."""
    return -(-images // config.batch_size)
