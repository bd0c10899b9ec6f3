"""Carry out a planned run: build, train, leave a complete run directory."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viewkin.augment.policies import Policy
from viewkin.memory.bank import BankStorage, FeatureBank, bank_storage
from viewkin.methods.base import Method
from viewkin.nets.backbone import TIMM, build_backbone
from viewkin.nets.backbone_file import describe_backbone, load_backbone, save_backbone
from viewkin.runs.directory_lock import refuse_if_locked
from viewkin.runs.models import START
from viewkin.runs.plan import Plan, planned
from viewkin.runs.reopen import reopened
from viewkin.runs.resolve import TrainRequest
from viewkin.runs.run_directory import begun, tidied
from viewkin.runs.starting_weights import averaged, load_start
from viewkin.runtime import distributed
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError, inside, require
from viewkin.runtime.processor import physical_memory
from viewkin.runtime.progress import reporter
from viewkin.runtime.provenance import device_name
from viewkin.training.config import Recipe, nested
from viewkin.training.fabric import accelerator_of, make_fabric, precision_of
from viewkin.training.loop import Trainer
from viewkin.training.outcome import Outcome


@dataclass(frozen=True)
class TrainedRun:
    """A run that has ended."""

    plan: Plan
    """What it was to be."""
    outcome: Outcome
    """What it came to."""
    leads: bool
    """Whether this process is the one that speaks and writes."""


def train_run(request: TrainRequest, held: contextlib.ExitStack | None = None) -> TrainedRun:
    """Train as asked and leave a complete run directory.

    Args:
        request: what to train; ``auto_resume`` has been settled.
        held: keeps the lock of the run directory; None: it goes when training is over.

    Raises:
        UserError: anything about the request, the data or the directory does not fit; nothing is written then.
        RunStoppedError: the run could not go on; its last checkpoint is kept.
    """
    with contextlib.ExitStack() as own:
        return _trained(request, own if held is None else held)


def _trained(request: TrainRequest, held: contextlib.ExitStack) -> TrainedRun:
    refuse_if_locked(request.out)
    plan = reopened(request) if request.resume else planned(request)
    recipe = plan.stored.recipe
    backbone = network(recipe)
    check_sizes(backbone, recipe)
    if not request.resume:
        load_start(recipe, backbone, plan.source)
    recipe.init.hold(backbone)
    fabric = make_fabric(recipe.runtime, backbone)
    method = built(recipe, backbone, len(plan.source))
    views = recipe.augment.chosen()
    trainer = Trainer(recipe, plan.source, method, views, fabric, plan.out, backbone_facts(recipe, views, method))
    if fabric.global_rank == 0:
        reporter().say(device_note(recipe, backbone, fabric.device))
    with tidied(trainer) as place:
        plan = begun(plan, request, fabric, held, place)
        trainer.out = trainer.state.out = plan.out
        if fabric.global_rank == 0 and recipe.init.source is not None and not request.resume:
            keep_backbone(plan.out / START, method.backbone, recipe, views)
        outcome = trainer.run(resume=request.resume)
    leads = fabric.global_rank == 0
    if leads:
        keep_end(plan.out, method, recipe, views)
    distributed.barrier()
    if fabric.world_size > 1:
        torch.distributed.destroy_process_group()  # NCCL complains where that is left to the interpreter
    return TrainedRun(plan, outcome, leads)


def network(recipe: Recipe) -> nn.Module:
    """Build the backbone with its first weights.

    Raises:
        UserError: it is larger than the memory.
    """
    if not recipe.backbone.name.startswith(TIMM) and weight_bytes(recipe) > physical_memory() / 2:
        raise UserError(
            f"{recipe.backbone.name} of backbone.width {recipe.backbone.width} has more weights than this machine's "
            "memory holds; lower backbone.width."
        )
    torch.manual_seed(seed_for(recipe.seed, "init"))
    return build_backbone(recipe.backbone)


def weight_bytes(recipe: Recipe) -> float:
    """Bytes of the backbone's weights, counted without memory for them."""
    try:
        with torch.device("meta"):
            return 4.0 * sum(parameter.numel() for parameter in build_backbone(recipe.backbone).parameters())
    except RuntimeError:  # a tensor of more bytes than fit into 64 bits
        return math.inf


def built(recipe: Recipe, backbone: nn.Module, count: int) -> Method:
    """Build the method, its banks kept as the runtime settings say.

    Raises:
        UserError: these do not fit the device, the folder or the method.
    """
    dtype, folder = recipe.runtime.bank_dtype, recipe.runtime.bank_folder
    if folder is not None and accelerator_of(recipe.runtime) != "cpu":
        raise UserError("runtime.bank_folder keeps banks where only the CPU reads them; set runtime.accelerator=cpu.")
    try:
        storage = BankStorage(dtype=getattr(torch, dtype), folder=None if folder is None else Path(folder))
        with bank_storage(storage), inside("method"):
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


def check_sizes(backbone: nn.Module, recipe: Recipe) -> None:
    """Let the network see one image of each size, so that one it does not take is found before anything is written.

    Raises:
        UserError: it does not take them.
    """
    require(
        recipe.backbone.channels == 3, "backbone.channels", recipe.backbone.channels, "3, as images are opened in RGB"
    )
    backbone.eval()
    asked = [side for _, method in nested(recipe.method) for side in method.sizes().values()]
    for side in {recipe.augment.side, recipe.augment.image_size, *asked}:
        try:
            with torch.no_grad():
                backbone(torch.zeros(1, recipe.backbone.channels, side, side))
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise UserError(
                f"{recipe.backbone.name} does not take images of {side} px ({reason}); choose another --image-size."
            ) from error
    backbone.train()


def device_note(recipe: Recipe, backbone: nn.Module, device: torch.device) -> str:
    """Say what the run computes on."""
    precision = precision_of(recipe.runtime, backbone, accelerator_of(recipe.runtime))
    world = distributed.world()
    return f"Device: {device_name(device)}, {precision}{f', {world} processes' if world > 1 else ''}."


def origin(recipe: Recipe) -> dict[str, Any]:
    """What a stored backbone says of its training beside what using it needs."""
    views = recipe.augment
    known = {"recipe": recipe.name, "policy": views.policy, "least_area": views.least_area}
    more = {"value_range": recipe.data.value_range, "squash": views.squash if views.squash else None}
    return known | {name: value for name, value in more.items() if value is not None}


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


def keep_end(out: Path, method: Method, recipe: Recipe, views: Policy) -> None:
    """Write ``backbone.safetensors``: the weights at the end, averaged with those of the start where that is set."""
    kept = method.backbone
    if recipe.init.average:
        start = load_backbone(out / START).state_dict()
        kept = build_backbone(recipe.backbone)
        kept.load_state_dict(averaged(start, method.backbone.state_dict(), recipe.init.average))
    keep_backbone(out / "backbone.safetensors", kept, recipe, views)


def keep_backbone(path: Path, backbone: nn.Module, recipe: Recipe, views: Policy) -> None:
    """Write a backbone with what using it needs."""
    save_backbone(
        path,
        backbone,
        recipe.backbone,
        mean=views.mean,
        std=views.std,
        size=recipe.augment.image_size,
        extra=origin(recipe),
    )
