"""Linear classifiers on every stage of a frozen network, trained on augmented images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from viewkin import metrics
from viewkin.data.source import Source
from viewkin.encode.features import frozen
from viewkin.evaluation.network import (
    Network,
    TrainingBatches,
    autocast,
    check_unchanged,
    number_training_classes,
    top1_and_top5,
    top_classes,
    train_view_policy,
)
from viewkin.evaluation.network_presets import StagesConfig
from viewkin.evaluation.subsets import split_holdout
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.schedules import step_decay

WINDOWS = {"conv1": (10, 10, 4), "conv2": (16, 8, 0), "conv3": (13, 5, 0), "conv4": (8, 3, 0), "conv5": (6, 1, 0)}
"""InterCLR's average pooling: stage -> kernel, stride and padding, in positions of the map."""
WINDOW_SIDES = {"conv1": 112, "conv2": 56, "conv3": 28, "conv4": 14, "conv5": 7}
"""Sides of the maps that these windows are meant for: those of images of 224 pixels."""
SQUARES = {"conv1": 12, "conv2": 6, "conv3": 4, "conv4": 3, "conv5": 1}
"""InvP's adaptive pooling: side of the pooled map of the stem and of every block of a stage."""


@dataclass(frozen=True, kw_only=True)
class StagesResult:
    """Accuracy of the classifiers after the last epoch."""

    top1: dict[str, float]
    """Map -> top-1 accuracy on test, 0 to 1."""
    top5: dict[str, float]
    """Map -> fraction of test images with the right class among the five best (all, if there are fewer)."""
    rates: dict[str, float]
    """Map -> learning rate."""
    validation: dict[str, dict[float, float]]
    """Map -> rate -> top-1 on the held-out part of train; empty if only one rate was given."""
    dims: dict[str, int]
    """Map -> number of inputs of its classifier."""
    heads: nn.ModuleDict
    """The classifiers, pooled map -> (B, C), in evaluation mode; dots in map names become underscores."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to percent; papers report the best map."""
        return {f"{name} top-1": 100 * accuracy for name, accuracy in self.top1.items()}


ReadMaps = Callable[[Tensor], dict[str, Tensor]]
"""(B, 3, h, w) normalised -> {name: map (B, C, h', w')}."""
RatesOfMaps = Mapping[str, tuple[float, ...]]
"""Map -> learning rates of its classifiers."""


