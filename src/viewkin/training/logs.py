"""What a run writes while it goes: metrics.jsonl, TensorBoard events, a progress bar."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.json_text import read_json
from viewkin.runtime.places import remedy, why_not
from viewkin.runtime.progress import Reporter
from viewkin.training.forecast import Forecast

CLOCKED = ("images_per_second", "cpu_seconds")
"""What a line says of time: it differs between runs that are equal bit for bit."""
MONITORS = ("knn_monitor", "linear_monitor", "mlp_monitor")
"""Shares of held-out training images that were named rightly, in the log at an epoch's end."""


class MetricsLog:
    """``metrics.jsonl`` (one JSON object a line, ``step`` rising) and TensorBoard events of one run directory."""

    def __init__(self, out: Path, *, from_step: int) -> None:
        """Open for appending; lines after ``from_step`` (a checkpoint's) are cut away first."""
        self.path = out / "metrics.jsonl"
        kept = [line for line in read_metrics(self.path) if line["step"] <= from_step]
        with replacing(self.path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = self.path.open("a")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorBoard's own imports warn of deprecations
            from torch.utils.tensorboard.writer import SummaryWriter  # slow: only a run needs it

            self._events = SummaryWriter(str(out / "tensorboard"), purge_step=from_step + 1 if from_step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line and its events; what is not finite becomes null, since JSON has no word for it."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush to disk and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._events.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read ``metrics.jsonl``; a last line cut by a kill is dropped; no file gives no lines.

    Raises:
        UserError: another line is no object with its step, or the file cannot be read.
    """
    try:
        texts = path.read_bytes().splitlines() if path.is_file() else []
    except OSError as error:
        raise UserError(f"{path} cannot be read ({why_not(error)}): {remedy(error)}.") from error
    lines = [_line(text) for text in texts]
    if None in lines[:-1]:
        number = lines.index(None) + 1
        raise UserError(f"Line {number} of {path} is damaged; remove it, or restore the file from a copy.")
    return [line for line in lines if line is not None]


def _line(text: bytes) -> dict[str, Any] | None:
    """Read an object with its step; None where it is something else."""
    try:
        line = read_json(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("step"), int) else None


WIDTH = 90
"""Columns that everything but the loss takes beside the bar."""


def summed(values: Mapping[str, float], digits: int) -> str:
    """Write the loss, with its terms where there are several."""
    terms = {name.removeprefix("term/"): value for name, value in values.items() if name.startswith("term/")}
    parts = " + ".join(f"{name} {value:.{digits}f}" for name, value in terms.items())
    return f"loss {values['loss']:.{digits}f}" + (f" = {parts}" if len(terms) > 1 else "")


class Display:
    """What a run shows while it trains: a bar with ETA where bars are drawn, one line an epoch elsewhere."""

    def __init__(self, reporter: Reporter, steps: int, done: int) -> None:
        """Show ``steps`` optimiser steps of which ``done`` are done."""
        self.reporter = reporter
        self._forecast = Forecast(steps)
        self._knn = ""
        self._bar = reporter.bar("training", steps, done=done, patience=0.0)

    def __enter__(self) -> Display:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__(None, None, None)

    def step(self, done: int, epoch: str) -> None:
        """Move the bar; say how long the rest will take, once that is known and when it changes."""
        self._bar.update(done, description=epoch)
        sentence = self._forecast.after(done)
        if sentence is not None:
            self.line(sentence, always=True)

    def numbers(self, values: Mapping[str, float]) -> None:
        """Show the newest values beside the bar."""
        if "knn_monitor" in values:
            self._knn = f" kNN {values['knn_monitor']:.3f}"
        loss = summed(values, 3)
        if len(loss) > self.reporter.width - WIDTH:
            loss = f"loss {values['loss']:.3f}"
        self._bar.update(self._bar.done, detail=f"{loss} {values['images_per_second']:,.0f} images/s{self._knn}")

    def line(self, text: str, *, always: bool = False) -> None:
        """Say a sentence; without ``always`` only where no bar is drawn."""
        if always or not self.reporter.draws:
            self.reporter.say(text)
