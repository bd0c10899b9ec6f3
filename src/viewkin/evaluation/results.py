"""Results of evaluations: measured values with their protocol, settings, origin and cost."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.json_text import read_json
from viewkin.runtime.provenance import command_line, device_name, revision
from viewkin.runtime.tables import html_table, text_table
from viewkin.runtime.wording import one_line


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """One evaluation of one set of features."""

    protocol: str
    """Name of the protocol, such as ``knn``."""
    values: dict[str, float]
    """Name to measured value; accuracies in percent, as the papers print them."""
    model: str = ""
    """Model that was evaluated."""
    data: str = ""
    """Images it was evaluated on."""
    images: str = ""
    """Fingerprint of the images that taught and of those that were judged; empty where it is not known."""
    settings: dict[str, Any] = field(default_factory=lambda: {})
    """The protocol's configuration, JSON values only."""
    seed: int | None = None
    """Seed of the evaluation; None if it draws no random numbers."""
    seconds: float = 0.0
    """Wall-clock time."""
    device: str = ""
    """Name of the device."""
    commit: str | None = None
    """Revision of this library, with ``-dirty`` when it had changes; None when it is not a checkout."""
    notes: tuple[str, ...] = ()
    """Plain sentences the reader of the values should know."""
    command: str = ""
    """Command that measured it; empty where that was none, such as in a notebook, and in files of older versions."""

    def __repr__(self) -> str:
        """Say what was judged and what came out."""
        values = ", ".join(f"{name} {value:.2f}" for name, value in self.values.items())
        return one_line(f"Result({self.protocol} of {self.model or 'features'}: {values})")

    def _repr_html_(self) -> str:
        return html_table(*Results([self]).rows())


class Results(list[Result]):
    """Results in a list that shows itself as a table, one row a model."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Give the header and the rows of the table."""
        measures = list(dict.fromkeys(name for result in self for name in result.values))
        protocols = len({result.protocol for result in self}) > 1
        header = [*(["protocol"] if protocols else []), "model", *measures, "seconds"]
        rows = [
            [
                *([result.protocol] if protocols else []),
                result.model,
                *(f"{result.values[name]:.2f}" if name in result.values else "-" for name in measures),
                f"{result.seconds:.1f}",
            ]
            for result in self
        ]
        return header, rows

    def __repr__(self) -> str:
        """Write the table, with what was judged above it."""
        if not self:
            return "no results"
        data = one_line(", ".join(dict.fromkeys(r.data for r in self if r.data)))
        return f"{data}\n{text_table(*self.rows())}".lstrip()

    def _repr_html_(self) -> str:
        return html_table(*self.rows(), caption=", ".join(dict.fromkeys(r.data for r in self if r.data)))


def describe(
    protocol: str,
    config: Any,
    values: Mapping[str, float],
    *,
    model: str = "",
    data: str = "",
    seed: int | None = None,
    seconds: float = 0.0,
    device: torch.device | str = "cpu",
    notes: Sequence[str] = (),
) -> Result:
    """Make a :class:`Result` of measured values, with the settings from a configuration dataclass and the revision."""
    return Result(
        protocol=protocol,
        values=dict(values),
        model=model,
        data=data,
        settings=dataclasses.asdict(config),
        seed=seed,
        seconds=seconds,
        device=device_name(torch.device(device)),
        commit=revision(),
        notes=tuple(notes),
        command=command_line(),
    )


def write_results(path: Path | str, results: Sequence[Result]) -> None:
    """Write results as a JSON list, whole or not at all; values that are not finite become null.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    text = json.dumps([_finite(dataclasses.asdict(result)) for result in results], indent=2, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write results to {path} ({error.strerror}): choose a place you may write to."
        ) from error


def read_results(path: Path | str) -> list[Result]:
    """Read what :func:`write_results` wrote; null values come back as NaN.

    Raises:
        UserError: no such file, or it holds something else.
    """
    try:
        rows = read_json(Path(path).read_text(encoding="utf-8"))
        for row in rows:
            row["values"] = {name: math.nan if value is None else value for name, value in row["values"].items()}
            row["notes"] = tuple(row["notes"])
            _check(row)
        return [Result(**row) for row in rows]
    except OSError as error:
        raise UserError(f"cannot read results from {path} ({error.strerror}).") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} does not hold results: give a file that an evaluation wrote.") from error


def _check(row: Mapping[str, Any]) -> None:
    """Refuse a row whose numbers are no numbers, or whose texts are no texts, by a TypeError."""
    numbers = [*row["values"].values(), row.get("seconds", 0.0)]
    texts = [row.get(name, "") for name in ("protocol", "model", "data", "images", "device", "command")]
    if not all(isinstance(one, (int, float)) for one in numbers) or not all(isinstance(one, str) for one in texts):
        raise TypeError


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold: numbers that are not finite by None."""
    if isinstance(value, dict):
        return {str(k): _finite(part) for k, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
