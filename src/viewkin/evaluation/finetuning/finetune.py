"""Fine-tuning: the whole network is trained further with labels, of all images or of a few."""

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
    Network,
    TrainingBatches,
    autocast,
    number_training_classes,
    top1_and_top5,
    top_classes,
    train_view_policy,
)
from viewkin.evaluation.network_presets import FinetuneConfig, Rates, SemiConfig
from viewkin.evaluation.subsets import balanced_subset, rows_by_name, split_holdout
from viewkin.optim import OptimConfig, build_optimizer
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.schedules import cosine, step_decay


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """Accuracy of the fine-tuned network after the last epoch."""

    top1: float
    """Top-1 accuracy on test, 0 to 1."""
    top5: float
    """Fraction of test images with the right class among the five best (all, if there are fewer), 0 to 1."""
    rates: Rates
    """Learning rate of the backbone, and the head's as a multiple of it."""
    validation: dict[Rates, float]
    """Rates -> top-1 on the held-out part of train; empty if only one pair was given."""
    network: nn.Module
    """Backbone and head, in evaluation mode."""
    images: int
    """Number of training images."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {"top-1": 100 * self.top1, "top-5": 100 * self.top5}


def finetune(
    config: FinetuneConfig, network: Network, train: Source, test: Source, *, progress: bool = True
) -> FinetuneResult:
    """Train a copy of a network with a new linear head, and measure it on test, once, after the last epoch.

    Training views are random resized crops and flips; test views are the centre crop. Rates are chosen on a held-out
    part of train, and the network is then trained again on all of train. The test labels are read after the last test
    image was classified.

    Args:
        config: the protocol.
        network: the pre-trained network; it is not changed.
        train: labelled.
        test: labelled; a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: an image has no label, there is a single class, too few images are left to choose rates on, or the
            training diverges.

    References:
        Wang et al., InvP, 2020, and the released code.
    """
    began = time.perf_counter()
    labels, y = number_training_classes(train)
    rates, validation = _choose_rates(config, network, train, y, progress)
    model = _train(config, rates, network, train, y, int(y.max()) + 1, progress)
    best = top_classes(network, test, model, min(5, int(y.max()) + 1))
    top1, top5, notes = top1_and_top5(best, labels, test)
    if validation:
        notes += (f"Rates {rates[0]:g} and {rates[1]:g} times that for the head, chosen on a part of train.",)
    return FinetuneResult(
        top1=top1,
        top5=top5,
        rates=rates,
        validation=validation,
        network=model,
        images=len(train),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


def semi(config: SemiConfig, network: Network, train: Source, test: Source, *, progress: bool = True) -> FinetuneResult:
    """Fine-tune on a few labelled images, chosen by share and seed or by a list, so the same for every network.

    Arguments and errors are those of :func:`finetune`.

    References:
        Xie et al., Delving into inter-image invariance, 2022, and the authors' code.
    """
    labels, _ = number_training_classes(train)
    rows = (
        rows_by_name(train.names, config.names) if config.names else balanced_subset(labels, config.share, config.seed)
    )
    result = finetune(config, network, train.subset(rows), test, progress=progress)
    chosen = f"the list {config.names}" if config.names else f"{100 * config.share:g} % of them"
    note = f"Labels of {len(rows):,} of {len(train):,} training images: {chosen}."
    return replace(result, notes=(note, *result.notes))


def _choose_rates(
    config: FinetuneConfig, network: Network, train: Source, y: Tensor, progress: bool
) -> tuple[Rates, dict[Rates, float]]:
    """Train with every pair of rates on a part of train; return the best on the rest (the first of equals)."""
    pairs = list(itertools.product(config.learning_rates, config.head_factors))
    if len(pairs) == 1:
        return pairs[0], {}
    kept, out = split_holdout(y, config.holdout, generator_for(config.seed, "tuning holdout"))
    if not len(out):
        raise UserError("no class has two training images, so no rate can be chosen: give one rate and one factor.")
    classes, held = int(y.max()) + 1, train.subset(out)
    accuracies: dict[Rates, float] = {}
    for pair in pairs:
        try:
            model = _train(config, pair, network, train.subset(kept), y[kept], classes, progress)
        except DivergedError:
            accuracies[pair] = 0.0
            continue
        accuracies[pair] = metrics.accuracy(top_classes(network, held, model, 1), y[out])
    return max(accuracies, key=accuracies.__getitem__), accuracies


class DivergedError(UserError):
    """The loss became NaN or infinite."""


def _train(
    config: FinetuneConfig, rates: Rates, network: Network, train: Source, y: Tensor, classes: int, progress: bool
) -> nn.Module:
    """Train a copy of the backbone with a new head: (B, 3, h, w) -> (B, C), in evaluation mode."""
    policy = train_view_policy(network.policy, least_area=config.least_area)
    batches = TrainingBatches(network, train, policy, batch_size=config.batch_size, seed=config.seed)
    y = y.to(network.device)
    with own_random(network.device, config.seed, "finetune"):
        model = with_head(network, classes, config.init_std)
        optimizer = optimizer_of(config, rates, model, min(config.batch_size, len(train)))
        with progress_bar("fine-tuning", config.epochs * batches.steps, shown=progress) as bar:
            for epoch in range(config.epochs):
                loss = _epoch_(config, network, batches, epoch, model, optimizer, y)
                if not math.isfinite(loss):
                    raise DivergedError("fine-tuning diverged: give smaller learning_rates or head_factors.")
                bar.advance(batches.steps)
    return model.eval()


def _epoch_(
    config: FinetuneConfig,
    network: Network,
    batches: TrainingBatches,
    epoch: int,
    model: nn.Module,
    optimizer: Optimizer,
    y: Tensor,
) -> float:
    """Train for one epoch; return the sum of the losses."""
    total = torch.zeros((), device=network.device)
    for step, (index, views) in enumerate(batches.epoch(epoch)):
        set_rates(config, optimizer, epoch + step / batches.steps)
        with autocast(config.precision, network.device):
            loss = F.cross_entropy(model(views).float(), y[index])
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


def optimizer_of(config: FinetuneConfig, rates: Rates, model: nn.Sequential, batch: int) -> Optimizer:
    """Make SGD with one group for the backbone and one for the head; ``batch`` images a step."""
    rate, factor = rates
    encoder, head = model
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
