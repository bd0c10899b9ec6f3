"""A training run from a request to a finished run directory."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import viewkin
from viewkin import config, distributed
from viewkin.augment.policies import Policy
from viewkin.data.opening import open_source, survey
from viewkin.data.source import Source
from viewkin.draws import seed_for
from viewkin.errors import UserError
from viewkin.evaluate.results import revision
from viewkin.methods.base import Method
from viewkin.nets.backbone import build_backbone
from viewkin.nets.stored import describe_backbone, save_backbone
from viewkin.recipes.catalogue import KINDS
from viewkin.recipes.resolve import SMOKE_IMAGES, Resolved, TrainRequest, fit_to_data, resolve
from viewkin.train.config import Recipe
from viewkin.train.fabric import make_fabric
from viewkin.train.loop import Outcome, Trainer

ENCODER = "encoder.backbone."
"""Where a method's state holds the backbone."""


def train(request: TrainRequest, console: Console) -> tuple[Path, Outcome]:
    """Train as asked and leave a complete run directory.

    Returns:
        The run directory, and how training ended.

    Raises:
        UserError: anything about the request, the data or the directory does not fit; nothing is written then.
    """
    if request.resume:
        out, recipe, source, notes = reopened(request)
    else:
        resolved = resolve(request, survey(request.data))
        source = opened(request.data, resolved.recipe, request.smoke)
        resolved = fit_to_data(resolved, len(source))
        recipe, notes = resolved.recipe, [*announced(request, resolved, source), *source.notes]
        out = request.out or free_directory(request, recipe)
        if (out / "recipe.json").exists():
            raise UserError(f"{out} already holds a run; add --resume to go on with it, or choose another --out.")
    torch.manual_seed(seed_for(recipe.seed, "init"))
    backbone = build_backbone(recipe.backbone)
    fabric = make_fabric(recipe.runtime, backbone)
    method = recipe.method.build(backbone, count=len(source))
    views = recipe.augment.chosen()
    trainer = Trainer(recipe, source, method, views, fabric, out, backbone_facts(recipe, views), console)
    if fabric.global_rank == 0:
        for note in [*notes, f"Run directory: {out}"]:
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        if not request.resume:
            write_settings(out, request, recipe)
    distributed.barrier()
    outcome = trainer.run(resume=request.resume)
    if fabric.global_rank == 0:
        keep_backbone(out, method, recipe, views)
    distributed.barrier()
    return out, outcome


def opened(data: str, recipe: Recipe, smoke: bool) -> Source:
    """Open the images to train on; rank 0 first, so that the others find its cache."""
    size = recipe.data.stored_size or stored_size(data, recipe.augment.image_size)
    source = open_source(data, size=size, workers=recipe.runtime.workers)
    if smoke:
        source = source.subset(torch.arange(min(len(source), SMOKE_IMAGES)))
    return source


def stored_size(data: str, image_size: int) -> int | None:
    """Side at which photographs are kept: a margin of 256/224 around the view; their own side when that is smaller."""
    found = survey(data)
    wanted = round(image_size * 256 / 224)
    return None if found.uniform and found.shorter_side <= wanted else wanted


def announced(request: TrainRequest, resolved: Resolved, source: Source) -> list[str]:
    """Sentences that say what will happen."""
    recipe = resolved.recipe
    chosen = "" if request.recipe else " (the default: --recipe, see 'viewkin recipes')"
    return [
        f"Recipe {recipe.name}{chosen}: {recipe.about}.",
        *resolved.notes,
        f"Training {recipe.backbone.name} for {recipe.schedule.epochs} epochs on {len(source):,} images "
        f"of {source.name}, views of {recipe.augment.image_size} px, batches of {recipe.data.batch_size}.",
    ]


def free_directory(request: TrainRequest, recipe: Recipe) -> Path:
    """Choose ``runs/<recipe>-<data>``, with a number behind it when that is taken."""
    stem = Path(request.data.split(":")[0]).resolve().name if request.data != "generated" else "generated"
    base = Path("runs") / f"{recipe.name}-{stem}"
    numbers = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(path for path in numbers if not path.exists())


def backbone_facts(recipe: Recipe, views: Policy) -> dict[str, Any]:
    """What ``load_backbone`` needs to know of a checkpoint."""
    text = describe_backbone(
        recipe.backbone,
        mean=views.mean,
        std=views.std,
        size=recipe.augment.image_size,
        extra={"recipe": recipe.name, "policy": recipe.augment.policy},
        prefix=ENCODER,
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
        extra={"recipe": recipe.name, "policy": recipe.augment.policy},
    )


def write_settings(out: Path, request: TrainRequest, recipe: Recipe) -> None:
    """Write ``recipe.json`` (re-runnable) and ``versions.json``."""
    out.mkdir(parents=True, exist_ok=True)
    stored = {"data": request.data, "smoke": request.smoke, "recipe": config.to_dict(recipe)}
    for name, content in (("versions.json", versions()), ("recipe.json", stored)):
        partial = out / f"{name}.partial"
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(out / name)


def stored_run(out: Path) -> tuple[dict[str, Any], Recipe]:
    """Read a run directory's ``recipe.json``.

    Raises:
        UserError: it holds no run, or one of another version.
    """
    path = out / "recipe.json"
    if not path.is_file():
        raise UserError(f"{out} holds no run (no recipe.json); give the directory that 'viewkin train' printed.")
    try:
        stored: dict[str, Any] = json.loads(path.read_text())
        return stored, config.from_dict(Recipe, stored["recipe"], KINDS)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; restore it from a copy or start a new run.") from error


def reopened(request: TrainRequest) -> tuple[Path, Recipe, Source, list[str]]:
    """Take up a stored run: its recipe decides; only ``runtime`` settings may change.

    Raises:
        UserError: no ``--out``, no run there, or a setting that would change the result.
    """
    if request.out is None:
        raise UserError("--resume needs --out RUN, the directory of the run to go on with.")
    stored, recipe = stored_run(request.out)
    flags = ("recipe", "epochs", "batch_size", "backbone", "image_size", "seed")
    fixed = [f"--{name.replace('_', '-')}" for name in flags if getattr(request, name) is not None]
    fixed += [setting for setting in request.settings if not setting.startswith("runtime.")]
    if fixed:
        raise UserError(f"{fixed[0]} would change the run that is resumed; leave it away, or start a new run.")
    for setting in request.settings:
        recipe = config.with_text(recipe, setting)
    source = opened(request.data, recipe, bool(stored["smoke"]))
    return request.out, recipe, source, [f"Resuming {recipe.name}."]


def rebuilt(out: Path, count: int) -> tuple[Recipe, Method]:
    """Build the method of a run directory for ``count`` images, untrained."""
    _, recipe = stored_run(out)
    torch.manual_seed(seed_for(recipe.seed, "init"))
    return recipe, recipe.method.build(build_backbone(replace(recipe.backbone, pretrained=False)), count=count)


def versions() -> dict[str, str]:
    """What produced a result: versions, commit, processor, device."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or platform.machine())
    return {
        "viewkin": viewkin.__version__,
        "commit": revision() or "",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
        "command": " ".join(["viewkin", *sys.argv[1:]]),
    }
