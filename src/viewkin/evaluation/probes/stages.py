"""One linear classifier on every stage of a frozen network, which sees augmented images."""

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
    Lessons,
    Network,
    autocast,
    class_positions,
    ranked,
    shares_right,
    teaching_policy,
    unchanged,
)
from viewkin.evaluation.network_presets import StagesConfig
from viewkin.evaluation.subsets import held_out
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import LateBar
from viewkin.schedules import step_decay

WINDOWS = {"conv1": (10, 10, 4), "conv2": (16, 8, 0), "conv3": (13, 5, 0), "conv4": (8, 3, 0), "conv5": (6, 1, 0)}
"""InterCLR's average pooling: stage to kernel, stride and padding, pixels of the map."""
WINDOW_SIDES = {"conv1": 112, "conv2": 56, "conv3": 28, "conv4": 14, "conv5": 7}
"""Sides of the maps that these windows are meant for: those of 224 pixels."""
SQUARES = {"conv1": 12, "conv2": 6, "conv3": 4, "conv4": 3, "conv5": 1}
"""InvP's adaptive pooling: sides of the pooled maps of the stem and of every block of a stage."""


@dataclass(frozen=True, kw_only=True)
class StagesResult:
    """What the classifiers found, after the last epoch."""

    top1: dict[str, float]
    """Map to the share of test images that are right, 0 to 1."""
    top5: dict[str, float]
    """Map to the share with the right class among the five best (all, with fewer than five classes)."""
    rates: dict[str, float]
    """Map to the rate used."""
    validation: dict[str, dict[float, float]]
    """Map to rate to top-1 on the held-out part of train; empty when only one rate was given."""
    dims: dict[str, int]
    """Map to numbers that its classifier sees."""
    heads: nn.ModuleDict
    """The classifiers, a map's whole to (B, C), in evaluation mode; dots of names are underscores."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

    def values(self) -> dict[str, float]:
        """Name to percent; a paper's figure is its best map's."""
        return {f"{name} top-1": 100 * share for name, share in self.top1.items()}


Maps = Callable[[Tensor], dict[str, Tensor]]
"""(B, 3, h, w) normalised -> name to map (B, C, h', w')."""
Rates = Mapping[str, tuple[float, ...]]
"""Map to the rates of its classifiers."""


def stages(
    config: StagesConfig, network: Network, train: Source, test: Source, *, progress: bool = True
) -> StagesResult:
    """Train a classifier on every map of a frozen network and measure each on test, once, after the last epoch.

    The network stays in evaluation mode, and a check confirms that not a bit of it changed. Rates are chosen map by map
    on a held-out part of train; labels of test are read after the last test image was classified.

    Args:
        config: the protocol.
        network: whose maps are judged.
        train: labelled.
        test: labelled; a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: a network without stages, images without labels, a single class, too few images to choose a rate on,
            or classifiers that diverge.

    References:
        Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, 2019; Xie et al., 2022,
        and the authors' code; METHODS 8.2.
    """
    began = time.perf_counter()
    labels, y = class_positions(train)
    probe = Probe(config, network, int(y.max()) + 1, progress)
    with unchanged(network.encoder), frozen(network.encoder):
        rates, validation = probe.chosen(train, y)
        heads = probe.taught({name: (rate,) for name, rate in rates.items()}, train, y)
        if not all(_finite(some[0]) for some in heads.values()):
            raise UserError("a classifier diverged: give smaller learning_rates.")
        best = probe.ranked(heads, test, 5)
    top1: dict[str, float] = {}
    top5: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    for name, rows in best.items():
        top1[name], top5[name], notes = shares_right(rows[:, 0], labels, test)
    if validation:
        told = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        notes += (f"Learning rates, chosen on a part of train: {told}.",)
    return StagesResult(
        top1=top1,
        top5=top5,
        rates=rates,
        validation=validation,
        dims={name: probe.dims[name] for name in best},
        heads=nn.ModuleDict({name.replace(".", "_"): found[0] for name, found in heads.items()}),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


class Probe:
    """Classifiers on the maps of a frozen network."""

    def __init__(self, config: StagesConfig, network: Network, classes: int, progress: bool) -> None:
        """Find the maps and how each is pooled.

        Raises:
            UserError: the network has no stages, or no blocks.
        """
        self.config, self.network, self.classes, self.progress = config, network, classes, progress

        def pooled(views: Tensor) -> dict[str, Tensor]:
            return {"pooled": network.encoder(views)[:, :, None, None]}

        found: Maps | None = pooled if config.maps == "pooled" else getattr(network.encoder, config.maps, None)
        if found is None:
            raise UserError(
                f"this backbone has no {config.maps}, so stages cannot judge it: take a ResNet of viewkin's."
            )
        self.read: Maps = found
        network.encoder.to(network.device)
        size = network.image_size
        with frozen(network.encoder):
            maps = self.read(torch.zeros(1, 3, size, size, device=network.device))
        self.shapes = {name: (x.shape[1], x.shape[2]) for name, x in maps.items()}
        self.pools = pools(config, self.shapes)
        self.dims = {name: self.pools[name](x).numel() for name, x in maps.items()}

    def maps(self, views: Tensor) -> dict[str, Tensor]:
        """Read and pool every map, without gradient."""
        with torch.no_grad(), autocast(self.config.precision, self.network.device):
            return {name: self.pools[name](x.float()) for name, x in self.read(views).items()}

    def chosen(self, train: Source, y: Tensor) -> tuple[dict[str, float], dict[str, dict[float, float]]]:
        """Try every rate on a part of train; give each map's best on the rest, the first of equals."""
        rates, config = self.config.learning_rates, self.config
        if len(rates) == 1:
            return dict.fromkeys(self.shapes, rates[0]), {}
        kept, out = held_out(y, config.holdout, generator_for(config.seed, "stages holdout"))
        if not len(out):
            raise UserError("no class has two training images, so no rate can be chosen: give one learning rate.")
        heads = self.taught(dict.fromkeys(self.shapes, rates), train.subset(kept), y[kept])
        best = self.ranked(heads, train.subset(out), 1)
        found = {
            name: {
                rate: metrics.accuracy(rows[:, place], y[out]) if _finite(heads[name][place]) else 0.0
                for place, rate in enumerate(rates)
            }
            for name, rows in best.items()
        }
        return {name: max(shares, key=shares.__getitem__) for name, shares in found.items()}, found

    def taught(self, rates: Rates, train: Source, y: Tensor) -> dict[str, nn.ModuleList]:
        """Train a classifier for every map and rate, all on the same views: pooled map -> (B, C)."""
        config, device = self.config, self.network.device
        policy = teaching_policy(self.network.policy, least_area=config.least_area, colour=config.colour)
        lessons = Lessons(self.network, train, policy, batch_size=config.batch_size, seed=config.seed)
        y = y.to(device)
        with own_random(device, config.seed, "stages"):
            heads = {name: nn.ModuleList(self.head(name) for _ in some).to(device) for name, some in rates.items()}
        optimizer = optimizer_of(config, rates, heads)
        bar = LateBar("linear classifiers", config.epochs * lessons.steps, shown=self.progress)
        with bar, torch.enable_grad():
            for epoch in range(config.epochs):
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * step_decay(epoch, config.milestones, config.factor)
                for index, views in lessons.epoch(epoch):
                    maps = self.maps(views)
                    logits = torch.cat([head(maps[name]) for name, some in heads.items() for head in some])
                    # A sum over classifiers: each has the gradient of its own mean.
                    loss = F.cross_entropy(logits, y[index].repeat(len(logits) // len(index)), reduction="sum")
                    optimizer.zero_grad()
                    (loss / len(index)).backward()
                    optimizer.step()
                bar.advance(lessons.steps)
        return {name: some.eval() for name, some in heads.items()}

    def head(self, name: str) -> nn.Sequential:
        """Make a map's classifier: BatchNorm, if any, then a linear layer."""
        width, dims = self.shapes[name][0], self.dims[name]
        last = nn.Linear(dims, self.classes)
        nn.init.normal_(last.weight, std=self.config.init_std)
        nn.init.zeros_(last.bias)
        if self.config.norm == "number":
            return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(dims), last)
        if self.config.norm == "none":
            return nn.Sequential(nn.Flatten(), last)
        return nn.Sequential(nn.BatchNorm2d(width, affine=False), nn.Flatten(), last)

    def ranked(self, heads: Mapping[str, nn.ModuleList], source: Source, most: int) -> dict[str, Tensor]:
        """Give the best classes of every image by every classifier: map to (N, L, k), k at most ``most``."""
        rates = {name: len(some) for name, some in heads.items()}

        def logits(views: Tensor) -> Tensor:
            maps = self.maps(views)
            return torch.stack([head(maps[name]) for name, some in heads.items() for head in some], dim=1)

        best = ranked(self.network, source, logits, min(most, self.classes))
        return dict(zip(rates, best.split(list(rates.values()), dim=1), strict=True))


def _finite(head: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in head.parameters())


def pools(config: StagesConfig, shapes: Mapping[str, tuple[int, int]]) -> dict[str, nn.Module]:
    """Choose the average pooling of every map.

    Args:
        config: the protocol.
        shapes: map to its channels and side.
    """
    published = config.pooling == "published"
    if published and config.maps == "stages" and {name: side for name, (_, side) in shapes.items()} == WINDOW_SIDES:
        return {name: nn.AvgPool2d(*WINDOWS[name]) for name in shapes}
    found: dict[str, nn.Module] = {}
    for name, (width, side) in shapes.items():
        square = SQUARES.get(name.partition(".")[0]) if published and config.maps == "blocks" else None
        aim = square or round(math.sqrt(config.dims / width))
        found[name] = nn.AdaptiveAvgPool2d(min(max(aim, 1), side))
    return found


def optimizer_of(config: StagesConfig, rates: Rates, heads: Mapping[str, nn.ModuleList]) -> Optimizer:
    """Make SGD with a group for every classifier's linear layer, and one without decay for its BatchNorm."""
    groups: list[dict[str, Any]] = []
    for name, some in heads.items():
        for rate, head in zip(rates[name], some, strict=True):
            last = list(head.children())[-1]
            linear = {id(parameter) for parameter in last.parameters()}
            norm = [parameter for parameter in head.parameters() if id(parameter) not in linear]
            common = {"lr": rate, "base_lr": rate}
            groups.append({"params": list(last.parameters()), "weight_decay": config.weight_decay, **common})
            if norm:
                groups.append({"params": norm, "weight_decay": 0.0, **common})
    return torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.nesterov)
