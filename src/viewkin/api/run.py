"""Train, and work with what training left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from viewkin.api.backbone import Backbone, load_backbone
from viewkin.api.notebook import progress_where_seen
from viewkin.collection.embeddings import Embeddings
from viewkin.commands.embed import EmbedRequest
from viewkin.commands.embed import embed as embed_images
from viewkin.commands.train import train as run_training
from viewkin.data.dataset import Dataset, Images
from viewkin.evaluation.results import Results
from viewkin.runs.record import read_record
from viewkin.runs.resolve import TrainRequest
from viewkin.runs.run_settings import RunSettings
from viewkin.runtime.tables import html_table, text_table
from viewkin.runtime.wording import one_line
from viewkin.training.config import Recipe
from viewkin.training.logs import read_metrics

Settings = Mapping[str, object] | Sequence[str]
"""``{"method.temperature": 0.2}``, or texts as ``--set`` takes them: ``["method.temperature=0.2"]``."""


def as_texts(settings: Settings) -> tuple[str, ...]:
    """Write settings as ``path=value`` texts."""
    if isinstance(settings, Mapping):
        return tuple(f"{path}={_text(value)}" for path, value in settings.items())
    return tuple(settings)


def _text(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(_text, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class Run:
    """A run directory: settings, log, results and network of one training.

    Everything is read from the files when it is asked for, so a run that trains elsewhere shows how far it is.
    """

    def __init__(self, path: Path | str) -> None:
        """Open a run directory.

        Raises:
            UserError: there is no run, or its settings are damaged.
        """
        self.path = Path(path)
        """Its directory."""
        self.settings: RunSettings = read_record(self.path).stored
        """What ``recipe.json`` says: the images, and every setting."""

    @property
    def recipe(self) -> Recipe:
        """Every setting of the training."""
        return self.settings.recipe

    @property
    def log(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.jsonl``: ``step``, ``loss``, ``images_per_second`` and more."""
        return read_metrics(self.path / "metrics.jsonl")

    @property
    def results(self) -> Results:
        """Everything that was measured of the run, oldest first; baselines among them."""
        return Results(read_record(self.path).results)

    @property
    def report(self) -> Path:
        """The page with curves and nearest neighbours, for a browser."""
        return self.path / "report.html"

    @property
    def finished(self) -> bool:
        """Whether training reached its last epoch."""
        return (self.path / "backbone.safetensors").is_file() and self._epochs_done() >= self._epochs()

    @property
    def backbone(self) -> Backbone:
        """The trained network, loaded anew."""
        return load_backbone(self.path)

    def embed(
        self,
        images: Images | None = None,
        *,
        split: str | None = None,
        features: str = "backbone",
        normalise: bool = True,
        out: Path | str | None = None,
        overwrite: bool = False,
        device: str = "auto",
    ) -> Embeddings:
        """Embed images; see :func:`viewkin.embed`.

        Args:
            images: folder, file, list of paths, PIL images or arrays; None: the images that the run was trained on.
            split: split of the images; None: every split.
            features: ``backbone``, or ``embedding`` (through the run's head as well).
            normalise: scale every row to length 1.
            out: file to write as well: .parquet, .csv or .npy.
            overwrite: replace a file of other images or of another model too.
            device: ``cpu``, ``cuda`` or ``auto``.

        Raises:
            UserError: images that are not there or cannot be read, or a place that cannot be written.
        """
        return embed(
            self,
            self.settings.images_from() if images is None else images,
            split=split,
            features=features,
            normalise=normalise,
            out=out,
            overwrite=overwrite,
            device=device,
        )

    def resume(self, images: Images | None = None, *, accept_changes: bool = False, settings: Settings = ()) -> Run:
        """Go on with a run that was stopped, bit for bit; a finished one is left as it is.

        Args:
            images: where the images are now; None: where they were.
            accept_changes: go on although images were added, removed or changed, where the method keeps no row for
                each image.
            settings: ``runtime.*`` settings to change; no other may.

        Raises:
            UserError: the images are others, or the checkpoint is damaged.
        """
        request = TrainRequest(
            data=self.settings.data if images is None else images,
            out=self.path,
            resume=True,
            accept_changes=accept_changes,
            settings=as_texts(settings),
        )
        with progress_where_seen():
            run_training(request)
        return Run(self.path)

    def _epochs(self) -> int:
        return self.recipe.schedule.epochs * self.recipe.schedule.rounds

    def _epochs_done(self) -> float:
        log = self.log
        return float(log[-1].get("epoch", 0.0)) if log else 0.0

    def _facts(self) -> list[list[str]]:
        recipe = self.recipe
        facts = [
            ["directory", str(self.path)],
            ["recipe", f"{recipe.name}: {recipe.about}"],
            ["images", f"{self.settings.images:,} of {self.settings.data}"],
            ["network", f"{recipe.backbone.name}, images of {recipe.augment.image_size} px"],
            ["epochs", f"{self._epochs_done():g} of {self._epochs()}"],
        ]
        trained = [result for result in self.results if result.model.startswith(("backbone", "embedding"))]
        measured = {f"{r.model.partition(',')[0]} {name}": value for r in trained for name, value in r.values.items()}
        return facts + [[name, f"{value:.2f}"] for name, value in measured.items()]

    def __repr__(self) -> str:
        """Say what the run is, how far it is and what was measured."""
        (name, value), *rest = self._facts()
        return f"Run {one_line(value)}\n{text_table(['', ''], rest)}".replace("\n\n", "\n") if name else ""

    def _repr_html_(self) -> str:
        (_, place), *rest = self._facts()
        link = f'<a href="{escape(self.report.as_posix())}">report</a>' if self.report.is_file() else ""
        return html_table(["run", place], rest) + link


