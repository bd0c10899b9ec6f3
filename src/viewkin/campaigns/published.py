"""Numbers of the papers, and when they may stand beside one measured here."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from viewkin.recipes.catalogue import RECIPES
from viewkin.runs.record import kind_paths, telling
from viewkin.runs.run_settings import RunSettings
from viewkin.settings import setting_paths

SETS: dict[str, tuple[str, dict[str, int]]] = {
    "CIFAR-10": (r"cifar10(?!0)", {"train": 50_000, "test": 10_000}),
    "CIFAR-100": (r"cifar100", {"train": 50_000, "test": 10_000}),
    "STL-10": (r"stl10", {"train": 5_000, "test": 8_000}),
    "ImageNet-100": (r"imagenet100", {"train": 126_689, "test": 5_000, "val": 5_000}),
    "ImageNet": (r"imagenet|ilsvrc|imagenet1k", {"train": 1_281_167, "test": 50_000, "val": 50_000}),
    "Places205": (r"places205", {"train": 2_448_873, "val": 20_500}),
    "VOC07": (r"voc", {"trainval": 5_011, "test": 4_952}),
    "VOC07+12": (r"voc", {"trainval": 16_551, "test": 4_952}),
    "CUB-200": (r"cub", {"test": 5_924}),
    "Cars-196": (r"cars", {"test": 8_131}),
}
"""Set to the form of its folder's name, punctuation left out, and its images. Both must fit: a number is never shown
beside a part of the set or another one. Of the last two, the classes that were not trained on."""


HEADLINES = {
    ("knn", "knn@200", "embedding"): "kNN (200)",
    ("linear", "linear top-1", "backbone"): "linear",
    ("mlp", "linear top-1", "backbone"): "linear",
    ("retrieval", "R@1", "embedding"): "R@1",
}
"""Protocol, measure and features to the name of a measure that a campaign shows beside its own."""
TRANSFER = ("Places205",)
"""Sets that papers judge on but do not train on."""


@dataclass(frozen=True)
class Published:
    """A number that a paper prints."""

    value: float
    """In percent."""
    source: str
    """Table that it stands in, in ``results/published``."""
    setting: str
    """What the paper trained, as far as it says."""


def published(
    stored: RunSettings,
    data: str,
    protocol: str,
    measure: str,
    features: str,
    settings: Mapping[str, Any] | None = None,
) -> list[Published]:
    """Find what papers print for a run's recipe, set and protocol; several where they trained in several ways.

    A number that holds for some settings only ("share=0.01", "method.mixture_weight=0") is shown with these alone, and
    instead of the recipe's own.

    Args:
        stored: settings of the run.
        data: images that were judged, as a result names them.
        protocol: such as ``knn``.
        measure: such as ``knn@200``.
        features: ``backbone`` or ``embedding``; the papers' kNN and retrieval are of the embedding.
        settings: the protocol's.
    """
    judged_set = None if stored.smoke or not trained_as_named(stored) else set_named(data)
    known = {**setting_paths(stored.recipe), **(settings or {})}
    rows = [
        row
        for row in _table()
        if (row["recipe"], row["set"]) == (stored.recipe.name, judged_set)
        and (row["protocol"], row["measure"], row["features"]) == (protocol, measure, features)
        and row["images"] in ("", str(stored.images))
        and _holds(row["where"], known)
    ]
    closest = [row for row in rows if row["where"]] or rows
    return [Published(float(row["value"]), row["table"], _setting(row)) for row in closest]


def printed(recipe: str, known: Mapping[str, Any]) -> list[tuple[str, Published]]:
    """Find the kNN and linear results that papers print for a recipe, on whatever set they trained.

    Args:
        recipe: name of the recipe.
        known: path to value of the settings; a number that holds for some settings only is left out where they differ,
            and replaces the recipe's own where they are the same.

    Returns:
        Set and measure, such as "CIFAR-10 kNN (200)", and the number.
    """
    rows = [
        row
        for row in _table()
        if row["recipe"] == recipe
        and (row["protocol"], row["measure"], row["features"]) in HEADLINES
        and row["set"] not in TRANSFER
        and _holds(row["where"], known)
    ]
    found: dict[str, Published] = {}
    for row in [row for row in rows if row["where"]] or rows:
        title = f"{row['set']} {HEADLINES[row['protocol'], row['measure'], row['features']]}"
        found.setdefault(title, Published(float(row["value"]), row["table"], _setting(row)))
    return list(found.items())


def printed_of_others(row: str) -> list[tuple[str, Published]]:
    """Find what papers print for a method without a recipe: set and measure, and the number.

    Args:
        row: the method's row, as the column ``row`` of the table names it, or how that begins.
    """
    rows = [one for one in _table() if row and not one["recipe"] and one["row"].startswith(row)]
    return [
        (f"{one['set']} {one['measure']}", Published(float(one["value"]), one["table"], _setting(one))) for one in rows
    ]


def _holds(where: str, known: Mapping[str, Any]) -> bool:
    """Tell whether settings have the values of "path=value; path=value", if any."""
    wanted = dict(one.split("=") for one in where.split("; ") if one)
    return all(_text(known.get(path)) == value for path, value in wanted.items())


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def set_named(data: str) -> str | None:
    """Tell which known set a result was measured on, from its folder's name and its numbers of images; else None."""
    place, _, counts = data.rpartition(": ")
    parts = re.findall(r"([\d,]+) ([a-z+]+)(?=,| of the classes|$)", counts)
    if not parts or "held out" in counts:
        return None
    for name, (form, sizes) in SETS.items():
        if _named_like(place, form) and all(sizes.get(split) == int(n.replace(",", "")) for n, split in parts):
            return name
    return None


def trained_as_named(stored: RunSettings) -> bool:
    """Tell whether a run's images lie in a folder named like the set that its recipe is named after, if after one."""
    forms = [form for word in stored.recipe.name.split("_") for form, _ in SETS.values() if re.fullmatch(form, word)]
    return not forms or _named_like(stored.data, forms[0])


def _named_like(place: str, form: str) -> bool:
    words = re.sub(r"[^a-z0-9/]", "", "/".join(PurePath(place).parts[-2:]).lower())
    return re.search(form, words) is not None


def changes(stored: RunSettings) -> str:
    """Say which settings of a run are not its recipe's: "schedule.epochs 5 (200)"; none that the recipe leaves open.

    Of a run with another method than the recipe's ("cifar10_cpu-moco") those of the method are left out.
    """
    name, other, _ = stored.recipe.name.partition("-")
    if name not in RECIPES:
        return ""
    original = RECIPES[name]()
    before = telling(setting_paths(original), kind_paths(original.method))
    now = telling(setting_paths(stored.recipe), kind_paths(stored.recipe.method))
    left_open = (None, "auto")
    differing = [path for path in now if now[path] != before.get(path) and before.get(path, "") not in left_open]
    shown = [path for path in differing if not (other and path.startswith("method."))]
    return ", ".join(f"{path} {now[path]} ({before.get(path)})" for path in shown)


@cache
def _table() -> tuple[dict[str, str], ...]:
    text = files("viewkin.campaigns").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _setting(row: dict[str, str]) -> str:
    epochs = f"{row['epochs']} epochs" if row["epochs"] else "epochs not stated"
    rounds = f" in each of {row['rounds']} rounds" if row["rounds"] != "1" else ""
    batch = f"batch {row['batch']}" if row["batch"] else ""
    images = f"{int(row['images']):,} images" if row["images"] else ""
    return ", ".join(part for part in (row["backbone"], epochs + rounds, batch, images, row["note"]) if part)
