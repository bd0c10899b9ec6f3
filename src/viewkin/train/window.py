"""What one optimiser step leaves to read: sums for the log, the joined record, the gradient's norm."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor

from viewkin import distributed
from viewkin.methods.base import Step


class Window:
    """Sums since the last report; on the device, so that adding waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.images, self.began = 0, 0, time.monotonic()

    def add(self, steps: list[Step], norm: Tensor, images: int) -> None:
        """Add one optimiser step: the mean of its micro-batches' terms."""
        self.steps += 1
        self.images += images
        values = {"loss": torch.stack([s.loss.detach() for s in steps]).mean(), "gradient_norm": norm}
        for name in steps[0].terms:
            values[f"term/{name}"] = torch.stack([s.terms[name].detach() for s in steps]).mean()
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.float()  # type: ignore[operator]

    def read(self) -> dict[str, float]:
        """Return means over the window and all ranks, and images/s, and start a new window."""
        total = distributed.mean(torch.stack(list(self.sums.values())))
        values = dict(zip(self.sums, (total / self.steps).tolist()))
        values["images_per_second"] = self.images / max(time.monotonic() - self.began, 1e-9)
        self._reset()
        return values


def joined(steps: list[Step]) -> dict[str, Tensor]:
    """Join the records of all micro-batches and ranks, rows in global batch order."""
    return {name: distributed.gather(torch.cat([s.record[name] for s in steps])) for name in steps[0].record}


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """L2 norm of all gradients, a scalar that stays on the device."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norms: list[Tensor] = list(torch._foreach_norm(grads))  # pyright: ignore[reportPrivateUsage]
    return torch.stack(norms).norm()
