"""The demonstration: the main job on a small image set, start to end, in a few minutes on two cores."""

from __future__ import annotations

from pathlib import Path

import torch

from viewkin.commands.train import Training, train
from viewkin.data.dataset import is_generated
from viewkin.runs.resolve import TrainRequest
from viewkin.runtime.processor import has_bf16

SLOW_EPOCHS = 16
"""Epochs on a processor without bfloat16, where the recipe's would take twice its few minutes."""


def demo(data: str, out: Path) -> Training:
    """Train on ``data``, judge where labels exist, write the report.

    Raises:
        UserError: the images cannot be used, or ``out`` holds something that is no demo run.
    """
    rendered = is_generated(data)
    epochs = SLOW_EPOCHS if rendered and not has_bf16() and not torch.cuda.is_available() else None
    request = TrainRequest(data=data, out=out, recipe="demo" if rendered else None, epochs=epochs, demo=True)
    return train(request)
