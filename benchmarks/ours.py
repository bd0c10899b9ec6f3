"""Our side of the training-step benchmark: the trainer's own loop, and where its time goes."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from viewkin.augment.policies import policy
from viewkin.data.source import Source
from viewkin.draws import seed_for
from viewkin.methods.base import MethodConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.eir import EIRConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.train import loop
from viewkin.train.config import AugmentConfig, DataConfig, Recipe, RuntimeConfig
from viewkin.train.fabric import make_fabric
from viewkin.train.logs import Display
from viewkin.train.watch import Watch

QUEUE = 4096
"""Keys in MoCo's queue, ours and the peer's."""

METHODS: dict[str, tuple[MethodConfig, str]] = {
    "simclr": (SimCLRConfig(), "simclr-cifar"),
    "moco": (MoCoConfig(queue_size=QUEUE), "moco-cifar"),
    "moco-split": (MoCoConfig(queue_size=QUEUE, norm="split:8"), "moco-cifar"),
    "npid": (NPIDConfig(), "npid-cifar"),
    "iraug": (IRAugConfig(), "isif"),
    "eir": (EIRConfig(base=IRAugConfig()), "isif"),
    "byol": (BYOLConfig(), "byol-cifar"),
}
"""Name to method and augmentation policy."""

PARTS = ("decode", "views", "forward", "loss", "backward", "gradient norm", "optimiser", "memory", "rest")
"""Where a step's time goes. ``forward`` is every pass through a network, keys' included; ``loss`` is the rest of the
method's forward; ``memory`` joins records and writes bank, queue, moving copies and the kNN monitor."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained: one row of the benchmark."""

    method: str
    """Key of :data:`METHODS`."""
    width: int
    """Channels of ResNet-18's first stage."""
    batch: int
    """Images of a step."""
    size: int = 32
    """Side of a view, pixels."""


class Ours:
    """A trainer that is driven step by step, as its ``run`` does it: loader, step, watch and its reports."""

    def __init__(self, case: Case, source: Source, runtime: RuntimeConfig, seed: int, out: Path) -> None:
        method, augment = METHODS[case.method]
        recipe = Recipe(
            name=case.method,
            about="benchmark",
            method=method,
            backbone=BackboneConfig(width=case.width),
            augment=AugmentConfig(policy=augment, image_size=case.size),
            optim=OptimConfig(weight_decay=5e-4),
            schedule=ScheduleConfig(epochs=1000),
            data=DataConfig(batch_size=case.batch),
            seed=seed,
            runtime=runtime,
        )
        torch.manual_seed(seed_for(seed, "init"))
        backbone = build_backbone(recipe.backbone)
        fabric = make_fabric(runtime, backbone)
        learner = method.build(backbone, count=len(source))
        console = Console(quiet=True)
        self.trainer = loop.Trainer(recipe, source, learner, policy(augment), fabric, out, {}, console)
        self.trainer.method.train()
        steps = self.trainer.loader.steps
        display = Display(console, 1, 0)
        self.watch = Watch(None, display, self.trainer.monitor, case.batch, steps, fabric.device)
        self.batches = self._batches()

    @property
    def precision(self) -> str:
        """Precision that was chosen."""
        return str(self.trainer.fabric._precision.precision)

    def _batches(self) -> Iterator[Any]:
        epoch = 0
        while True:
            yield from self.trainer.loader.epoch(epoch)
            epoch += 1

    def run(self, steps: int) -> float:
        """Train ``steps`` steps; return their seconds."""
        trainer = self.trainer
        began = now(trainer.fabric.device)
        for _ in range(steps):
            found, norm = trainer.step(next(self.batches))
            trainer.at.step += 1
            self.watch.add(found, norm, trainer.at)
            if trainer.at.step % trainer.recipe.runtime.log_every == 0:
                lr = float(trainer.optimizer.param_groups[0]["lr"])
                self.watch.report(found[-1], trainer.at, lr, False, {})
        return now(trainer.fabric.device) - began

    def bare(self, steps: int) -> float:
        """Pass the networks' images forward and back and do nothing else; return the seconds of ``steps`` steps."""
        trainer, method = self.trainer, self.trainer.method
        device, fabric = trainer.fabric.device, trainer.fabric
        names = list(method.view_spec)
        shape = (
            trainer.recipe.data.batch_size,
            3,
            trainer.recipe.augment.image_size,
            trainer.recipe.augment.image_size,
        )
        views = [torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last) for _ in names]
        slow = getattr(method, "key_encoder", None)
        began = now(device)
        for _ in range(steps):
            with fabric.autocast():
                if slow is None:
                    z = method.encoder(torch.cat(views))  # type: ignore[operator]
                else:
                    z = method.encoder(views[0])  # type: ignore[operator]
                    with torch.no_grad():
                        slow(views[1])
            fabric.backward(z.float().square().mean())
            trainer.optimizer.zero_grad(set_to_none=True)
        return now(device) - began

    def parts(self, steps: int) -> dict[str, float]:
        """Train ``steps`` steps under timers; seconds a step for each of :data:`PARTS`."""
        with timed(self.trainer) as seconds:
            batches = self.batches
            self.batches = _timed_iterator(batches, seconds, self.trainer.fabric.device)
            whole = self.run(steps)
            self.batches = batches
        seconds["loss"] = seconds.pop("method") - seconds["forward"]
        seconds["rest"] = whole - sum(seconds.values())
        return {part: seconds[part] / steps for part in PARTS}


