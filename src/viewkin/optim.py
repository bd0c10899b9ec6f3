"""Optimisers, their parameter groups, and learning-rate schedules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from viewkin.runtime.errors import UserError, require
from viewkin.schedules import Progress, cosine, step_decay, warmup
from viewkin.settings import Fraction, Momentum, NotNegative, Positive, Range, Settings, WholeNumber

OptimName = Literal["sgd", "lars", "adamw", "adam"]
ScheduleKind = Literal["cosine", "step", "constant"]


MOST_EPOCHS, MOST_ROUNDS = 1_000_000, 1_000
"""Beyond any run; numbers that are larger are mistakes, and schedules of them are slow to list."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Settings):
    """Settings of the optimiser."""

    name: OptimName = "sgd"
    """``sgd``, ``lars``, ``adamw`` (decoupled decay) or ``adam`` (decay added to the gradient)."""
    lr: Positive = 0.03
    """Learning rate: absolute, or per 256 images of the global batch with ``scale_lr``."""
    scale_lr: bool = False
    """Whether ``lr`` is multiplied by global batch / 256."""
    momentum: Momentum = 0.9
    """Momentum of SGD and LARS, dimensionless."""
    nesterov: bool = False
    """Whether to use Nesterov's momentum; SGD only."""
    weight_decay: NotNegative = 1e-4
    """Weight decay, per unit of learning rate."""
    last_weight_decay: NotNegative | None = None
    """Weight decay at the end, to which it moves along a cosine (DINO); null: it stays."""
    clip: Positive | None = None
    """Largest norm of the gradient of each parameter by itself (DINO); null: no limit."""
    exclude_norm_and_bias: bool = False
    """Whether norm parameters and biases have no weight decay."""
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """Decay rates of Adam's two moving averages, dimensionless."""
    eps: Positive = 1e-8
    """Added to Adam's denominator."""
    lars_eta: Positive = 0.001
    """LARS trust coefficient eta, dimensionless."""
    lars_clip: bool = False
    """Whether the rate of a layer is limited to ``lr`` (LARC's clipping, as in solo-learn with eta 0.02)."""

    def _check(self) -> None:
        fits = not self.nesterov or (self.name == "sgd" and self.momentum > 0)
        require(fits, "nesterov", self.nesterov, "false unless {here}name is sgd, with a momentum above 0")

    def base_lr(self, batch_size: int) -> float:
        """Absolute learning rate for a global batch of ``batch_size`` images, before any schedule."""
        return self.lr * batch_size / 256 if self.scale_lr else self.lr


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Settings):
    """Length of training, and the learning rate over time as a fraction of its base.

    A new round restarts the schedule and keeps network, optimiser and memory.
    """

    epochs: Annotated[int, Range(least=1, most=MOST_EPOCHS)] = 200
    """Epochs of one round."""
    kind: ScheduleKind = "cosine"
    """``cosine`` falls to ``final``, ``step`` drops at the milestones, ``constant`` does not change."""
    milestones: tuple[float, ...] = ()
    """Epochs after which the rate drops, rising; ``step`` only."""
    factor: Positive | tuple[Positive, ...] = 0.1
    """One number: factor of the rate at every milestone. Several: fraction of the base rate after each milestone."""
    warmup_epochs: NotNegative = 0.0
    """Epochs of linear warm-up from 0; the cosine covers the remaining epochs."""
    warmup_steps: WholeNumber = 0
    """Warm-up in optimiser steps; give one of the two."""
    final: Fraction = 0.0
    """Fraction of the base rate at the end; ``cosine`` only."""
    rounds: Annotated[int, Range(least=1, most=MOST_ROUNDS)] = 1
    """Number of rounds."""

    def _check(self) -> None:
        alone = not (self.warmup_epochs and self.warmup_steps)
        require(alone, "warmup_steps", self.warmup_steps, "0 where {here}warmup_epochs is given")
        short = self.warmup_epochs < self.epochs
        require(short, "warmup_epochs", self.warmup_epochs, f"below {{here}}epochs, {self.epochs}")
        require(not self.final or self.kind == "cosine", "final", self.final, "0 unless {here}kind is cosine")
        self._check_milestones()

    def _check_milestones(self) -> None:
        if self.kind == "step":
            ends = (0.0, *self.milestones, float(self.epochs))
            rising = bool(self.milestones) and all(one < other for one, other in itertools.pairwise(ends))
            should = f"one or more, rising, above 0 and below the {self.epochs} epochs"
            require(rising, "milestones", self.milestones, should)
        require(self.kind == "step" or not self.milestones, "milestones", self.milestones, "with {here}kind=step")
        one_each = not isinstance(self.factor, tuple) or len(self.factor) == len(self.milestones)
        require(one_each, "factor", self.factor, f"one number, or one a milestone ({len(self.milestones)})")

    def factor_at(self, at: Progress) -> float:
        """Fraction of the base learning rate in step ``at.step`` (counted from 0)."""
        if self.warmup_steps:
            done, length, total = float(at.step), float(self.warmup_steps), float(at.steps)
        else:
            done, length, total = at.epochs_done, self.warmup_epochs, float(at.epochs)
        factor = warmup(done, length)
        if self.kind == "step":
            return factor * step_decay(at.epochs_done, self.milestones, self.factor)
        if self.kind == "cosine" and total > length:
            return factor * cosine((done - length) / (total - length), self.final)
        return factor

    def scaled(self, epochs: int) -> ScheduleConfig:
        """Scale the schedule to another number of epochs: milestones and warm-up change in proportion."""
        share = epochs / self.epochs
        return replace(
            self,
            epochs=epochs,
            milestones=tuple(milestone * epochs / self.epochs for milestone in self.milestones),
            warmup_epochs=self.warmup_epochs * share,
            warmup_steps=round(self.warmup_steps * share),
        )


