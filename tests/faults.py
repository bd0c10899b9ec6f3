"""Faults that tests bring about in runs: a kill in a step, a flipped bit; and what is looked at afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from commandline import TINY, Ended, viewkin
from viewkin.methods.simclr import SimCLR

DATA = "generated:images=64"
"""Images that need no files."""
OFTEN = ("--set", "runtime.checkpoint_steps=1", "--set", "runtime.log_every=1")
"""A checkpoint and a line of the log at every step."""
SIMCLR = ("--recipe", "demo", *TINY, *OFTEN)
"""A run of two epochs of SimCLR."""


class KilledError(BaseException):
    """Stands for a kill."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, *command: object) -> None:
    """Run a command with SimCLR that dies in a step."""
    forward = SimCLR.forward

    def dying(self, batch, at):
        if at.total_step == step:
            raise KilledError
        return forward(self, batch, at)

    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "forward", dying)
        with pytest.raises(KilledError):
            viewkin(*command)


def damage(path: Path, bit: int | None = None) -> None:
    """Flip a bit of a file, by default one in its middle."""
    content = bytearray(path.read_bytes())
    bit = 4 * len(content) if bit is None else bit
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def refused(ended: Ended, *words: str) -> None:
    """Require a refusal in one sentence that holds these words."""
    assert ended.code == 2, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    for word in words:
        assert word in ended.err


def state_of(out: Path) -> dict[str, tuple[int, bytes]]:
    """Everything that could be touched: times and contents of all files."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (out, *sorted(out.rglob("*")))
    }