def stages(
    config: StagesConfig, network: Network, train: Source, test: Source, *, progress: bool = True
) -> StagesResult:
    """Train a classifier on every map of a frozen network and measure each on test, once, after the last epoch.

    The network stays in evaluation mode, and a check confirms that nothing in it changed. Rates are chosen for each map
    on a held-out part of train. The test labels are read after the last test image was classified.

    Args:
        config: the protocol.
        network: the frozen network.
        train: labelled.
        test: labelled; a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: the network has no stages, an image has no label, there is a single class, too few images are left to
            choose a rate on, or a classifier diverges.

    References:
        Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, 2019; Xie et al., 2022,
        and the authors' code.
    """
    began = time.perf_counter()
    labels, y = number_training_classes(train)
    probe = StageProbe(config, network, int(y.max()) + 1, progress)
    with check_unchanged(network.encoder), frozen(network.encoder):
        rates, validation = probe.choose_rates(train, y)
        heads = probe.train({name: (rate,) for name, rate in rates.items()}, train, y)
        if not all(_finite(of_map[0]) for of_map in heads.values()):
            raise UserError("a classifier diverged: give smaller learning_rates.")
        best = probe.top_classes(heads, test, 5)
    top1: dict[str, float] = {}
    top5: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    for name, rows in best.items():
        top1[name], top5[name], notes = top1_and_top5(rows[:, 0], labels, test)
    if validation:
        listed = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        notes += (f"Learning rates, chosen on a part of train: {listed}.",)
    return StagesResult(
        top1=top1,
        top5=top5,
        rates=rates,
        validation=validation,
        dims={name: probe.dims[name] for name in best},
        heads=nn.ModuleDict({name.replace(".", "_"): of_map[0] for name, of_map in heads.items()}),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


class StageProbe:
    """Trains classifiers on the maps of a frozen network."""

    def __init__(self, config: StagesConfig, network: Network, classes: int, progress: bool) -> None:
        """Find the maps and their pooling.

        Raises:
            UserError: the network has no stages, or no blocks.
        """
        self.config, self.network, self.classes, self.progress = config, network, classes, progress

        def pooled(views: Tensor) -> dict[str, Tensor]:
            return {"pooled": network.encoder(views)[:, :, None, None]}

        read: ReadMaps | None = pooled if config.maps == "pooled" else getattr(network.encoder, config.maps, None)
        if read is None:
            raise UserError(
                f"this backbone has no {config.maps}, so stages cannot judge it: take a ResNet of viewkin's."
            )
        self.read: ReadMaps = read
        network.encoder.to(network.device)
        size = network.image_size
        with frozen(network.encoder):
            maps = self.read(torch.zeros(1, 3, size, size, device=network.device))
        self.shapes = {name: (x.shape[1], x.shape[2]) for name, x in maps.items()}
        self.pools = pooling_layers(config, self.shapes)
        self.dims = {name: self.pools[name](x).numel() for name, x in maps.items()}

    def maps(self, views: Tensor) -> dict[str, Tensor]:
        """Compute and pool every map, without gradient."""
        with torch.no_grad(), autocast(self.config.precision, self.network.device):
            return {name: self.pools[name](x.float()) for name, x in self.read(views).items()}

    def choose_rates(self, train: Source, y: Tensor) -> tuple[dict[str, float], dict[str, dict[float, float]]]:
        """Train with every rate on a part of train; return each map's best on the rest (the first of equals)."""
        rates, config = self.config.learning_rates, self.config
        if len(rates) == 1:
            return dict.fromkeys(self.shapes, rates[0]), {}
        kept, out = split_holdout(y, config.holdout, generator_for(config.seed, "stages holdout"))
        if not len(out):
            raise UserError("no class has two training images, so no rate can be chosen: give one learning rate.")
        heads = self.train(dict.fromkeys(self.shapes, rates), train.subset(kept), y[kept])
        best = self.top_classes(heads, train.subset(out), 1)
        accuracies = {
            name: {
                rate: metrics.accuracy(rows[:, column], y[out]) if _finite(heads[name][column]) else 0.0
                for column, rate in enumerate(rates)
            }
            for name, rows in best.items()
        }
        return {name: max(by_rate, key=by_rate.__getitem__) for name, by_rate in accuracies.items()}, accuracies

    def train(self, rates: RatesOfMaps, train: Source, y: Tensor) -> dict[str, nn.ModuleList]:
        """Train a classifier for every map and rate, all on the same views: pooled map -> (B, C)."""
        config, device = self.config, self.network.device
        policy = train_view_policy(self.network.policy, least_area=config.least_area, colour=config.colour)
        batches = TrainingBatches(self.network, train, policy, batch_size=config.batch_size, seed=config.seed)
        y = y.to(device)
        with own_random(device, config.seed, "stages"):
            heads = {name: nn.ModuleList(self.head(name) for _ in of_map).to(device) for name, of_map in rates.items()}
        optimizer = optimizer_of(config, rates, heads)
        bar = progress_bar("linear classifiers", config.epochs * batches.steps, shown=self.progress)
        with bar, torch.enable_grad():
            for epoch in range(config.epochs):
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * step_decay(epoch, config.milestones, config.factor)
                for index, views in batches.epoch(epoch):
                    maps = self.maps(views)
                    logits = torch.cat([head(maps[name]) for name, of_map in heads.items() for head in of_map])
                    # Summed over classifiers, so that each gets the gradient of its own mean loss.
                    loss = F.cross_entropy(logits, y[index].repeat(len(logits) // len(index)), reduction="sum")
                    optimizer.zero_grad()
                    (loss / len(index)).backward()
                    optimizer.step()
                bar.advance(batches.steps)
        return {name: of_map.eval() for name, of_map in heads.items()}

    def head(self, name: str) -> nn.Sequential:
        """Make a map's classifier: BatchNorm, if any, then a linear layer."""
        width, dims = self.shapes[name][0], self.dims[name]
        linear = nn.Linear(dims, self.classes)
        nn.init.normal_(linear.weight, std=self.config.init_std)
        nn.init.zeros_(linear.bias)
        if self.config.norm == "number":
            return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(dims), linear)
        if self.config.norm == "none":
            return nn.Sequential(nn.Flatten(), linear)
        return nn.Sequential(nn.BatchNorm2d(width, affine=False), nn.Flatten(), linear)

    def top_classes(self, heads: Mapping[str, nn.ModuleList], source: Source, most: int) -> dict[str, Tensor]:
        """Return the k best classes of every image by every classifier: map -> (N, L, k); ``most`` limits k."""
        counts = {name: len(of_map) for name, of_map in heads.items()}

        def logits(views: Tensor) -> Tensor:
            maps = self.maps(views)
            return torch.stack([head(maps[name]) for name, of_map in heads.items() for head in of_map], dim=1)

        best = top_classes(self.network, source, logits, min(most, self.classes))
        return dict(zip(counts, best.split(list(counts.values()), dim=1), strict=True))


def _finite(head: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in head.parameters())


def pooling_layers(config: StagesConfig, shapes: Mapping[str, tuple[int, int]]) -> dict[str, nn.Module]:
    """Choose the average pooling of every map.

    Args:
        config: the protocol.
        shapes: map -> its channels and side.
    """
    published = config.pooling == "published"
    if published and config.maps == "stages" and {name: side for name, (_, side) in shapes.items()} == WINDOW_SIDES:
        return {name: nn.AvgPool2d(*WINDOWS[name]) for name in shapes}
    pooling: dict[str, nn.Module] = {}
    for name, (width, side) in shapes.items():
        square = SQUARES.get(name.partition(".")[0]) if published and config.maps == "blocks" else None
        target = square or round(math.sqrt(config.dims / width))
        pooling[name] = nn.AdaptiveAvgPool2d(min(max(target, 1), side))
    return pooling


def optimizer_of(config: StagesConfig, rates: RatesOfMaps, heads: Mapping[str, nn.ModuleList]) -> Optimizer:
    """Make SGD with one group for each classifier's linear layer, and one without weight decay for its BatchNorm."""
    groups: list[dict[str, Any]] = []
    for name, of_map in heads.items():
        for rate, head in zip(rates[name], of_map, strict=True):
            linear = list(head.children())[-1]
            in_linear = {id(parameter) for parameter in linear.parameters()}
            norm = [parameter for parameter in head.parameters() if id(parameter) not in in_linear]
            common = {"lr": rate, "base_lr": rate}
            groups.append({"params": list(linear.parameters()), "weight_decay": config.weight_decay, **common})
            if norm:
                groups.append({"params": norm, "weight_decay": 0.0, **common})
    return torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.nesterov)