class LARS(Optimizer):
    """SGD with a learning rate that adapts to each layer.

    For a weight w with gradient g: ``d = g + weight_decay*w``; ``trust = eta |w| / (|g| + weight_decay |w|)``, or 1 if
    either norm is 0; ``v <- momentum*v + trust*d``; ``w <- w - lr*v``. As in PyTorch's SGD the rate multiplies the
    velocity; in the paper it is inside the velocity. The two differ only while the rate changes. One-dimensional
    parameters (biases, norms) have trust 1. With ``clip`` it is ``min(trust / lr, 1)``, so that the rate of a layer is
    at most lr.

    References:
        You, Gitman and Ginsburg, Large batch training of convolutional networks, 2017, equation 6 and algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        clip: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta, "clip": clip}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step; ``closure``, if given, computes the loss and its gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step_one(weight, group)
        return loss

    def _step_one(self, weight: Tensor, group: Mapping[str, Any]) -> None:
        assert weight.grad is not None
        change = weight.grad.add(weight, alpha=group["weight_decay"])
        if weight.ndim > 1:
            change.mul_(_trust(weight, weight.grad, group))
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        velocity: Tensor = state["momentum_buffer"]
        weight.add_(velocity.mul_(group["momentum"]).add_(change), alpha=-group["lr"])


def _trust(weight: Tensor, grad: Tensor, group: Mapping[str, Any]) -> Tensor:
    """LARS's trust ratio of one weight, a scalar on its device."""
    weight_norm, grad_norm = weight.norm(), grad.norm()
    trust = group["eta"] * weight_norm / (grad_norm + group["weight_decay"] * weight_norm)
    if group["clip"]:
        trust = (trust / group["lr"]).clamp(max=1.0) if group["lr"] > 0 else torch.ones_like(trust)
    return torch.where((weight_norm > 0) & (grad_norm > 0), trust, torch.ones_like(trust))


