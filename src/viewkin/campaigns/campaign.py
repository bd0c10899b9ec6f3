"""What a campaign is: rows to train, measures to take of each, and claims that pairs of rows decide. Data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from viewkin.campaigns.published import Published, printed
from viewkin.data.dataset import Images, Survey
from viewkin.runs.resolve import TrainRequest, fit_to_data, resolve
from viewkin.runtime.errors import UserError
from viewkin.settings import setting_paths
from viewkin.training.config import Recipe


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all rows of a campaign share: how long they train, on how much, with which network."""

    name: str
    """What ``--budget`` calls it."""
    about: str
    """What it is, in half a sentence."""
    epochs: int | None = None
    """Epochs of every row; None: the recipe's."""
    batch_size: int | None = None
    """Images of one step; None: the recipe's."""
    settings: tuple[str, ...] = ()
    """``path=value`` each. A row's own value of the same path stands before it."""
    images: int | None = None
    """Training images, the first of the set; None: all."""
    threads: int | None = None
    """Threads of a run; None: all of the machine."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training."""

    name: str
    """Name, such as ``interclr-moco``."""
    recipe: str
    """Name of the recipe."""
    about: str = ""
    """What it is, where the name does not say so."""
    method: str | None = None
    """Method in the place of the recipe's, as ``--method`` takes it."""
    backbone: str | None = None
    """Network in the place of the recipe's."""
    batch_size: int | None = None
    """Images of one step; None: the budget's."""
    epochs: int | None = None
    """Epochs; None: the budget's."""
    settings: tuple[str, ...] = ()
    """``path=value`` each."""
    priority: int = 1
    """1 is run first."""
    family: str = ""
    """Rows of one family share a panel of the curves."""
    published: str | None = None
    """Recipe whose published numbers stand beside this row; None: none does."""
    headline: bool = False
    """Whether the test embeddings of its first seed are kept, so that anyone can compute from them."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One call of ``viewkin evaluate``."""

    protocol: str
    """Name of the protocol."""
    file: str
    """Name of the file of its results."""
    features: str = "backbone"
    """``backbone`` or ``embedding``."""
    settings: tuple[str, ...] = ()
    """``path=value`` each."""
    split: str | None = None
    """Split that is judged; None: the protocol's usual."""
    classes: str | None = None
    """Classes that are judged; None: all."""
    by_training: bool = False
    """Whether training itself writes this file at its end."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measure in the table."""

    key: str
    """Name in the CSV file."""
    title: str
    """Heading."""
    protocol: str
    """Protocol that measured it."""
    measure: str
    """Name of the measure, such as ``knn@200``."""
    features: str = "backbone"
    """``backbone`` or ``embedding``."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A claim of a paper that a pair of rows decides."""

    claim: str
    """The claim, a sentence without its full stop."""
    better: str
    """Row that should have the larger measures."""
    than: str
    """Row that it is compared with."""
    source: str
    """Where the paper shows it."""
    measures: tuple[str, ...] = ()
    """Keys of the columns that decide; none: those of the campaign."""


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A method of the papers' tables that there is no code for."""

    name: str
    """Name in the paper."""
    why: str
    """The reason, a sentence without its full stop."""
    row: str = ""
    """Its rows in the published tables, as ``published.csv`` names them; empty: it prints no number."""


@dataclass(frozen=True, kw_only=True)
class Edition:
    """The rows of a campaign under one budget, and the images that they are trained on."""

    budget: Budget
    """What they share."""
    images: str
    """Set of images: ``CIFAR-10``."""
    rows: tuple[Row, ...]
    """Rows in the order of the table."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds that are run where none is named."""
    evaluations: tuple[Evaluation, ...] = ()
    """What is measured of each run."""
    columns: tuple[Column, ...] = ()
    """What the table shows."""
    deciding: tuple[str, ...] = ()
    """Keys of the columns that decide an observation, unless it names its own."""

    def row(self, name: str) -> Row:
        """Give the row of a name.

        Raises:
            UserError: there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise UserError(f"There is no row {name!r}; there are {', '.join(row.name for row in self.rows)}.")


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A table of the papers, or several, as rows that can be trained."""

    name: str
    """Name of the command's argument, and of the folder under ``results/``."""
    about: str
    """What it asks, in one line."""
    editions: tuple[Edition, ...]
    """One a budget; the first is the usual one."""
    observations: tuple[Observation, ...] = ()
    """Claims that it decides."""
    absent: tuple[Absent, ...] = ()
    """Rows of the papers that cannot be run here."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the table."""

    def edition(self, budget: str | None) -> Edition:
        """Give the edition of a budget; None: the usual one.

        Raises:
            UserError: the campaign has no such budget.
        """
        known = {edition.budget.name: edition for edition in self.editions}
        if budget is None:
            return self.editions[0]
        if budget not in known:
            raise UserError(f"The campaign {self.name} has no budget {budget!r}; it has {', '.join(known)}.")
        return known[budget]

    def claims(self, edition: Edition) -> tuple[Observation, ...]:
        """Give the claims whose rows an edition has."""
        names = {row.name for row in edition.rows}
        return tuple(one for one in self.observations if {one.better, one.than} <= names)

    def folder(self, edition: Edition) -> str:
        """Name the folder of an edition's results."""
        return self.name if edition == self.editions[0] else f"{self.name}-{edition.budget.name}"


