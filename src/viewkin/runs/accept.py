"""Let a run go on with other images than it began with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewkin.data.source import Source
from viewkin.runtime.files import replacing
from viewkin.training.checkpoint import LAST, PREVIOUS, load_newest, names_of, save_checkpoint
from viewkin.training.config import Recipe
from viewkin.training.logs import read_metrics


def take_other_images(out: Path, recipe: Recipe, source: Source) -> None:
    """Rewrite the newest checkpoint for other images; nothing in it may have a row for each.

    Epochs that are done stay done, and so does the share of the running one; monitors, which keep a row for each image,
    begin anew. Where an epoch has another number of steps now, those in ``metrics.jsonl`` are renumbered.

    Raises:
        UserError: there is no checkpoint, or the place cannot be written.
    """
    _, state, _ = load_newest(out)
    batch = recipe.data.batch_size
    before, now = int(state["images"]["count"]) // batch, len(source) // batch
    done = total_steps(state["progress"], before, recipe.schedule.epochs)
    progress = converted(state["progress"], before, now)
    ends = total_steps(progress, now, recipe.schedule.epochs)
    lines = [line for line in read_metrics(out / "metrics.jsonl") if line["step"] <= done]
    steps = [line["step"] if before == now else min(round(line["step"] * now / before), ends) for line in lines]
    kept = {step: {**line, "step": step} for step, line in zip(steps, lines) if step > 0}
    with replacing(out / "metrics.jsonl") as unfinished:
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept.values()))
    state |= {"images": names_of(source), "progress": progress, "monitor": {}, "online": {}}
    save_checkpoint(out / LAST, state, before=out / PREVIOUS)


def converted(progress: Mapping[str, Any], before: int, now: int) -> dict[str, int]:
    """Count the steps of a round in epochs of ``now`` steps instead of ``before``, the running epoch's rounded down."""
    epoch = int(progress["epoch"])
    within = (int(progress["step"]) - epoch * before) * now // before
    return {"round": int(progress["round"]), "epoch": epoch, "step": epoch * now + within}


def total_steps(progress: Mapping[str, Any], per_epoch: int, epochs: int) -> int:
    """Count the steps since the start of the run."""
    return int(progress["round"]) * epochs * per_epoch + int(progress["step"])
