"""Work with what training left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from viewkin.api.backbone import Backbone, load_backbone
from viewkin.api.embedding import embed
from viewkin.api.notebook import progress_where_seen
from viewkin.collection.embeddings import Embeddings
from viewkin.commands.export import Export, ExportRequest
from viewkin.commands.export import export as export_model_of
from viewkin.commands.train import train as run_training
from viewkin.data.dataset import Images
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
        image_column: str | None = None,
        label_column: str | None = None,
        labels: bool = True,
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
            image_column: column of Parquet files that holds the images; None: found by its name or type.
            label_column: column of Parquet files that holds the labels; None: found by its name or type.
            labels: whether to take labels from folders, columns and annotations.
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
            image_column=image_column,
            label_column=label_column,
            labels=labels,
            out=out,
            overwrite=overwrite,
            device=device,
        )

    def export(
        self,
        to: str,
        path: Path | str | None = None,
        *,
        overwrite: bool = False,
        license: str | None = None,
        images: Images | None = None,
    ) -> Export:
        """Write the trained network for another library, load it again there, and compare its features.

        Args:
            to: ``onnx``, ``timm``, ``torchvision``, ``hf``, ``pt2``, ``safetensors`` or ``detectron2``.
            path: folder to write; None: ``export-TARGET`` in the run directory.
            overwrite: replace an earlier export there.
            license: licence for the model card, such as ``mit``.
            images: images to compare on; None: some that the run was trained on, or rendered ones.

        Raises:
            UserError: an unknown target, a network that it has no place for, a missing package, or a place that cannot
                be written.
        """
        out = None if path is None else Path(path)
        request = ExportRequest(
            model=str(self.path), to=to, out=out, overwrite=overwrite, licence=license, images=images
        )
        with progress_where_seen():
            return export_model_of(request)

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


def open_run(path: Path | str) -> Run:
    """Open the directory of a run.

    Raises:
        UserError: there is no run, or its settings are damaged.
    """
    return Run(path)
