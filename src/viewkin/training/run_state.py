"""All that a run is between two steps: what its checkpoints hold, and how they are written and taken up."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from viewkin.data.source import Source
from viewkin.methods.base import Method
from viewkin.nets.norm import average_statistics_
from viewkin.runtime import distributed
from viewkin.runtime.errors import UserError
from viewkin.runtime.fabric_package import Fabric
from viewkin.runtime.progress import reporter
from viewkin.schedules import Progress
from viewkin.settings import setting_paths
from viewkin.training import checkpoint
from viewkin.training.batchnorm_statistics import put_statistics_, statistics_of
from viewkin.training.config import Recipe
from viewkin.training.monitors import KnnMonitor
from viewkin.training.online_heads import OnlineHeads
from viewkin.training.outcome import RunStoppedError


def stated(recipe: Recipe) -> dict[str, str]:
    """Write the settings of a recipe that decide results: path to value, as JSON."""
    return {
        path: json.dumps(value, default=str)
        for path, value in setting_paths(recipe).items()
        if not path.startswith("runtime.")
    }


@dataclass(kw_only=True)
class RunState:
    """A run's parts whose state is in its checkpoints; every rank holds one, and rank 0 writes."""

    method: Method
    optimizer: torch.optim.Optimizer
    fabric: Fabric
    source: Source
    at: Progress
    monitor: KnnMonitor | None
    online: OnlineHeads | None
    out: Path
    """Run directory."""
    metadata: Mapping[str, Any]
    """What ``load_backbone`` needs."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """What decides results: path of a setting to its value as JSON."""
    best: float = -1.0
    """Highest ``knn_monitor`` so far; -1 before the first."""
    saved_at: float = field(default_factory=time.monotonic)
    """When ``last.ckpt`` was written, on the monotonic clock."""
    saved_step: int = 0
    """Steps that were done then."""

    def broken(self, what: str, step: int) -> RunStoppedError:
        """Say that something is no longer finite since a step (counted from 1), and what to go back to."""
        last, kept = self.out / checkpoint.LAST, "there is no checkpoint yet"
        if last.exists():
            kept = f"the last good checkpoint, of step {self.saved_step}, is kept in {last}"
        return RunStoppedError(
            f"{what} became NaN or infinite at step {step}; {kept}. Try a lower optim.lr, a longer warm-up "
            "(schedule.warmup_epochs), or runtime.precision=32-true in a new run."
        )

    def _check_finite(self) -> None:
        bad = checkpoint.first_bad_tensor(self.method.state_dict())
        if bad:
            raise self.broken(f"The tensor {bad}", self.at.total_step)

    def everything(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        at = self.at
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "monitor": self.monitor.state() if self.monitor else {},
            "online": self.online.state() if self.online else {},
            "best": self.best,
            "progress": {"round": at.round, "epoch": at.epoch, "step": at.step},
            "images": self._images(),
            "backbone": json.dumps(dict(self.metadata)),
            "settings": json.dumps(dict(self.settings)),
        }

    def _images(self) -> dict[str, Any]:
        """What tells one set of images from another."""
        return checkpoint.names_of(self.source)

    def save(self) -> None:
        """Write ``last.ckpt``: with averaged statistics to use, and each rank's own to go on with.

        The ranks keep their own, so that when a run is saved, or stopped, leaves no trace in its bits.

        Raises:
            RunStoppedError: a tensor is not finite, or the place cannot be written.
        """
        own = statistics_of(self.method)
        average_statistics_(self.method)
        self._check_finite()
        every = distributed.gather(own[None])
        if self.fabric.global_rank == 0:
            state = {**self.everything(), "statistics": every}
            last, previous = self.out / checkpoint.LAST, self.out / checkpoint.PREVIOUS
            checkpoint.save_checkpoint(last, state, before=previous)
        put_statistics_(self.method, own)
        self.saved_at, self.saved_step = time.monotonic(), self.at.total_step
        distributed.barrier()

    def keep_best(self, accuracy: float) -> None:
        """Write ``best.ckpt`` where no epoch before had this ``knn_monitor``; all ranks average their statistics.

        Raises:
            RunStoppedError: as for :meth:`save`.
        """
        average_statistics_(self.method)
        self._check_finite()
        if self.fabric.global_rank == 0 and accuracy > self.best:
            self.best = accuracy
            checkpoint.save_checkpoint(self.out / "best.ckpt", self.everything())

    def _check_settings(self, path: Path, saved: Mapping[str, str]) -> None:
        """Refuse settings that are not those of a checkpoint; it may lack some, as those of older versions do.

        Raises:
            UserError: one differs.
        """
        for name, value in self.settings.items():
            if saved.get(name, value) != value:
                raise UserError(
                    f"recipe.json of {self.out} has {name} {value} and {path.name} {saved[name]}, so it was changed or "
                    "damaged; restore it from a copy, or start a new run."
                )

    def load(self) -> None:
        """Take up ``last.ckpt`` or, where that is damaged, the checkpoint before it.

        Raises:
            UserError: there is none, or it is of other images, settings, another method or another network.
        """
        path, state, note = checkpoint.load_newest(self.out)
        if not checkpoint.is_of(state["images"], self.source):
            raise UserError(
                f"The images are not those of the run ({state['images']['count']} then, {len(self.source)} now, or "
                "other names); point to the same set, or start a new run."
            )
        self._check_settings(path, json.loads(state.get("settings", "{}")))
        checkpoint.load_method(path, state, self.method)
        if len(state["statistics"]) == self.fabric.world_size:
            put_statistics_(self.method, state["statistics"][self.fabric.global_rank])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        if self.monitor:
            self.monitor.load(state["monitor"])
        if self.online:
            self.online.load(state.get("online", {}))
        self.best = state["best"]
        self.at.round, self.at.epoch, self.at.step = (state["progress"][name] for name in ("round", "epoch", "step"))
        self.saved_step = self.at.total_step
        if note and self.fabric.global_rank == 0:
            reporter().say(note)
            checkpoint.restore_last(self.out)