def train(
    images: Images,
    *,
    recipe: str | Recipe | None = None,
    method: str | None = None,
    out: Path | str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    backbone: str | None = None,
    image_size: int | None = None,
    seed: int | None = None,
    settings: Settings = (),
    smoke: bool = False,
    resume: bool = False,
    auto_resume: bool = False,
    accept_changes: bool = False,
) -> Run:
    """Train a network on images without labels; then judge it if there are labels, and write a report.

    With nothing but the images, recipe, image size, epochs and directory are chosen for them. Labels (class folders)
    are used only for monitoring and for the evaluation at the end.

    Args:
        images: folder, Parquet file, list of paths, PIL images or arrays.
        recipe: name from ``viewkin recipes``, a run directory, or a :class:`Recipe`; None: SimCLR fitted to the images.
        method: learner to put in the recipe's place, with terms around it: ``"moco"``, ``"eir(interclr(byol))"``.
        out: run directory; None: ``runs/RECIPE-DATA``.
        epochs: how often every image is seen; the schedule keeps its shape.
        batch_size: images of one optimiser step, over all processes.
        backbone: network, such as ``resnet18`` or ``timm/vit_tiny_patch16_224``.
        image_size: side of the images that the network sees, pixels.
        seed: every random number follows from it.
        settings: any other setting by its path.
        smoke: shrink everything, to end within a minute.
        resume: go on with the run in ``out``.
        auto_resume: start a run, or go on with the one in ``out`` if there is one.
        accept_changes: go on although images were added, removed or changed, where the method keeps no row for each
            image.

    Returns:
        The run. If Ctrl-C stopped it, :attr:`Run.finished` is false and :meth:`Run.resume` goes on.

    Raises:
        UserError: images, settings or directory do not fit; nothing is written then.
        RunStoppedError: the run could not go on; its last checkpoint is kept.
    """
    request = TrainRequest(
        data=Dataset.of(images),
        recipe=recipe,
        method=method,
        out=None if out is None else Path(out),
        resume=resume,
        auto_resume=auto_resume,
        accept_changes=accept_changes,
        smoke=smoke,
        epochs=epochs,
        batch_size=batch_size,
        backbone=backbone,
        image_size=image_size,
        seed=seed,
        settings=as_texts(settings),
    )
    with progress_where_seen():
        training = run_training(request)
    return Run(training.place)


def open_run(path: Path | str) -> Run:
    """Open the directory of a run.

    Raises:
        UserError: there is no run, or its settings are damaged.
    """
    return Run(path)


def embed(
    model: Run | Path | str,
    images: Images,
    *,
    split: str | None = None,
    features: str = "backbone",
    normalise: bool = True,
    out: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Embeddings:
    """Embed images: one row of numbers each; images that look alike to the network have rows of high cosine.

    Args:
        model: a run, its directory, a backbone file or a checkpoint.
        images: folder, file, list of paths, PIL images or arrays; one image is enough.
        split: split of the images; None: every image of every split, once, with the split in ``splits``.
        features: ``backbone``, or ``embedding`` (through the run's head as well).
        normalise: scale every row to length 1.
        out: file to write as well, by its ending: .parquet, .csv or .npy.
        overwrite: replace a file of other images or of another model too.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        UserError: a model, images or place that do not fit.
    """
    request = EmbedRequest(
        model=name_of(model),
        data=Dataset.of(images),
        out=None if out is None else Path(out),
        overwrite=overwrite,
        split=split,
        features=features,
        normalise=normalise,
        device=device,
    )
    with progress_where_seen():
        return embed_images(request)


def name_of(model: Run | Path | str) -> str:
    """Give the path of a model."""
    if isinstance(model, Run):
        return str(model.path)
    return str(model)
