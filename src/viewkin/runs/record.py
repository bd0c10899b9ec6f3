"""Runs as they lie on disk: their settings and everything that was measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from viewkin.evaluation.results import Result, read_results
from viewkin.runs.run_place import check_run
from viewkin.runs.run_settings import RunSettings, read_run_settings
from viewkin.settings import setting_paths
from viewkin.training.logs import MONITORS, read_metrics

BASELINES = ("chance", "raw pixels", "untrained", "start")
"""What an evaluation judges beside the model."""
NO_RESULT = ("name", "about", "seed")
"""Settings of a recipe that change no result but by chance."""
LOGGED = (*MONITORS, "images_per_second")
"""Series of the log that measure the run: the last value of the monitors, the median of the speed."""


@dataclass(frozen=True)
class RunRecord:
    """A run that was trained."""

    place: Path
    """Its directory."""
    stored: RunSettings
    """Its settings."""
    results: tuple[Result, ...]
    """Every row of every evaluation file, oldest file first."""
    logged: Mapping[str, float]
    """Series in :data:`LOGGED` to value, where there is one."""

    @property
    def settings(self) -> dict[str, Any]:
        """Path to value of every setting that may change a result, and the images."""
        stored = self.stored
        # One set may have several names, and two sets the same one.
        values = {"images": stored.images, "smoke": stored.smoke, "set": stored.fingerprint or stored.data}
        return values | telling(setting_paths(stored.recipe), kind_paths(stored.recipe.method))


def read_record(place: Path) -> RunRecord:
    """Read a run.

    Raises:
        UserError: there is none, or one of its files is damaged.
    """
    check_run(place)
    stored = read_run_settings(place)
    files = sorted(place.glob("evaluation-*.json"), key=lambda path: (path.stat().st_mtime, path.name))
    results = tuple(result for path in files for result in read_results(path))
    log = read_metrics(place / "metrics.jsonl") if (place / "metrics.jsonl").exists() else []
    series = {name: [float(row[name]) for row in log if isinstance(row.get(name), (int, float))] for name in LOGGED}
    logged = {
        name: median(values) if name == "images_per_second" else values[-1] for name, values in series.items() if values
    }
    return RunRecord(place, stored, results, logged)


def telling(values: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Keep the settings of a recipe that may change a result, with the methods' kinds among them."""
    kept = {path: value for path, value in values.items() if path not in NO_RESULT and not path.startswith("runtime.")}
    return {**kinds, **kept}


def kind_paths(method: Any, prefix: str = "method") -> dict[str, str]:
    """Path to kind of a method and of what it wraps."""
    inner = method.wrapped()
    return {f"{prefix}.kind": method.kind} | ({} if inner is None else kind_paths(inner, f"{prefix}.base"))


def short(model: str) -> str:
    """What kind of features a result's model is: ``backbone``, ``embedding``, ``untrained``, ``raw pixels``."""
    return model.partition(",")[0]
