"""The directory of a run: claimed by one process, begun, and left tidy."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from viewkin.data.frozen_listing import write_listing
from viewkin.data.identity import fingerprint_of
from viewkin.runs.accept import take_other_images
from viewkin.runs.directory_lock import LOCK, directory_lock
from viewkin.runs.plan import LISTING, Plan, check_place, free_directory
from viewkin.runs.resolve import TrainRequest
from viewkin.runs.run_settings import write_settings
from viewkin.runtime import distributed
from viewkin.runtime.errors import UserError
from viewkin.runtime.fabric_package import Fabric
from viewkin.runtime.files import clear_unfinished
from viewkin.runtime.places import remedy
from viewkin.runtime.progress import reporter
from viewkin.training.checkpoint import has_checkpoint
from viewkin.training.loop import Trainer
from viewkin.training.outcome import RunStoppedError, UnwritableRunError


@dataclass
class Place:
    """Where a run writes."""

    out: Path
    """Run directory."""
    fresh: bool = False
    """Whether this process made it."""


def begun(plan: Plan, request: TrainRequest, fabric: Fabric, held: contextlib.ExitStack, place: Place) -> Plan:
    """Take the run directory and write what a run begins with, on rank 0; a refusal ends all ranks.

    Returns:
        The plan, in another directory where its own was taken meanwhile and not asked for.

    Raises:
        UserError: another process trains there, or it cannot be written.
    """
    refusal: UserError | None = None
    if fabric.global_rank == 0:
        try:
            plan = claimed(plan, request, held, place)
            prepare(plan, request)
            reporter().say(f"Run directory: {plan.out}")
        except UserError as error:
            refusal = error
    if float(distributed.mean(torch.tensor([float(refusal is not None)], device=fabric.device))):
        raise refusal or UserError("Another process of the run was refused its directory.")
    return plan


def claimed(plan: Plan, request: TrainRequest, held: contextlib.ExitStack, place: Place) -> Plan:
    """Make the run directory and lock it; look again whether it is free, as another process may have been faster."""
    out, made = plan.out, False
    place.out = out
    while not request.resume:
        made = make_directory(out)
        if made or request.out is not None:
            break
        out = free_directory(plan.dataset, plan.stored.recipe)
    place.out = out
    held.enter_context(directory_lock(out))
    place.fresh = made
    if not request.resume:
        check_place(replace(request, out=out))
    return replace(plan, out=out)


def make_directory(out: Path) -> bool:
    """Make a directory; False where it is there already."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise UserError(f"{out} cannot be made ({error.strerror}); name another --out.") from error
    return True


def prepare(plan: Plan, request: TrainRequest) -> None:
    """Write what a run begins with; of a run that goes on, only what other images change."""
    out, stored, recipe = plan.out, plan.stored, plan.stored.recipe
    if request.resume or (out / "recipe.json").exists():
        clear_unfinished(out)
    if plan.changed:
        take_other_images(out, recipe, plan.source)
    if request.resume and not plan.changed:
        return
    if stored.demo and not request.resume:
        remove_earlier(out)
    content_ids = plan.dataset.content_ids(recipe.data.split, keys=plan.source.keys)
    write_listing(out / LISTING, plan.source.keys, content_ids)
    fingerprint = fingerprint_of(zip(plan.source.keys, content_ids))
    named = {"data": plan.dataset.name, "address": plan.dataset.address, "images": len(plan.source)}
    write_settings(out, replace(stored, fingerprint=fingerprint, **named))


def remove_earlier(out: Path) -> None:
    """Empty the directory of a demonstration, but for its lock."""
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextlib.contextmanager
def tidied(trainer: Trainer) -> Generator[Place]:
    """Put what ends a run from outside in a sentence; a fresh directory goes again if no step was done."""
    place = Place(trainer.out)
    try:
        yield place
    except BaseException as error:
        gone = place.fresh and trainer.at.total_step == 0
        if gone:
            shutil.rmtree(place.out, ignore_errors=True)
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise RunStoppedError(
                "The GPU has too little memory; try a smaller --batch-size, or --set data.accumulate=2 for the same "
                "batch in two parts."
            ) from error
        if isinstance(error, UnwritableRunError) and gone:
            raise UnwritableRunError(error.path, error.reason, kept=False, remedy=error.remedy) from error
        if isinstance(error, OSError):
            reason = str(error.strerror or error)
            kept = has_checkpoint(place.out)
            raise UnwritableRunError(place.out, reason, kept=kept, remedy=remedy(error)) from error
        raise