def build_optimizer(groups: Sequence[Mapping[str, Any]], config: OptimConfig, batch_size: int) -> Optimizer:
    """Build the optimiser of a method.

    Args:
        groups: ``Method.param_groups()``. ``named`` lists (name, parameter); ``lr_scale`` multiplies the rate;
            ``constant_lr`` excludes the group from the schedule (SimSiam's predictor); any other key, such as
            ``momentum``, overrides the optimiser's setting.
        config: settings of the optimiser.
        batch_size: size of the global batch, for ``scale_lr``.
    """
    split = [part for group in groups for part in _split(group, config, config.base_lr(batch_size))]
    if not any(part["params"] for part in split):
        raise UserError("The method has no trainable parameter: leave part of it unfrozen.")
    if config.name == "lars":
        return LARS(split, config.lr, momentum=config.momentum, eta=config.lars_eta, clip=config.lars_clip)
    if config.name == "sgd":
        return torch.optim.SGD(split, config.lr, momentum=config.momentum, nesterov=config.nesterov)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(split, config.lr, betas=config.betas, eps=config.eps)


def with_rate(
    groups: Sequence[Mapping[str, Any]], parameters: Iterable[nn.Parameter], scale: float
) -> list[dict[str, Any]]:
    """Give some parameters a rate of their own: every group is divided into theirs and the rest.

    Args:
        groups: as :func:`build_optimizer` takes them.
        parameters: those of the other rate.
        scale: factor of their rate.
    """
    chosen, parts = {id(parameter) for parameter in parameters}, list[dict[str, Any]]()
    for group in groups:
        own = [pair for pair in group["named"] if id(pair[1]) in chosen]
        rest = [pair for pair in group["named"] if id(pair[1]) not in chosen]
        slower = {**group, "named": own, "lr_scale": scale * group.get("lr_scale", 1.0)}
        parts += [part for part in ({**group, "named": rest}, slower) if part["named"]]
    return parts


def _split(group: Mapping[str, Any], config: OptimConfig, base_lr: float) -> list[dict[str, Any]]:
    """Turn a method's group into optimiser groups: one with weight decay and, if configured, one without."""
    named: Sequence[tuple[str, nn.Parameter]] = group["named"]
    options = {key: value for key, value in group.items() if key not in ("named", "lr_scale")}
    base = base_lr * group.get("lr_scale", 1.0)
    common = {"constant_lr": False, "weight_decay": config.weight_decay, **options, "lr": base, "base_lr": base}
    decays = {} if config.last_weight_decay is None else {"decays": (config.weight_decay, config.last_weight_decay)}
    if not config.exclude_norm_and_bias:
        return [{"params": [parameter for _, parameter in named], **common, **decays}]
    # Norm parameters and biases are the one-dimensional ones.
    decayed = [parameter for _, parameter in named if parameter.ndim > 1]
    plain = [parameter for _, parameter in named if parameter.ndim <= 1]
    parts = [{"params": decayed, **common, **decays}, {"params": plain, **common, "weight_decay": 0.0}]
    return [part for part in parts if part["params"]]


@torch.no_grad()
def clip_each_(parameters: Iterable[Tensor], most: float | None) -> None:
    """Shorten the gradient of each parameter to a norm of at most ``most``; None: no limit."""
    if most is None:
        return
    for gradient in (parameter.grad for parameter in parameters if parameter.grad is not None):
        gradient.mul_((most / (gradient.norm() + 1e-6)).clamp(max=1.0))


def set_lr(optimizer: Optimizer, schedule: ScheduleConfig, at: Progress) -> float:
    """Set every group's rate and weight decay for step ``at.step`` and return the rate's factor of the schedule."""
    factor = schedule.factor_at(at)
    for group in optimizer.param_groups:
        if "decays" in group:
            first, last = group["decays"]
            group["weight_decay"] = last + (first - last) * cosine(at.fraction)
        group["lr"] = group["base_lr"] if group["constant_lr"] else group["base_lr"] * factor
    return factor
