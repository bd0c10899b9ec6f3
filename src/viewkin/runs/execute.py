"""A training run from a request to a finished run directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from viewkin.augment.policies import Policy
from viewkin.cli.output import say
from viewkin.data.dataset import generated_config, is_generated, survey
from viewkin.data.source import Source
from viewkin.memory.bank import FeatureBank, Storage, banks_kept
from viewkin.methods.base import Method
from viewkin.nets.backbone import build_backbone
from viewkin.nets.backbone_file import describe_backbone, save_backbone
from viewkin.runs.images import opened
from viewkin.runs.resolve import Resolved, TrainRequest, fit_to_data, resolve
from viewkin.runs.run_settings import RunSettings, read_run_settings, write_settings
from viewkin.runtime import distributed
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.files import clear_unfinished
from viewkin.runtime.provenance import device_name
from viewkin.runtime.wording import counted
from viewkin.settings import with_text
from viewkin.training.config import Recipe
from viewkin.training.fabric import accelerator_of, make_fabric, precision_of
from viewkin.training.loop import Trainer
from viewkin.training.outcome import Outcome, RunStoppedError

LEFT = ("last.ckpt", "best.ckpt", "backbone.safetensors", "metrics.jsonl", "report.html")
"""Files that only a run that began leaves."""


@dataclass(frozen=True)
class Plan:
    """A run that can start."""

    out: Path
    """Run directory."""
    stored: RunSettings
    """What ``recipe.json`` says, or will say."""
    source: Source
    """The images to train on."""
    notes: tuple[str, ...]
    """Sentences to print before."""


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    plan: Plan
    """What it was to be."""
    outcome: Outcome
    """What it came to."""
    leads: bool
    """Whether this process is the one that speaks and writes."""


def train(request: TrainRequest, console: Console) -> Run:
    """Train as asked and leave a complete run directory.

    Raises:
        UserError: anything about the request, the data or the directory does not fit; nothing is written then.
        RunStoppedError: the run could not go on; its last checkpoint is kept.
    """
    plan = reopened(request) if request.resume else planned(request)
    recipe, out = plan.stored.recipe, plan.out
    torch.manual_seed(seed_for(recipe.seed, "init"))
    backbone = build_backbone(recipe.backbone)
    check_sizes(backbone, recipe)
    fabric = make_fabric(recipe.runtime, backbone)
    method = built(recipe, backbone, len(plan.source))
    views = recipe.augment.chosen()
    trainer = Trainer(recipe, plan.source, method, views, fabric, out, backbone_facts(recipe, views, method), console)
    leads, fresh = fabric.global_rank == 0, False
    if leads:
        say(console, *plan.notes, device_note(recipe, backbone, fabric.device), f"Run directory: {out}")
        if plan.stored.demo and out.exists() and not request.resume:
            shutil.rmtree(out)
        fresh = not out.exists()
        if not request.resume:
            write_settings(out, plan.stored)
        else:
            clear_unfinished(out)
    distributed.barrier()
    with tidied(out, trainer, fresh):
        outcome = trainer.run(resume=request.resume)
    if leads:
        keep_backbone(out, method, recipe, views)
    distributed.barrier()
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()  # NCCL complains where that is left to the interpreter
    return Run(plan, outcome, leads)


def built(recipe: Recipe, backbone: nn.Module, count: int) -> Method:
    """Build the method, its banks kept as the runtime settings say.

    Raises:
        UserError: these do not fit the device, the folder or the method.
    """
    dtype, folder = recipe.runtime.bank_dtype, recipe.runtime.bank_folder
    if folder is not None and accelerator_of(recipe.runtime) != "cpu":
        raise UserError("runtime.bank_folder keeps banks where only the CPU reads them; set runtime.accelerator=cpu.")
    try:
        with banks_kept(Storage(dtype=getattr(torch, dtype), folder=None if folder is None else Path(folder))):
            method = recipe.method.build(backbone, count=count)
    except OSError as error:
        raise UserError(f"runtime.bank_folder {folder} cannot hold a bank ({error.strerror}).") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise UserError(
            f"{recipe.method.kind} needs more memory than there is; lower its sizes under method."
        ) from error
    asked = "bank_folder" if folder is not None else "bank_dtype" if dtype != "float32" else None
    if asked and not any(isinstance(module, FeatureBank) for module in method.modules()):
        raise UserError(f"runtime.{asked} means nothing to {recipe.method.kind}, which keeps no bank; leave it out.")
    return method


@contextlib.contextmanager
def tidied(out: Path, trainer: Trainer, fresh: bool) -> Generator[None]:
    """Put what ends a run from outside in a sentence; a fresh directory goes again if no step was done."""
    try:
        yield
    except BaseException as error:
        if fresh and trainer.at.total_step == 0:
            shutil.rmtree(out, ignore_errors=True)
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise RunStoppedError(
                "The GPU has too little memory; try a smaller --batch-size, or --set data.accumulate=2 for the same "
                "batch in two parts."
            ) from error
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise RunStoppedError(
                f"{out} cannot be written ({reason}); make room, then go on with --resume."
            ) from error
        raise


def planned(request: TrainRequest) -> Plan:
    """Plan a new run.

    Raises:
        UserError: the request, the images and the place do not go together.
    """
    check_place(request)
    found = survey(request.data)
    resolved = resolve(request, found)
    source = opened(request.data, resolved.recipe, found, smoke=resolved.smoke)
    resolved = fit_to_data(resolved, len(source))
    recipe, smoke = resolved.recipe, resolved.smoke
    stored = RunSettings(data=request.data, images=len(source), recipe=recipe, smoke=smoke, demo=request.demo)
    out = request.out or free_directory(request.data, recipe)
    return Plan(out, stored, source, (*announced(request, resolved, source), *source.notes))


def reopened(request: TrainRequest) -> Plan:
    """Take up a stored run: its recipe decides; only ``runtime`` settings may change.

    Raises:
        UserError: no ``--out``, no run there, other images, or a setting that would change the result.
    """
    if request.out is None:
        raise UserError("--resume needs --out DIR, the directory of the run to go on with.")
    stored = read_run_settings(request.out)
    flags = ("recipe", "method", "epochs", "batch_size", "backbone", "image_size", "seed")
    fixed = [f"--{name.replace('_', '-')}" for name in flags if getattr(request, name) is not None]
    fixed += ["--smoke"] * (request.smoke and not stored.smoke)
    fixed += [f"--set {setting}" for setting in request.settings if not setting.strip().startswith("runtime.")]
    if fixed:
        raise UserError(f"{fixed[0]} would change the run that is resumed; leave it out, or start a new run.")
    if is_generated(request.data) and is_generated(stored.data):
        wanted, before = (generated_config(data, None) for data in (request.data, stored.data))
        if wanted != before:  # their images have the same names
            raise UserError(f"The run was trained on {stored.data}, not {request.data}; name the same images.")
    for setting in request.settings:
        stored = replace(stored, recipe=with_text(stored.recipe, setting))
    source = opened(request.data, stored.recipe, survey(request.data), smoke=stored.smoke)
    if len(source) != stored.images:
        raise UserError(
            f"The run was trained on {stored.images:,} images, not on the {len(source):,} of {request.data}; name the "
            "same images."
        )
    return Plan(request.out, stored, source, (f"Going on with {stored.recipe.name} in {request.out}.",))


def check_place(request: TrainRequest) -> None:
    """Refuse a run directory that is taken or cannot be made, before anything is read.

    Raises:
        UserError: it is.
    """
    out = request.out or Path("runs")
    if request.out is not None and out.is_dir():
        if request.demo and any(out.iterdir()) and not ((out / "recipe.json").exists() and read_run_settings(out).demo):
            raise UserError(f"{out} exists and is no demo's directory; name another --out.")
        if not request.demo and any((out / name).exists() for name in LEFT):
            resume = "add --resume to go on with it, or " if (out / "last.ckpt").exists() else ""
            raise UserError(f"{out} already holds a run; {resume}choose another --out.")
        if Path(request.data).exists() and out.samefile(request.data):
            raise UserError(f"--out {out} is the folder of the images; name another one.")
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "no folder" if not place.is_dir() else "not yours to write"
        raise UserError(f"{out} cannot be made, because {place} is {why}; name another --out.")


def check_sizes(backbone: nn.Module, recipe: Recipe) -> None:
    """Let the network see one image of each size, so that one it does not take is found before anything is written.

    Raises:
        UserError: it does not take them.
    """
    require(
        recipe.backbone.channels == 3, "backbone.channels", recipe.backbone.channels, "3, as images are opened in RGB"
    )
    backbone.eval()
    for side in {recipe.augment.side, recipe.augment.image_size}:
        try:
            with torch.no_grad():
                backbone(torch.zeros(1, recipe.backbone.channels, side, side))
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise UserError(
                f"{recipe.backbone.name} does not take images of {side} px ({reason}); choose another --image-size."
            ) from error
    backbone.train()


def announced(request: TrainRequest, resolved: Resolved, source: Source) -> list[str]:
    """Sentences that say what will happen."""
    recipe = resolved.recipe
    chosen = "" if request.recipe else " (the default; see 'viewkin recipes')"
    steps = len(source) // recipe.data.batch_size
    return [
        f"Recipe {recipe.name}{chosen}: {recipe.about}.",
        *resolved.notes,
        f"Training {recipe.backbone.name} for {counted(recipe.schedule.epochs, 'epoch')} of {counted(steps, 'step')} "
        f"on {len(source):,} images of {source.name}, views of {recipe.augment.side} px, "
        f"batches of {recipe.data.batch_size}.",
    ]


def device_note(recipe: Recipe, backbone: nn.Module, device: torch.device) -> str:
    """Say what the run computes on."""
    precision = precision_of(recipe.runtime, backbone, accelerator_of(recipe.runtime))
    world = distributed.world()
    return f"Device: {device_name(device)}, {precision}{f', {world} processes' if world > 1 else ''}."


def free_directory(data: str, recipe: Recipe) -> Path:
    """Choose ``runs/<recipe>-<data>``, with a number behind it when that is taken."""
    stem = "generated" if is_generated(data) else Path(data).resolve().name or "images"
    base = Path("runs") / f"{recipe.name}-{stem}"
    numbers = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(path for path in numbers if not path.exists())


def origin(recipe: Recipe) -> dict[str, Any]:
    """What a stored backbone says of its training beside what using it needs."""
    views = recipe.augment
    return {"recipe": recipe.name, "policy": views.policy, "least_area": views.least_area}


def backbone_facts(recipe: Recipe, views: Policy, method: Method) -> dict[str, Any]:
    """What ``load_backbone`` needs to know of a checkpoint."""
    text = describe_backbone(
        recipe.backbone,
        mean=views.mean,
        std=views.std,
        size=recipe.augment.image_size,
        extra=origin(recipe),
        prefix=next(name for name, module in method.named_modules() if module is method.backbone) + ".",
    )
    return json.loads(text)


def keep_backbone(out: Path, method: Method, recipe: Recipe, views: Policy) -> None:
    """Write ``backbone.safetensors``."""
    save_backbone(
        out / "backbone.safetensors",
        method.backbone,
        recipe.backbone,
        mean=views.mean,
        std=views.std,
        size=recipe.augment.image_size,
        extra=origin(recipe),
    )
