"""Linear classification of cached features: one softmax layer on a frozen network."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import CHUNK, paired
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import LateBar
from viewkin.schedules import cosine, step_decay

BYTES_PER_IMAGE = 48
"""Orders and numbers of the images, as int64."""


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Linear probe on pooled features, by default as for EIR's LC (CIFAR, STL, ImageNet-100)."""

    learning_rates: tuple[float, ...] = (0.1, 1.0, 10.0, 30.0)
    """Peak rates tried, per 256 images; with several, the best on a held-out part of *train* is used."""
    epochs: int = 100
    """Passes over the training features."""
    batch_size: int = 256
    """Images a step (B); the rate is multiplied by B / 256."""
    momentum: float = 0.9
    """Weight of the old velocity."""
    weight_decay: float = 0.0
    """L2 penalty on weights and biases."""
    schedule: Literal["cosine", "step"] = "cosine"
    """Half a cosine to 0 over all steps, or ``factor`` at each milestone."""
    milestones: tuple[int, ...] = (40, 60, 80)
    """Epochs done at which the step schedule falls."""
    factor: float = 0.2
    """What the step schedule multiplies the rate by."""
    init_std: float | None = 0.01
    """Standard deviation of the initial weights; None: sqrt(2 / classes). Biases start at 0."""
    scaling: Literal["none", "standardise", "unit"] = "none"
    """Features as they are, with mean 0 and variance 1 per dimension over train, or each of unit norm."""
    holdout: float = 0.1
    """Share of the training images on which the rate is chosen."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and the held-out part."""
    memory: int = 2**30
    """Bound on working memory beyond the features given, bytes; rates that do not fit together are tried in turn."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.learning_rates or not all(0 < rate < math.inf for rate in self.learning_rates):
            raise UserError(f"the linear probe needs learning rates above 0, not {self.learning_rates}.")
        if min(self.epochs, self.batch_size) < 1:
            raise UserError(
                f"epochs ({self.epochs}) and batch_size ({self.batch_size}) of the linear probe must be 1 or more."
            )
        if not 0 < self.holdout < 1:
            raise UserError(f"the held-out share must lie between 0 and 1, not {self.holdout}.")
        if self.schedule not in ("cosine", "step"):
            raise UserError(f"the linear probe's schedule must be cosine or step, not {self.schedule!r}.")
        if self.scaling not in ("none", "standardise", "unit"):
            raise UserError(f"the linear probe's scaling must be none, standardise or unit, not {self.scaling!r}.")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        rising = all(one < other for one, other in itertools.pairwise((0, *self.milestones)))
        require(rising, "milestones", self.milestones, "rising epochs above 0")
        require(self.factor > 0, "factor", self.factor, "above 0")
        require(self.init_std is None or self.init_std >= 0, "init_std", self.init_std, "at least 0, or none")
        require(self.memory >= 1, "memory", self.memory, "at least 1 byte")


_MOCO = LinearConfig(learning_rates=(30.0,), schedule="step", milestones=(60, 80), factor=0.1)
LINEAR_PRESETS = {
    "eir": LinearConfig(),
    "moco": _MOCO,
    "eir-moco": replace(_MOCO, learning_rates=(10.0,)),
    "invp": LinearConfig(learning_rates=(30.0,), schedule="step", init_std=None),
}
"""Name to published settings: EIR's LC (the optimiser is not published: METHODS 8.2), MoCo's on ImageNet, those of
EIR's released code on ImageNet-100 (METHODS 5.2), InvP's on CIFAR and SVHN (METHODS 3.6)."""


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """What the linear probe found, after the last epoch."""

    top1: float
    """Share of test images that are right, 0 to 1."""
    top5: float
    """Share with the right class among the five best (all, with fewer than five classes)."""
    learning_rate: float
    """Rate used, per 256 images."""
    validation: dict[float, float]
    """Rate -> top-1 on the held-out part of train; empty when only one rate was given."""
    predicted: Tensor
    """(M,) predicted labels, in the values of the training labels."""
    weight: Tensor
    """(C, D), for features after scaling."""
    bias: Tensor
    """(C,)."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

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
        train: (N, D) features; the work is done on their device.
        train_labels: (N,) non-negative integers, any values.
        test: (M, D).
        test_labels: (M,); a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes that do not fit, features that are not finite, images without a label, a probe that diverges
            at every learning rate, or one layer that needs more than ``config.memory``.

    References:
        Zhang et al., Colorful Image Colorization, 2016, section 3.2; He et al., MoCo, 2020, section 4.1 (rate 30).
    """
    began = time.perf_counter()
    pair = paired(train, train_labels, test, test_labels)
    scaled = _scaler(config, pair.train)
    probe = _Probe(config=config, x=pair.train, y=pair.y, classes=len(pair.classes), scaled=scaled)
    rate, validation, weight, bias = _choose_and_fit(probe, progress)
    top1, top5, predicted = pair.judged(lambda x: scaled(x) @ weight + bias, probe.judged)
    return LinearResult(
        top1=top1,
        top5=top5,
        learning_rate=rate,
        validation=validation,
        predicted=predicted,
        weight=weight.T.contiguous(),
        bias=bias,
        seconds=time.perf_counter() - began,
        notes=pair.notes + ((f"Learning rate {rate:g}, chosen on a part of train.",) if validation else ()),
    )


def _scaler(config: LinearConfig, train: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what scales some features (B, D), by the statistics of train alone; no set is ever held twice."""
    if config.scaling == "unit":
        return lambda x: torch.nn.functional.normalize(x, dim=1)
    if config.scaling == "standardise":
        std, mean = torch.std_mean(train, 0, correction=0)
        return lambda x: (x - mean) / (std + 1e-6)
    return lambda x: x


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """What the layers are trained on, and how much of it fits in memory at once."""

    config: LinearConfig
    x: Tensor
    """(N, D), before scaling."""
    y: Tensor
    """(N,) positions of the classes."""
    classes: int
    scaled: Callable[[Tensor], Tensor]

    @property
    def judged(self) -> int:
        """Rows classified at once."""
        return max(min(CHUNK, self.config.memory // (16 * sum(self.shape))), 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Dimensions and classes (D, C)."""
        return self.x.shape[1], self.classes

    def together(self) -> int:
        """Layers that are trained side by side.

        Raises:
            UserError: not even one fits.
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
    """Choose the rate, then train with it on everything: rate, validation, weight (D, C), bias (C,)."""
    config, images = probe.config, len(probe.x)
    rates = config.learning_rates
    together, sweep = probe.together(), len(rates) > 1
    held = min(max(round(config.holdout * images), 1), images - 1) if sweep else 0
    passes = -(-len(rates) // together) if sweep else 0
    total = config.epochs * (_steps(config, images - held) * passes + _steps(config, images))
    validation: dict[float, float] = {}
    with LateBar("linear probe", total, shown=progress) as bar:
        if sweep:
            if held < 1:
                raise UserError(
                    "one training image is too few to choose a learning rate on: give a single learning rate."
                )
            order = torch.randperm(images, generator=generator_for(config.seed, "linear holdout")).to(probe.x.device)
            kept, out = order[held:].sort().values, order[:held]
            for first in range(0, len(rates), together):
                validation |= _validate(probe, rates[first : first + together], kept, out, bar)
            rates = (max(rates, key=validation.__getitem__),)
        weight, bias = _fit(probe, rates, torch.arange(images, device=probe.x.device), bar)
    if not torch.isfinite(weight).all():
        raise UserError("the linear probe diverged: give smaller learning_rates, or scaling='standardise'.")
    return rates[0], validation, weight[:, 0], bias[0]


def _validate(probe: _Probe, rates: tuple[float, ...], kept: Tensor, out: Tensor, bar: LateBar) -> dict[float, float]:
    """Train on the images ``kept`` with several rates at once; give each rate's top-1 on the images kept ``out``."""
    weight, bias = _fit(probe, rates, kept, bar)
    shares: dict[float, float] = {}
    for place, rate in enumerate(rates):
        layer, offset = weight[:, place], bias[place]
        best = [(probe.scaled(probe.x[rows]) @ layer + offset).argmax(1) for rows in out.split(probe.judged)]
        finite = bool(torch.isfinite(layer).all())
        shares[rate] = metrics.accuracy(torch.cat(best), probe.y[out]) if finite else 0.0
    return shares


def _fit(probe: _Probe, rates: tuple[float, ...], images: Tensor, bar: LateBar) -> tuple[Tensor, Tensor]:
    """Train one softmax layer per rate on some ``images``, all on the same batches: weight (D, L, C), bias (L, C).

    The layers lie side by side as one (D, L*C) matrix, so a step is two matrix products. The gradient is
    ``x^T (softmax - onehot) / B``; a rate that diverges spoils its own columns only.
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
            part = probe.scaled(probe.x[rows])
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