def request_of(row: Row, budget: Budget, data: Images, *, seed: int = 0, out: Path | None = None) -> TrainRequest:
    """Give what ``viewkin train`` is asked to do for a row."""
    own = {setting.partition("=")[0] for setting in row.settings}
    shared = [setting for setting in budget.settings if setting.partition("=")[0] not in own]
    threads = [] if budget.threads is None else [f"runtime.threads={budget.threads}"]
    return TrainRequest(
        data=data,
        recipe=row.recipe,
        method=row.method,
        backbone=row.backbone,
        batch_size=row.batch_size or budget.batch_size,
        epochs=row.epochs or budget.epochs,
        seed=seed,
        out=out,
        settings=(*row.settings, *shared, *threads),
    )


def arguments_of(request: TrainRequest) -> list[str]:
    """Write the arguments of ``viewkin train`` for a request of :func:`request_of`."""
    flags = {
        "--recipe": request.recipe,
        "--method": request.method,
        "--backbone": request.backbone,
        "--batch-size": request.batch_size,
        "--epochs": request.epochs,
        "--seed": request.seed,
    }
    words = [str(request.data)]
    for flag, value in flags.items():
        words += [] if value is None else [flag, str(value)]
    for setting in request.settings:
        words += ["--set", setting]
    return words if request.out is None else [*words, "--out", str(request.out)]


SIDES = {"CIFAR-10": (50_000, 32, 10), "CIFAR-100": (50_000, 32, 100), "ImageNet": (1_281_167, 256, 1000)}
SIDES["Cars-196"] = (8_144, 256, 196)
"""Set to its training images, their side in pixels and its classes: what a row is checked for without the images."""


def survey_of(edition: Edition) -> Survey:
    """Say what the images of an edition look like, without them."""
    count, side, classes = SIDES[edition.images]
    count = count if edition.budget.images is None else min(count, edition.budget.images)
    return Survey(count, side, uniform=side == 32, labelled=True, splits=("train", "test"), classes=classes)


def recipe_of(row: Row, edition: Edition, seed: int = 0) -> Recipe:
    """Give every setting of a row, as a run of it has them.

    Raises:
        UserError: a recipe, method or setting that does not exist, or a value that does not fit.
    """
    survey = survey_of(edition)
    try:
        return fit_to_data(resolve(request_of(row, edition.budget, "images", seed=seed), survey), survey.count).recipe
    except UserError as error:
        raise UserError(f"The row {row.name} cannot be run: {error}") from error


def beside(row: Row, edition: Edition) -> list[tuple[str, Published]]:
    """Find the published numbers that stand beside a row, with set and measure; they are of other trainings."""
    if row.published is None:
        return []
    return printed(row.published, setting_paths(recipe_of(row, edition)))


def chosen_rows(
    edition: Edition, names: Sequence[str] = (), priority: int | None = None, seeds: Sequence[int] = ()
) -> list[tuple[Row, int]]:
    """Choose rows and seeds: all rows with the first seed before any with the next, the urgent ones first.

    Args:
        edition: whose rows.
        names: of rows; none: all.
        priority: leave out rows that are less urgent than this number says; None: none.
        seeds: seeds; none: the edition's.

    Raises:
        UserError: an unknown row, or nothing left.
    """
    rows = [edition.row(name) for name in dict.fromkeys(names)] if names else list(edition.rows)
    rows = [row for row in rows if priority is None or row.priority <= priority]
    if not rows:
        numbers = sorted({row.priority for row in edition.rows})
        raise UserError(f"No row has priority {priority} or less; there are {', '.join(map(str, numbers))}.")
    ordered = sorted(rows, key=lambda row: row.priority)
    return [(row, seed) for seed in dict.fromkeys(seeds or edition.seeds) for row in ordered]
