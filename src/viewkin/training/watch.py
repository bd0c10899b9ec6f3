"""What optimiser steps leave to see: means for the log, health, kNN, warnings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from viewkin.methods.base import Step
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.training.logs import MONITORS, Display, MetricsLog, summed
from viewkin.training.monitors import KnnMonitor, health, kinship, warning_of


class Watch:
    """Sums since the last report, kept on the device so that adding waits for nothing, and where reports go.

    Every rank holds one and reports at the same steps, since means are taken over ranks; only rank 0 has a log.
    """

    def __init__(
        self,
        log: MetricsLog | None,
        display: Display,
        monitor: KnnMonitor | None,
        batch_size: int,
        steps_per_epoch: int,
        device: torch.device,
    ) -> None:
        self.log, self.display, self.monitor = log, display, monitor
        self.batch_size, self.steps_per_epoch, self.device = batch_size, steps_per_epoch, device
        self.knn = -1.0
        self._warned: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.began, self.cpu_began = 0, time.monotonic(), time.process_time()

    def add(self, steps: list[Step], norm: Tensor, at: Progress) -> None:
        """Add one optimiser step, ``at`` already past it: the mean of its micro-batches' terms."""
        self.steps += 1
        values = {"loss": torch.stack([s.loss.detach() for s in steps]).mean(), "gradient_norm": norm}
        for name in steps[0].terms:
            values[f"term/{name}"] = torch.stack([s.terms[name].detach() for s in steps]).mean()
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value.float() if name in self.sums else value.float()
        epoch = (at.total_step - 1) // self.steps_per_epoch + 1
        self.display.step(at.total_step, f"epoch {epoch}/{at.epochs * at.rounds}")

    def report(
        self,
        last: Step,
        at: Progress,
        lr: float,
        ends: bool,
        more: Mapping[str, float],
        *,
        complete: bool,
        concern: str | None = None,
    ) -> None:
        """Write one line of the log with ``more`` in it; at an epoch's end with kNN, and then start anew.

        ``complete``: in the last step no term waited for its ramp. ``concern``: what the method itself warns of.
        """
        total = distributed.mean(torch.stack(list(self.sums.values())))
        values = dict(zip(self.sums, (total / self.steps).tolist()))
        values["images_per_second"] = self.steps * self.batch_size / max(time.monotonic() - self.began, 1e-9)
        # What the run takes of the processor, so that runs compare on a machine that is shared.
        values["cpu_seconds"] = time.process_time() - self.cpu_began
        values |= health(last)
        values |= {"lr": lr, "epoch": at.total_step / self.steps_per_epoch, **more}
        if self.monitor and last.related:
            labels = self.monitor.labels.to(last.record["index"].device)
            values |= kinship(last.related, last.record["index"], labels)
        if self.log:
            if ends and self.monitor:
                values["knn_monitor"] = self.knn = self.monitor.accuracy()
            self.log.write(at.total_step, values)
            self.display.numbers(values)
            warning = warning_of(values, len(last.record["index"]), complete=complete)
            self._tell(values, ends, (warning, concern))
        self._reset()

    def _tell(self, values: dict[str, float], ends: bool, warnings: tuple[str | None, ...]) -> None:
        if ends:
            known = "".join(f"  {name} {values[name]:.3f}" for name in MONITORS if name in values)
            speed = f"{values['images_per_second']:,.0f} images/s"
            self.display.line(f"epoch {values['epoch']:.0f}: {summed(values, 4)}{known}  {speed}")
        if values["epoch"] <= 0.5:  # the first steps of a network say little about its health
            return
        for warning in warnings:
            if warning and warning.split(":")[0] not in self._warned:
                self._warned.add(warning.split(":")[0])
                self.display.line(f"warning: {warning}", always=True)


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """L2 norm of all gradients, a scalar that stays on the device."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norms: list[Tensor] = list(torch._foreach_norm(grads))  # pyright: ignore[reportPrivateUsage]
    return torch.stack(norms).norm()
