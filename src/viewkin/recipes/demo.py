"""The demonstration: the main job on a small image set, start to end, in a few minutes on two cores."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from viewkin.data.opening import is_generated
from viewkin.recipes.finish import train_and_finish
from viewkin.recipes.resolve import TrainRequest


def demo(data: str, out: Path, console: Console) -> int:
    """Train on ``data``, judge where labels exist, write the report; return the exit code.

    Raises:
        UserError: the images cannot be used, or ``out`` holds something that is no demo run.
    """
    recipe = "demo" if is_generated(data) else None
    return train_and_finish(TrainRequest(data=data, out=out, recipe=recipe, demo=True), console)
