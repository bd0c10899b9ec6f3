"""What figures look at: models, images and their features; and where a figure goes when it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from viewkin.data.dataset import Dataset, Images
from viewkin.data.source import Source
from viewkin.encode.model import Model, stored_size
from viewkin.figures.evidence import PartAssignments, RelatedImages
from viewkin.figures.report import add_figure
from viewkin.figures.style import check_drawable, check_suffix, write_figure
from viewkin.runs.images import few, open_training_images
from viewkin.runs.models import baselines, device_named, open_model
from viewkin.runs.run_settings import read_run_settings
from viewkin.runtime.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = "pixels"
"""Stands for raw pixels in the place of a model."""


@dataclass(frozen=True, kw_only=True)
class FigureRequest:
    """Which models look at which images."""

    models: tuple[str, ...]
    """Run directories, backbone files, checkpoints, or ``pixels``."""
    data: Images | None = None
    """Images; None: those of the first model's run."""
    splits: tuple[str, ...] = ()
    """Splits; none: test where there is one, else train."""
    features: str = "backbone"
    """``backbone`` or ``embedding``."""
    untrained: bool = False
    """Put the first model's untrained network before it."""
    most: int = 2000
    """Images at most."""
    device: str = "auto"
    """Device."""


class FigureInputs:
    """Models and images, opened."""

    def __init__(self, request: FigureRequest) -> None:
        """Open the models and the images.

        Raises:
            UserError: a model, set or split that is not there.
        """
        if request.most < 2:
            raise UserError(f"--most is {request.most}; it must be at least 2 images.")
        self.device = device_named(request.device)
        self.models = opened_models(request, self.device)
        dataset = Dataset.of(data_of(request.models) if request.data is None else request.data)
        splits = request.splits or (("test",) if "test" in dataset.splits else ("train",))
        for split in splits:
            if split not in dataset.splits:
                raise UserError(f"{dataset.name} has no {split} split; it has {', '.join(dataset.splits)}.")
        size = stored_size(dataset.survey(splits[0]), max(model.image_size for _, model in self.models))
        share = max(request.most // len(splits), 2)
        squash = any(model.policy.squash for _, model in self.models)
        value_range = next((model.value_range for _, model in self.models if model.value_range), None)
        opened = [dataset.source(split, size=size, squash=squash, value_range=value_range) for split in splits]
        self.sources = [few(source, share) for source in opened]
        self.splits = [split for split, source in zip(splits, self.sources) for _ in range(len(source))]
        self.place = dataset.name

    @property
    def keys(self) -> list[str]:
        """Path or row id of every image."""
        return [key for source in self.sources for key in source.keys]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.sources[0].classes

    @cached_property
    def labels(self) -> Tensor | None:
        """(N,) int64, -1 where there is none; None when no image has one."""
        if all(source.labels is None for source in self.sources):
            return None
        none = [torch.full((len(source),), -1) if source.labels is None else source.labels for source in self.sources]
        return torch.cat(none)

    @property
    def about(self) -> str:
        """What is looked at, in words."""
        return f"{len(self.keys):,} images of {self.place}, {' and '.join(dict.fromkeys(self.splits))}"

    def rows(self, model: Model) -> Tensor:
        """Unit features of every image: (N, D)."""
        parts = [model.features(source, self.device) for source in self.sources]
        return nn.functional.normalize(torch.cat(parts), dim=1)

    def images(self, index: Tensor) -> list[Tensor]:
        """Pixels at positions (n,): (3, S, S) uint8 each."""
        pixels: list[Tensor] = []
        for i in index.tolist():
            for source in self.sources:
                if i < len(source):
                    pixels.append(source.images(torch.tensor([i]))[0])
                    break
                i -= len(source)
        return pixels


def opened_models(request: FigureRequest, device: torch.device) -> list[tuple[str, Model]]:
    """Open models, each with the title that a figure gives it."""
    trained = [name for name in request.models if name != PIXELS]
    if not trained:
        raise UserError("A figure needs a trained model; name a run directory or a backbone file.")
    titled_models: list[tuple[str, Model]] = []
    for name in request.models:
        if name == PIXELS:
            titled_models.append(("raw pixels", baselines(trained[0])[0]))
            continue
        if request.untrained and name == trained[0]:
            titled_models.append(("untrained", baselines(name)[1]))
        titled_models.append((Path(name).resolve().name, open_model(name, request.features, device)))
    return titled_models


def data_of(models: tuple[str, ...]) -> Dataset:
    """Images that the first of some models that is a run was trained on.

    Raises:
        UserError: none is a run.
    """
    for name in models:
        if (Path(name) / "recipe.json").is_file():
            return read_run_settings(Path(name)).images_from()
    raise UserError("None of the models is a run directory, so nothing says which images; name them with --data.")


def training_images(run: str, evidence: Iterable[RelatedImages | PartAssignments]) -> Source:
    """The images of a run as they were numbered when it was trained.

    Args:
        run: run directory.
        evidence: what the run left of them.

    Raises:
        UserError: no run, or the images are others now.
    """
    stored = read_run_settings(Path(run))
    source = open_training_images(stored.images_from(), stored.recipe, smoke=stored.smoke)
    if len(source) != stored.images:
        raise UserError(f"{run} was trained on {stored.images:,} images, but {stored.data} has {len(source):,} now.")
    if any(source.keys[one.anchor] != one.path for one in evidence):
        raise UserError(f"{run} was trained on other images than {stored.data} has now.")
    return source


def folder_of(name: str) -> str:
    """Folder that an image lies in."""
    return PurePosixPath(name).parent.name or "."


def class_names(labels: Tensor | None, classes: tuple[str, ...], count: int) -> list[str]:
    """Name the class of each image; empty where it has none."""
    if labels is None:
        return [""] * count
    return ["" if i < 0 else classes[i] if i < len(classes) else str(i) for i in labels.tolist()]


@dataclass(frozen=True)
class Drawing:
    """A figure that was drawn, and what it shows."""

    figure: Figure
    """The drawing."""
    name: str
    """Its name, such as ``map``; also that of its file."""
    caption: str
    """A line that says what it shows."""
    models: tuple[str, ...]
    """The models that it shows; those that are run directories get it in their reports."""


@dataclass(frozen=True)
class WrittenDrawing:
    """Where a drawing went."""

    drawing: Drawing
    """What was drawn."""
    file: Path
    """PNG or SVG file."""
    reports: tuple[Path, ...]
    """Reports that show it now."""


def write_drawing(draw: Callable[[], Drawing], out: Path | None) -> WrittenDrawing:
    """Draw, write the file, and put the figure in the report of every run that it shows.

    Args:
        draw: draws.
        out: file to write; None: ``NAME.png`` in the first run, else here.

    Raises:
        UserError: the file is no picture or cannot be written, which is found before any work is done.
    """
    check_drawing(out)
    drawing = draw()
    places = [Path(model) for model in drawing.models if Path(model).is_dir()]
    target = out or (places[0] if places else Path()) / f"{drawing.name}.png"
    content = write_figure(drawing.figure, target)
    kind = target.suffix.lower().removeprefix(".")
    reports = [place / "report.html" for place in dict.fromkeys(places) if (place / "report.html").is_file()]
    for report in reports:
        add_figure(report, drawing.name, drawing.caption, content, kind)
    return WrittenDrawing(drawing, target, tuple(reports))


def check_drawing(out: Path | None) -> None:
    """Refuse a file that is no picture or cannot be written, and a lack of matplotlib, before any work is done."""
    check_drawable()
    if out is None:
        return
    check_suffix(out)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserError(f"--out {out} must be a file in a folder that exists.")
