"""Fine-tuning: the whole network goes on learning, with labels, with all of them or with a few."""

from __future__ import annotations

import copy
import itertools
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from viewkin import metrics
from viewkin.data.source import Source
from viewkin.evaluation.network import (
    Lessons,
    Network,
    autocast,
    class_positions,
    ranked,
    shares_right,
    teaching_policy,
)
from viewkin.evaluation.network_presets import FinetuneConfig, Rates, SemiConfig
from viewkin.evaluation.subsets import balanced, held_out, named
from viewkin.optim import OptimConfig, build_optimizer
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import LateBar
from viewkin.schedules import cosine, step_decay


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """What fine-tuning found, after the last epoch."""

    top1: float
    """Share of test images that are right, 0 to 1."""
    top5: float
    """Share with the right class among the five best (all, with fewer than five classes)."""
    rates: Rates
    """Rate of the backbone, and the head's multiple of it."""
    validation: dict[Rates, float]
    """Rates -> top-1 on the held-out part of train; empty when only one pair was given."""
    network: nn.Module
    """Backbone and head, in evaluation mode."""
    images: int
    """Images that taught."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {"top-1": 100 * self.top1, "top-5": 100 * self.top5}


def finetune(
    config: FinetuneConfig, network: Network, train: Source, test: Source, *, progress: bool = True
) -> FinetuneResult:
    """Teach a copy of a network, with a new linear head, and measure it on test, once, after the last epoch.

    Views are random resized crops and flips; the test view measures. Rates are chosen on a held-out part of train, and
    the network then taught again with all of it. Labels of test are read after the last test image was classified.

    Args:
        config: the protocol.
        network: what to start from; it stays as it is.
        train: labelled.
        test: labelled; a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: images without labels, a single class, too few images to choose on, or training that diverges.

    References:
        METHODS 3.6 (InvP's code).
    """
    began = time.perf_counter()
    labels, y = class_positions(train)
    rates, validation = _chosen(config, network, train, y, progress)
    taught = _taught(config, rates, network, train, y, int(y.max()) + 1, progress)
    best = ranked(network, test, taught, min(5, int(y.max()) + 1))
    top1, top5, notes = shares_right(best, labels, test)
    if validation:
        notes += (f"Rates {rates[0]:g} and {rates[1]:g} times that for the head, chosen on a part of train.",)
    return FinetuneResult(
        top1=top1,
        top5=top5,
        rates=rates,
        validation=validation,
        network=taught,
        images=len(train),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


def semi(config: SemiConfig, network: Network, train: Source, test: Source, *, progress: bool = True) -> FinetuneResult:
    """Fine-tune on a few labelled images, the same for every network: a function of share and seed, or of a list.

    Arguments and errors as :func:`finetune`.

    References:
        Xie et al., Delving into inter-image invariance, 2022, and the authors' code; METHODS 8.5.
    """
    labels, _ = class_positions(train)
    rows = named(train.ids, config.names) if config.names else balanced(labels, config.share, config.seed)
    found = finetune(config, network, train.subset(rows), test, progress=progress)
    chosen = f"the list {config.names}" if config.names else f"{100 * config.share:g} % of them"
    return replace(found, notes=(f"Labels of {len(rows):,} of {len(train):,} training images: {chosen}.", *found.notes))


def _chosen(
    config: FinetuneConfig, network: Network, train: Source, y: Tensor, progress: bool
) -> tuple[Rates, dict[Rates, float]]:
    """Try every pair of rates on a part of train; give the best on the rest, the first of equals."""
    pairs = list(itertools.product(config.learning_rates, config.head_factors))
    if len(pairs) == 1:
        return pairs[0], {}
    kept, out = held_out(y, config.holdout, generator_for(config.seed, "tuning holdout"))
    if not len(out):
        raise UserError("no class has two training images, so no rate can be chosen: give one rate and one factor.")
    classes, held = int(y.max()) + 1, train.subset(out)
    shares: dict[Rates, float] = {}
    for pair in pairs:
        try:
            taught = _taught(config, pair, network, train.subset(kept), y[kept], classes, progress)
        except DivergedError:
            shares[pair] = 0.0
            continue
        shares[pair] = metrics.accuracy(ranked(network, held, taught, 1), y[out])
    return max(shares, key=shares.__getitem__), shares


class DivergedError(UserError):
    """Training left the finite numbers."""


def _taught(
    config: FinetuneConfig, rates: Rates, network: Network, train: Source, y: Tensor, classes: int, progress: bool
) -> nn.Module:
    """Teach a copy of the backbone with a new head: (B, 3, h, w) -> (B, C), in evaluation mode."""
    policy = teaching_policy(network.policy, least_area=config.least_area)
    lessons = Lessons(network, train, policy, batch_size=config.batch_size, seed=config.seed)
    y = y.to(network.device)
    with own_random(network.device, config.seed, "finetune"):
        whole = with_head(network, classes, config.init_std)
        optimizer = optimizer_of(config, rates, whole, min(config.batch_size, len(train)))
        with LateBar("fine-tuning", config.epochs * lessons.steps, shown=progress) as bar:
            for epoch in range(config.epochs):
                loss = _epoch_(config, network, lessons, epoch, whole, optimizer, y)
                if not math.isfinite(loss):
                    raise DivergedError("fine-tuning diverged: give smaller learning_rates or head_factors.")
                bar.advance(lessons.steps)
    return whole.eval()


def _epoch_(
    config: FinetuneConfig,
    network: Network,
    lessons: Lessons,
    epoch: int,
    whole: nn.Module,
    optimizer: Optimizer,
    y: Tensor,
) -> float:
    """Teach for one epoch; the sum of the losses."""
    total = torch.zeros((), device=network.device)
    for step, (index, views) in enumerate(lessons.epoch(epoch)):
        set_rates(config, optimizer, epoch + step / lessons.steps)
        with autocast(config.precision, network.device):
            loss = F.cross_entropy(whole(views).float(), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total.item()


def with_head(network: Network, classes: int, init_std: float) -> nn.Sequential:
    """Copy a backbone and put a linear classifier behind it, in training mode."""
    encoder: Any = copy.deepcopy(network.encoder)
    head = nn.Linear(encoder.feature_dim, classes)
    nn.init.normal_(head.weight, std=init_std)
    nn.init.zeros_(head.bias)
    return nn.Sequential(encoder, head).to(network.device).requires_grad_().train()


def optimizer_of(config: FinetuneConfig, rates: Rates, whole: nn.Sequential, batch: int) -> Optimizer:
    """Make SGD with one group for the backbone and one for the head; ``batch`` images a step."""
    rate, factor = rates
    encoder, head = whole
    groups = [
        {"named": list(encoder.named_parameters())},
        {"named": list(head.named_parameters()), "lr_scale": factor, "constant_lr": config.head_constant},
    ]
    sgd = OptimConfig(
        lr=rate,
        scale_lr=config.scale_lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )
    return build_optimizer(groups, sgd, batch)


def set_rates(config: FinetuneConfig, optimizer: Optimizer, done: float) -> None:
    """Set every group's rate after ``done`` epochs."""
    if config.schedule == "cosine":
        fall = cosine(done / config.epochs)
    else:
        fall = step_decay(done, config.milestones, config.factor)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * (1.0 if group["constant_lr"] else fall)
