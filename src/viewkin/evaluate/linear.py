"""Linear classification of cached features: one softmax layer on a frozen network."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from viewkin import metrics
from viewkin.draws import generator_for
from viewkin.errors import UserError, require
from viewkin.evaluate.labels import CHUNK, paired
from viewkin.progress import LateBar
from viewkin.schedules import cosine, step_decay


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


LINEAR_PRESETS = {
    "eir": LinearConfig(),
    "moco": LinearConfig(learning_rates=(30.0,), schedule="step", milestones=(60, 80), factor=0.1),
    "invp": LinearConfig(learning_rates=(30.0,), schedule="step", init_std=None),
}
"""Name to published settings: EIR's LC (the optimiser is not published: METHODS 8.2), MoCo's on ImageNet, InvP's on
CIFAR and SVHN (METHODS 3.6)."""


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
        UserError: shapes that do not fit, features that are not finite, images without a label, or a probe that
            diverges at every learning rate.

    References:
        Zhang et al., Colorful Image Colorization, 2016, section 3.2; He et al., MoCo, 2020, section 4.1 (rate 30).
    """
    began = time.perf_counter()
    pair = paired(train, train_labels, test, test_labels)
    train, test = _scaled(config, pair.train, pair.test)
    rate, validation, weight, bias = _choose_and_fit(config, train, pair.y, len(pair.classes), progress)
    top1, top5, predicted = pair.judged(lambda x: x @ weight + bias, test)
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


def _scaled(config: LinearConfig, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Scale both sets by the statistics of train alone."""
    if config.scaling == "unit":
        return torch.nn.functional.normalize(train, dim=1), torch.nn.functional.normalize(test, dim=1)
    if config.scaling == "standardise":
        std, mean = torch.std_mean(train, 0, correction=0)
        return (train - mean) / (std + 1e-6), (test - mean) / (std + 1e-6)
    return train, test


def _choose_and_fit(
    config: LinearConfig, x: Tensor, y: Tensor, classes: int, progress: bool
) -> tuple[float, dict[float, float], Tensor, Tensor]:
    """Choose the rate, then train with it on everything: rate, validation, weight (D, C), bias (C,)."""
    rates, sweep = config.learning_rates, len(config.learning_rates) > 1
    held = min(max(round(config.holdout * len(x)), 1), len(x) - 1) if sweep else 0
    total = config.epochs * (_steps(config, len(x) - held) * sweep + _steps(config, len(x)))
    validation: dict[float, float] = {}
    with LateBar("linear probe", total, shown=progress) as bar:
        if sweep:
            validation = _validate(config, x, y, classes, held, bar)
            rates = (max(rates, key=validation.__getitem__),)
        weight, bias = _fit(config, rates, x, y, classes, bar)
    if not torch.isfinite(weight).all():
        raise UserError("the linear probe diverged: give smaller learning_rates, or scaling='standardise'.")
    return rates[0], validation, weight[:, 0], bias[0]


def _validate(config: LinearConfig, x: Tensor, y: Tensor, classes: int, held: int, bar: LateBar) -> dict[float, float]:
    """Train on a part of train with every rate at once; give each rate's top-1 on the ``held`` images kept back."""
    if held < 1:
        raise UserError("one training image is too few to choose a learning rate on: give a single learning rate.")
    order = torch.randperm(len(x), generator=generator_for(config.seed, "linear holdout")).to(x.device)
    kept, out = order[held:].sort().values, order[:held]
    weight, bias = _fit(config, config.learning_rates, x[kept], y[kept], classes, bar)
    shares: dict[float, float] = {}
    for place, rate in enumerate(config.learning_rates):
        best = torch.cat([(part @ weight[:, place] + bias[place]).argmax(1) for part in x[out].split(CHUNK)])
        finite = bool(torch.isfinite(weight[:, place]).all())
        shares[rate] = metrics.accuracy(best, y[out]) if finite else 0.0
    return shares


def _fit(
    config: LinearConfig, rates: tuple[float, ...], x: Tensor, y: Tensor, classes: int, bar: LateBar
) -> tuple[Tensor, Tensor]:
    """Train one softmax layer per rate, all on the same batches: weight (D, L, C), bias (L, C).

    The layers lie side by side as one (D, L*C) matrix, so a step is two matrix products. The gradient is
    ``x^T (softmax - onehot) / B``; a rate that diverges spoils its own columns only.
    """
    generator = generator_for(config.seed, "linear init")
    std = math.sqrt(2 / classes) if config.init_std is None else config.init_std
    start = torch.randn(x.shape[1], 1, classes, generator=generator) * std
    weight = start.expand(-1, len(rates), -1).flatten(1).to(x.device, copy=True)
    bias = x.new_zeros(len(rates) * classes)
    state = [(weight, torch.zeros_like(weight)), (bias, torch.zeros_like(bias))]
    scale = torch.tensor(rates, device=x.device).repeat_interleave(classes) * (min(config.batch_size, len(x)) / 256)
    steps = config.epochs * _steps(config, len(x))
    step = 0
    for epoch in range(config.epochs):
        order = torch.randperm(len(x), generator=generator_for(config.seed, "linear order", epoch)).to(x.device)
        for rows in order.split(config.batch_size):
            part = x.index_select(0, rows)
            error = torch.addmm(bias, part, weight).view(len(rows), len(rates), classes).softmax(2)
            error.scatter_add_(
                2, y[rows, None, None].expand(-1, len(rates), 1), -error.new_ones(len(rows), len(rates), 1)
            )
            error = error.flatten(1) / len(rows)
            decay = (
                cosine(step / steps)
                if config.schedule == "cosine"
                else step_decay(epoch, config.milestones, config.factor)
            )
            for (value, velocity), gradient in zip(state, (part.T @ error, error.sum(0)), strict=True):
                velocity.mul_(config.momentum).add_(gradient).add_(value, alpha=config.weight_decay)
                value.addcmul_(velocity, scale, value=-decay)
            step += 1
        bar.advance(_steps(config, len(x)))
    return weight.view(-1, len(rates), classes), bias.view(len(rates), classes)


def _steps(config: LinearConfig, images: int) -> int:
    """Steps of one epoch; the last batch may be smaller."""
    return -(-images // config.batch_size)
