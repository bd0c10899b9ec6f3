"""Write a network for other libraries, load it again there, and say how near its features are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from viewkin.commands.export_pictures import pictures_for
from viewkin.commands.model_facts import measured_of, record_of, starts_of, training_of
from viewkin.data.dataset import Images
from viewkin.encode.model import Model, model_of
from viewkin.encode.onnx_network import OnnxEncoder
from viewkin.export.model_card import FILE as CARD
from viewkin.export.model_card import MARK, UNKNOWN, Card, card_text
from viewkin.export.target import Comparison, Pictures, Target
from viewkin.export.targets import target_named
from viewkin.export.usual_view import usual_view
from viewkin.nets.backbone_place import exists
from viewkin.runs.models import open_model
from viewkin.runs.record import RunRecord
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.files import replacing_folder
from viewkin.runtime.places import remedy, why_not
from viewkin.runtime.progress import reporter
from viewkin.runtime.version import VERSION


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export, and where to."""

    model: str
    """Run directory, backbone file, checkpoint, or name of weights."""
    to: str
    """Name of the target."""
    out: Path | None = None
    """Folder to write; None: ``export-TARGET`` beside the model, or in the run directory."""
    overwrite: bool = False
    """Replace an earlier export there."""
    licence: str | None = None
    """Licence to write into the model card."""
    images: Images | None = None
    """Images to compare on; None: some that the run was trained on, or rendered ones."""


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    """The folder."""
    file: Path
    """The file of weights in it."""
    card: Path
    """The model card in it."""
    comparison: Comparison | None
    """How near its features are to the network's own; None: it could not be loaded here."""
    notes: tuple[str, ...] = ()
    """Plain sentences on what was found."""


def export(request: ExportRequest) -> Export:
    """Export a model.

    Raises:
        UserError: an unknown target, a network that it has no place for, a missing package, or a place that cannot be
            written.
    """
    target = target_named(request.to)
    check_licence(request.licence)
    out = request.out or default_out(request.model, target.name)
    check_out(out, target, overwrite=request.overwrite)
    model = open_model(request.model, "backbone", torch.device("cpu"))
    if isinstance(model.encoder, OnnxEncoder):
        raise UserError(f"{request.model} is an export already: name the run or the weights that it was made from.")
    return export_model(model, target, out, request, record_of(request.model))


def export_network(network: Any, request: ExportRequest) -> Export:
    """Export a network that is in memory; it has the attributes of a loaded backbone.

    Raises:
        UserError: as :func:`export`; or no ``out``.
    """
    target = target_named(request.to)
    check_licence(request.licence)
    assert request.out is not None
    check_out(request.out, target, overwrite=request.overwrite)
    return export_model(model_of(network), target, request.out, request, None)


def export_model(model: Model, target: Target, out: Path, request: ExportRequest, record: RunRecord | None) -> Export:
    """Write an export and its card into a folder, whole or not at all."""
    target.check(model)
    arrays, named = pictures_for(request.images, record, model)
    pictures = Pictures(model, arrays)
    try:
        with replacing_folder(out) as unfinished:
            reporter().say(f"Writing the network to {target.name} ...")
            target.write(unfinished, model, pictures)
            comparison = None
            if target.loads_here:
                reporter().say(f"Loading it again and comparing its features on {len(arrays)} images ...")
                comparison = target.compare(unfinished, model, pictures)
            missing = f"{target.loads_with} is not installed here; {target.install}, and export again to verify it."
            card = Card(
                title=title_of(request, out),
                target=target.name,
                licence=request.licence or UNKNOWN,
                **network_facts(model),
                trained=None if record is None else training_of(record),
                starts=starts_of(request.model, record),
                measured=measured_of(request.model, record),
                compared=comparison,
                compared_on=named if comparison is not None else missing,
                loading=target.loading(model, pictures),
                preprocessing=target.preprocessing.format(view=usual_view(model, small=pictures.small).sentence()),
                version=VERSION,
            )
            (unfinished / CARD).write_text(card_text(card), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out} cannot be written ({why_not(error)}): {remedy(error)}.") from error
    said = f"Not verified: {missing}" if comparison is None else f"{comparison.sentence()} The images: {named}."
    return Export(out, out / target.file, out / CARD, comparison, (said,))


def network_facts(model: Model) -> dict[str, Any]:
    """Describe a network for its card."""
    network: Any = model.encoder
    weights = sum(parameter.numel() for parameter in network.parameters())
    return {
        "network": f"The backbone {network.config.name} with {weights:,} weights",
        "feature_dim": network.feature_dim,
        "image_size": model.image_size,
    }


def title_of(request: ExportRequest, out: Path) -> str:
    """Name a model by its run or its weights, without the folders that it lies in."""
    return (Path(request.model).name if exists(request.model) else request.model) or out.resolve().name


def default_out(model: str, target: str) -> Path:
    """Choose the folder of an export: in the run directory, beside a file, or in the working directory."""
    place = Path(model)
    if not exists(model):  # a name, such as timm/NAME
        return Path(f"{re.sub(r'[^A-Za-z0-9._-]+', '-', model)}-export-{target}")
    return place / f"export-{target}" if place.is_dir() else place.with_name(f"{place.stem}-export-{target}")


def check_out(out: Path, target: Target, *, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, or that holds anything but an earlier export, before any work is done.

    Raises:
        UserError: it is refused.
    """
    if out.suffix == Path(target.file).suffix:
        raise UserError(f"--out {out} is a folder that will hold {target.file} and {CARD}: name it {out.stem}, say.")
    if out.exists() or out.is_symlink():
        if not is_export(out):
            raise UserError(f"--out {out} exists and is no export: name another folder.")
        if not overwrite:
            raise UserError(f"--out {out} exists; add --overwrite to replace the export, or name another folder.")
    parent = out.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"--out {out} must be a new folder in one that exists and may be written.")


def is_export(folder: Path) -> bool:
    """Tell whether a folder holds an export: its model card says so."""
    try:
        return folder.is_dir() and not folder.is_symlink() and MARK in (folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def check_licence(licence: str | None) -> None:
    """Refuse a licence that would break the first lines of a model card.

    Raises:
        UserError: it has other characters than the names of licences have.
    """
    plain = licence is None or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence) is not None
    require(plain, "--license", licence, "a licence's short name, such as mit, apache-2.0 or cc-by-4.0")
