"""InterCLR's branch on its own: real bank, labels, sampler and loss around a base whose network is simulated."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from machine import wait
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.bank import FeatureBank
from viewkin.memory.clusters import Clusters
from viewkin.memory.members import Members
from viewkin.memory.negatives import NegativeSampler
from viewkin.methods.base import Batch, MethodConfig, Step, ViewMethod
from viewkin.methods.terms.interclr import InterCLR, InterCLRConfig
from viewkin.runtime.draws import Draw
from viewkin.schedules import Progress
from viewkin.settings import with_values

DIM = 128
WATCHED = (
    (Clusters, "members", "member lists"),
    (Members, "of", "member lists"),
    (Members, "kin", "sampling"),
    (NegativeSampler, "log_sum", "sampling"),
    (NegativeSampler, "__call__", "sampling"),
    (FeatureBank, "write_", "bank"),
    (Clusters, "nearest", "labels"),
    (Clusters, "assign_", "labels"),
    (Clusters, "_agree_", "centroids"),
    (Clusters, "refresh_", "centroids"),
    (Clusters, "dissolve_small_", "small clusters"),
    (Clusters, "dissolve_few_", "small clusters"),
)
"""What is timed where a version of the library has it: owner, name, part. What one calls of another counts once."""


@dataclass(frozen=True, kw_only=True)
class SimulatedConfig(MethodConfig):
    """A view method whose embeddings are given instead of computed."""

    kind: ClassVar[str] = "simulated"

    def build(self, backbone: nn.Module, *, count: int) -> Simulated:
        """Make it."""
        return Simulated()


class Simulated(ViewMethod):
    """Queries are the batch's rows moved a little, keys are queries; the loss is nothing."""

    contrastive = True
    dim, temperature = DIM, 0.2

    def __init__(self) -> None:
        super().__init__()
        self.view_spec = {"view": "first"}
        self.shift = nn.Parameter(torch.zeros(DIM))

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Hand the given embeddings on."""
        q = losses.unit(batch.views["view"] + self.shift)
        record = {"index": batch.index, "embedding": q.detach()}
        return Step(terms={"simulated": 0 * q.sum()}, pairs=((q, q.detach()),), record=record)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Nothing is remembered."""


class Branch:
    """The branch at N images, driven step by step."""

    def __init__(
        self,
        count: int,
        clusters: int,
        batch: int,
        device: torch.device,
        features: Tensor | None = None,
        **settings: Any,
    ) -> None:
        config = with_values(InterCLRConfig(base=SimulatedConfig()), {"clusters.number": clusters, **settings})
        self.device, self.batch, self.step = device, batch, 0
        torch.manual_seed(0)
        self.method: InterCLR = config.build(nn.Identity(), count=count).to(device)
        if features is not None:
            self.method.memory.features = features
        self.generator = torch.Generator().manual_seed(1)

    def go(self) -> None:
        """Do a whole step of the branch: forward, backward, update."""
        memory = self.method.memory
        index = (
            torch.randperm(len(memory), generator=self.generator)[: self.batch] if len(memory) < 2e6 else self._drawn()
        )
        index = index.to(self.device)
        noise = torch.randn(self.batch, DIM, generator=self.generator).to(self.device)
        view = losses.unit(memory.read(index).float() + 0.02 * noise)
        draw = Draw(0, self.step, self.batch, 0, self.batch)
        at = Progress(step=self.step, steps=10**6)
        with torch.autocast(self.device.type, torch.bfloat16):
            wait(self.device)
            self.began = time.perf_counter()
            found = self.method(Batch(views={"view": view}, index=index, draw=draw), at)
            self.tail = time.perf_counter()
            found.loss.backward()
        self.method.update(found.record, at)
        wait(self.device)
        self.seconds = time.perf_counter() - self.began
        self.step += 1

    def _drawn(self) -> Tensor:
        return torch.randint(len(self.method.memory), (4 * self.batch,), generator=self.generator).unique()[
            : self.batch
        ]


@contextmanager
def timed(device: torch.device) -> Iterator[dict[str, float]]:
    """Put timers on :data:`WATCHED`, and take them away afterwards."""
    seconds: dict[str, float] = defaultdict(float)
    inside: list[str] = []

    def watched(part: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            wait(device)
            began = time.perf_counter()
            inside.append(part)
            try:
                return function(*arguments, **options)
            finally:
                wait(device)
                inside.pop()
                spent = time.perf_counter() - began
                seconds[part] += spent
                if inside:
                    seconds[inside[-1]] -= spent

        return call

    there = [(owner, name, part, owner.__dict__[name]) for owner, name, part in WATCHED if name in owner.__dict__]
    try:
        for owner, name, part, old in there:
            plain = old.__func__ if isinstance(old, classmethod) else old
            new = watched(part, plain)
            setattr(owner, name, classmethod(new) if isinstance(old, classmethod) else new)
        yield seconds
    finally:
        for owner, name, _, old in there:
            setattr(owner, name, old)
