"""Our side of the training-step benchmark: the trainer's own loop, and where its time goes."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from viewkin import losses
from viewkin.augment.policies import policy
from viewkin.data.source import Source
from viewkin.memory.cluster_config import ClusterConfig
from viewkin.memory.graph import GraphConfig, NeighbourGraph
from viewkin.methods.base import Method, MethodConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.invp import InvPConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.interclr import InterCLRConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.runs.resolve import Resolved, fit_to_data
from viewkin.runtime.draws import seed_for
from viewkin.runtime.progress import Reporter
from viewkin.schedules import Progress, RampConfig
from viewkin.training import loop
from viewkin.training.config import AugmentConfig, DataConfig, Recipe, RuntimeConfig
from viewkin.training.fabric import make_fabric
from viewkin.training.logs import Display
from viewkin.training.watch import Watch

QUEUE = 4096
"""Keys in MoCo's queue, ours and the peer's."""

MOCO = MoCoConfig(queue_size=QUEUE)
KIN = {"graph": GraphConfig(positives=20), "ramp": RampConfig(share=0)}
"""InvP's kin as its CIFAR-10 recipe has them, from the first step on."""
METHODS: dict[str, tuple[MethodConfig, str]] = {
    "simclr": (SimCLRConfig(), "simclr-cifar"),
    "moco": (MOCO, "moco-cifar"),
    "moco-split": (MoCoConfig(queue_size=QUEUE, norm="split:8"), "moco-cifar"),
    "interclr-moco": (InterCLRConfig(base=MOCO, clusters=ClusterConfig(number=100)), "moco-cifar"),
    "propagation-moco": (PropagationConfig(base=MOCO, **KIN), "moco-cifar"),
    "npid": (NPIDConfig(), "npid-cifar"),
    "invp": (InvPConfig(temperature=0.2, **KIN), "npid-cifar"),
    "iraug": (IRAugConfig(), "isif"),
    "eir": (EIRConfig(base=IRAugConfig()), "isif"),
    "byol": (BYOLConfig(), "byol-cifar"),
}
"""Name to method and augmentation policy."""

BASES = {"interclr-moco": "moco", "propagation-moco": "moco", "invp": "npid", "eir": "iraug"}
"""A method with inter-image terms to the one that it is without them; of InvP, instance discrimination."""

PARTS = ("decode", "views", "forward", "loss", "backward", "gradient norm", "optimiser", "memory", "rest")
"""Where a step's time goes. ``forward`` is every pass through a network, keys' included; ``loss`` is the rest of the
method's forward; ``memory`` joins records and writes bank, queue, moving copies and the kNN monitor."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One forward pass of a network in a step."""

    network: nn.Module
    name: str
    """The network's, in the method: ``base.key_encoder``."""
    x: Tensor
    """What it was given: (B, 3, h, w) images or (B, D) embeddings."""
    gradient: bool
    """Whether a gradient flows back through it."""

    def __call__(self) -> Tensor:
        """Do it again."""
        with torch.set_grad_enabled(self.gradient):
            return self.network(self.x.detach().requires_grad_(self.x.requires_grad))


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
        recipe = fit_to_data(Resolved(recipe, frozenset(), (), smoke=False), len(source)).recipe
        backbone = build_backbone(recipe.backbone)
        fabric = make_fabric(runtime, backbone)
        learner = recipe.method.build(backbone, count=len(source))
        self.trainer = loop.Trainer(recipe, source, learner, policy(augment), fabric, out, {})
        self.trainer.method.train()
        steps = self.trainer.loader.steps
        display = Display(Reporter(), 1, 0)
        self.watch = Watch(None, display, self.trainer.monitor, case.batch, steps, fabric.device)
        self.batches = self._batches()
        fill_(self.trainer.method, len(source), self.trainer.at)
        self.passes = self._passes()

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
                self.watch.report(found[-1], trainer.at, lr, False, {}, complete=True)
        return now(trainer.fabric.device) - began

    def _passes(self) -> list[Pass]:
        """Watch a real step: every pass through a network, with what it was given."""
        found: list[Pass] = []

        def keep(network: nn.Module, given: tuple[Tensor], *, name: str) -> None:
            (x,) = given
            x = x.detach().requires_grad_(x.requires_grad)
            found.append(Pass(network=network, name=name, x=x, gradient=torch.is_grad_enabled()))

        named = networks(self.trainer.method)
        hooks = [one.register_forward_pre_hook(partial(keep, name=name)) for name, one in named.items()]
        self.run(1)
        for hook in hooks:
            hook.remove()
        return found

    def bare(self, steps: int) -> float:
        """Repeat a step's passes through its networks, forward and back, and do nothing else; seconds of ``steps``."""
        fabric = self.trainer.fabric
        began = now(fabric.device)
        for _ in range(steps):
            with fabric.autocast():
                found = [one() for one in self.passes]
            fabric.backward(torch.stack([z.float().square().mean() for z in found if z.requires_grad]).sum())
            self.trainer.optimizer.zero_grad(set_to_none=True)
        return now(fabric.device) - began

    def flops(self) -> int:
        """Floating-point operations of a step's passes, forward and back: products and convolutions."""
        with FlopCounterMode(display=False) as counter:
            self.bare(1)
        return counter.get_total_flops()

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


def networks(method: nn.Module, path: str = "") -> dict[str, nn.Module]:
    """The networks of a method and of those that it wraps, by name: whatever has parameters."""
    found: dict[str, nn.Module] = {}
    for name, child in method.named_children():
        if isinstance(child, Method):
            found |= networks(child, f"{path}{name}.")
        elif any(True for _ in child.parameters()):
            found[path + name] = child
    return found


def fill_(method: Method, count: int, at: Progress) -> None:
    """Begin with memories as a run has them later: embeddings spread evenly, graphs of random edges."""
    method.start(lambda _: losses.unit(torch.randn(count, method.dim)), at)
    for part in method.modules():
        if isinstance(part, NeighbourGraph):
            part.neighbours.random_(count)


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
    inside = networks(trainer.method).values()
    try:
        for (owner, name, part), old in zip(targets, before):
            owner.__dict__[name] = watched(part, old)
        trainer.views = _TimedViews(views, watched)  # type: ignore[assignment]
        for network in inside:
            network.__dict__["forward"] = watched("forward", network.forward)
        yield seconds
    finally:
        trainer.views = views
        for network in inside:
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
