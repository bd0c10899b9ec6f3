"""Trained models and what to compare them with, as encoders that know how they want to see images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from viewkin.data.source import Source
from viewkin.encode.model import Model, model_of
from viewkin.encode.onnx_file import onnx_file_of, read_onnx
from viewkin.nets.backbone import build_backbone
from viewkin.nets.backbone_file import DamagedBackboneError, load_backbone
from viewkin.nets.pretrained import read_pretrained
from viewkin.runs.run_settings import read_run_settings, rebuilt
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import reporter
from viewkin.training.checkpoint import LAST, PREVIOUS, is_of, load_method, load_newest

START = "start.safetensors"
"""File of a run directory with the backbone that training started from."""


def open_model(path: str, features: str, device: torch.device) -> Model:
    """Open a run directory, backbone file, checkpoint or ONNX file of :mod:`viewkin.export.onnx`.

    Args:
        path: where it is.
        features: ``backbone`` (pooled features) or ``embedding`` (with the run's head, unit norm).
        device: where to put it.

    Raises:
        UserError: it is missing, damaged or another run's, or an embedding is asked of a file without a head.
    """
    if features not in ("backbone", "embedding"):
        raise UserError(f"--features is {features!r}; it must be backbone or embedding.")
    run = Path(path)
    onnx_file = onnx_file_of(run)
    if features == "backbone" and onnx_file is not None:
        return read_onnx(onnx_file)
    if features == "backbone":
        return model_of(backbone_of(run).to(device))
    if not run.is_dir() or onnx_file is not None:
        raise UserError(f"{path} is no run directory, so it has no head; use --features backbone.")
    recipe = read_run_settings(run).recipe
    checkpoint, state, note = load_newest(run)
    if note:
        reporter().say(note)
    try:
        method = rebuilt(recipe, int(dict(state["images"])["count"]))
        load_method(checkpoint, state, method)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{checkpoint} lacks a part, or has it in another form: start the run anew.") from error
    method.to(device).eval()
    views, name = recipe.augment, f"embedding, {method.dim}-d"
    memory = partial(bank_rows, method, state["images"]) if method.bank is not None else None
    return Model(name, method.embed, views.image_size, views.chosen(), memory, recipe.data.value_range)


def backbone_of(run: Path) -> Any:
    """Load the backbone of a run directory, a file or a checkpoint.

    A run that was killed has a checkpoint and no backbone file yet. What is damaged in a run directory is said, and the
    next that has the weights is taken: ``last.ckpt``, then the checkpoint before it.

    Raises:
        UserError: nothing there can be used.
    """
    names = ("backbone.safetensors", LAST, PREVIOUS) if run.is_dir() else ()
    if not names:
        return read_pretrained(str(run)).network()
    files = [run / name for name in names if (run / name).is_file()]
    for file, following in pairwise(files):
        try:
            return load_backbone(file)
        except DamagedBackboneError:
            reporter().say(f"{file} is damaged, so the weights are taken from {following}.")
    return load_backbone(files[-1] if files else run)


def bank_rows(method: Any, images: Mapping[str, Any], source: Source) -> Tensor:
    """Give a bank's rows (N, D) float32, in the order of a run's training images.

    Raises:
        UserError: these are others.
    """
    if not is_of(images, source):
        raise UserError(
            f"reference=bank needs the {images['count']:,} images that the run was trained on, all of them; "
            f"these are {len(source):,} of {source.name}."
        )
    return method.bank.everything().detach().float().cpu()


def baselines(path: str) -> list[Model]:
    """Raw pixels, the untrained network of a model and the weights that its run started from, to compare it with."""
    trained = open_model(path, "backbone", torch.device("cpu"))
    backbone: Any = trained.encoder
    torch.manual_seed(seed_for(0, "init"))
    untrained = build_backbone(backbone.config)
    size = trained.image_size
    others = [
        Model("raw pixels", lambda x: x.flatten(1), min(size, 32), trained.policy, value_range=trained.value_range),
        Model(f"untrained, {backbone.feature_dim}-d", untrained, size, trained.policy, value_range=trained.value_range),
    ]
    start = Path(path) / START
    if start.is_file():
        others.append(replace(model_of(load_backbone(start)), name=f"start, {backbone.feature_dim}-d"))
    return others


def device_named(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Raises:
        UserError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"--device is {name!r}; on this machine it must be auto or cpu.")
    return torch.device(name)
