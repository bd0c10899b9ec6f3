"""A gate: it opens after the first epoch whose mean instance loss is below the loss of equal similarities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from viewkin.schedules import Progress


class Gate(nn.Module):
    """Mean instance loss of each epoch, and the epoch after which it was first below a limit.

    Reads have no side effect. :meth:`update_` takes the joined batch of all ranks, so the gates of all ranks open
    together. A state saved before there were gates is taken up as one that was open from the start.

    References:
        Ours: above the limit, a loss falls fastest when all embeddings become alike.
    """

    total: Tensor
    """() float64, sum of the losses of this epoch so far."""
    rows: Tensor
    """() int64, number of these losses."""
    mean: Tensor
    """() float64, mean of the last whole epoch; -1 before there is one."""
    opened: Tensor
    """() int64, epochs of the run that were done when the gate opened; -1 while it is closed."""

    def __init__(self, limit: float) -> None:
        """Start closed.

        Args:
            limit: the loss of equal similarities, ln M of M candidates.
        """
        super().__init__()
        self.limit = limit
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.full((), -1.0, dtype=torch.float64))
        self.register_buffer("opened", torch.full((), -1, dtype=torch.int64))
        self._read: tuple[int, int | None] | None = None
        self.register_load_state_dict_pre_hook(_open_older)
        self.register_load_state_dict_post_hook(_forget)

    @property
    def measured(self) -> float | None:
        """Mean of the last whole epoch, None before there is one; reading it waits for a GPU."""
        mean = float(self.mean)
        return None if mean < 0 else mean

    def opened_at(self, at: Progress) -> int | None:
        """Epochs of the run that were done when the gate opened, None while it is closed.

        The buffer is read once an epoch, because reading it waits for a GPU and it changes only between epochs.
        """
        epoch = at.round * at.epochs + at.epoch
        if self._read is None or self._read[0] != epoch:
            opened = int(self.opened)
            self._read = epoch, None if opened < 0 else opened
        return self._read[1]

    @torch.no_grad()
    def update_(self, losses: Tensor, at: Progress) -> None:
        """Add the instance losses (B,) of the joined batch; at the epoch's last step, take the mean and decide.

        ``at`` is the progress before this step.
        """
        self.total.add_(losses.sum(dtype=torch.float64))
        self.rows.add_(len(losses))
        if (at.step + 1) * at.epochs % at.steps:
            return
        self.mean.copy_(self.total / self.rows)
        opens = (self.opened < 0) & (self.mean < self.limit)
        self.opened.copy_(torch.where(opens, at.round * at.epochs + at.epoch + 1, self.opened))
        self.total.zero_()
        self.rows.zero_()


def _open_older(gate: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Complete a state that has no gate."""
    if prefix + "opened" not in state:
        state |= {prefix + name: buffer.detach().clone() for name, buffer in gate.named_buffers()}
        state[prefix + "opened"].zero_()


def _forget(gate: nn.Module, _: Any) -> None:
    """Drop what was read of a state that has been replaced."""
    assert isinstance(gate, Gate)
    gate._read = None  # pyright: ignore[reportPrivateUsage]