def now(device: torch.device) -> float:
    """Seconds on the wall clock, once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _timed_iterator(batches: Iterator[Any], seconds: dict[str, float], device: torch.device) -> Iterator[Any]:
    while True:
        began = now(device)
        batch = next(batches)
        seconds["decode"] += now(device) - began
        yield batch


class _TimedViews:
    """A view maker under a timer."""

    def __init__(self, views: Any, watched: Callable[[str, Any], Any]) -> None:
        self.sample, self.make = watched("views", views.sample), watched("views", views)

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)


@contextmanager
def timed(trainer: loop.Trainer) -> Iterator[dict[str, float]]:
    """Put timers around the real parts of a trainer's step, and take them away afterwards."""
    seconds: dict[str, float] = defaultdict(float)
    device = trainer.fabric.device

    def watched(part: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            began = now(device)
            try:
                return function(*arguments, **options)
            finally:
                seconds[part] += now(device) - began

        return call

    targets: list[tuple[Any, str, str]] = [
        (trainer, "forward", "method"),
        (trainer.fabric, "backward", "backward"),
        (trainer.optimizer, "step", "optimiser"),
        (trainer.optimizer, "zero_grad", "optimiser"),
        (trainer.method, "update", "memory"),
        (loop, "joined", "memory"),
        (loop, "gradient_norm", "gradient norm"),
    ]
    if trainer.monitor:
        targets.append((trainer.monitor, "write_", "memory"))
    before = [getattr(owner, name) for owner, name, _ in targets]
    views = trainer.views
    networks = [getattr(trainer.method, n, None) for n in ("encoder", "key_encoder", "target_encoder", "predictor")]
    try:
        for (owner, name, part), old in zip(targets, before):
            owner.__dict__[name] = watched(part, old)
        trainer.views = _TimedViews(views, watched)  # type: ignore[assignment]
        for network in filter(None, networks):
            network.__dict__["forward"] = watched("forward", network.forward)
        yield seconds
    finally:
        trainer.views = views
        for network in filter(None, networks):
            network.__dict__.pop("forward", None)
        for (owner, name, _), old in zip(targets, before):
            owner.__dict__[name] = old


def runtime_of(options: argparse.Namespace) -> RuntimeConfig:
    """Runtime settings of the benchmark."""
    return RuntimeConfig(
        threads=options.threads,
        precision=options.precision,
        accelerator=options.accelerator,
        keep_memory=options.keep_memory,
    )
