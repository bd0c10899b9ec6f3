"""The comparison of runs as a table: which rows, in which order, and which images each is of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viewkin.campaigns.comparison import Line
from viewkin.runtime.tables import html_table, text_table
from viewkin.runtime.wording import one_line


@dataclass(frozen=True)
class ComparisonTable:
    """Cells of the table, and sentences below it."""

    header: list[str]
    """Names of the columns."""
    sections: list[list[list[str]]]
    """Rows; those of a section are of one measure of one kind of features on the same images."""
    notes: list[str]
    """What the runs are, what papers trained, and which images were judged."""


class Lines(list[Line]):
    """Lines in a list that shows itself as a table."""

    def __repr__(self) -> str:
        """Write the table."""
        table = table_of(self)
        return "\n".join(
            [text_table(table.header, [row for rows in table.sections for row in rows]), *map(one_line, table.notes)]
        )

    def _repr_html_(self) -> str:
        table = table_of(self)
        return html_table(table.header, [row for rows in table.sections for row in rows]) + html_table(
            ["notes"], [[note] for note in table.notes]
        )


def table_of(lines: Sequence[Line]) -> ComparisonTable:
    """Make the table.

    Where a measure was taken on several sets of images, or by several settings of the evaluation, a column tells which.
    """
    sets = [(line.data, line.images) for line in lines if line.data]
    number = {images: place + 1 for place, images in enumerate(dict.fromkeys(sets))}
    sections: dict[tuple[str, str, str, str], list[Line]] = {}
    for line in lines:
        sections.setdefault((line.measure, line.features, line.data, line.images), []).append(line)
    first = {key: place for place, key in reversed(list(enumerate((key[0], key[1]) for key in sections)))}
    order = sorted(sections, key=lambda key: (first[key[0], key[1]], number.get(key[2:], 0)))
    told = _differing(lines)
    numbered, by_settings = len(first) < len(sections), any(told.values())
    header = ["measure", "features", *(["images"] if numbered else []), *(["settings"] if by_settings else []), "runs"]
    rows: list[list[list[str]]] = []
    for key in order:
        images = f"[{number[key[2:]]}]" if key[2:] in number else "-"
        rows.append(
            [
                [
                    line.measure,
                    line.features or "-",
                    *([images] if numbered else []),
                    *([told[id(line)] or "-"] if by_settings else []),
                    title(line),
                    f"{line.mean:,.2f}",
                    "-" if line.std is None else f"{line.std:,.2f}",
                    str(len(line.runs)),
                    line.published or "-",
                ]
                for line in sections[key]
            ]
        )
    return ComparisonTable([*header, "mean", "std", "n", "published"], rows, _notes(lines, number, numbered=numbered))


def title(line: Line) -> str:
    """Name runs by the folder of the first and how many more there are."""
    first, *more = line.runs
    return Path(first).name + (f" +{len(more)}" if more else "")


def _differing(lines: Sequence[Line]) -> dict[int, str]:
    """Say of each line, by its id, the settings of its evaluation that other lines of the same measure do not share."""
    told: dict[int, str] = {}
    alike: dict[tuple[str, str], list[tuple[Line, dict[str, Any]]]] = {}
    for line in lines:
        settings = json.loads(line.settings) if line.settings else {}
        alike.setdefault((line.protocol, line.measure), []).append((line, settings))
    for group in alike.values():
        paths = dict.fromkeys(path for _, settings in group for path in settings)
        varied = [path for path in paths if len({repr(settings.get(path)) for _, settings in group}) > 1]
        for line, settings in group:
            told[id(line)] = ", ".join(f"{path}={_text(settings[path])}" for path in varied if path in settings)
    return told


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _notes(lines: Sequence[Line], number: dict[tuple[str, str], int], *, numbered: bool) -> list[str]:
    notes: list[str] = []
    for name, recipe, seeds, changed in dict.fromkeys((title(a), a.recipe, a.seeds, a.changed) for a in lines):
        differs = f"; changed: {changed}" if changed else ""
        noun = "seed" if len(seeds) == 1 else "seeds"
        notes.append(f"{name}: recipe {recipe}, {noun} {' '.join(map(str, seeds))}{differs}")
    papers = dict.fromkeys((line.recipe, line.paper) for line in lines if line.paper)
    notes += [f"Published for {recipe}: {paper}" for recipe, paper in papers]
    if not numbered:
        return notes + [f"Judged on {data}" for data in dict.fromkeys(data for data, _ in number)]
    for (data, images), place in number.items():
        earlier = next((one for one in number if one[0] == data and number[one] < place), None)
        same_name = "" if earlier is None else f" ({_unlike(images, earlier[1])} the images of [{number[earlier]}])"
        notes.append(f"Judged on [{place}] {data}{same_name}")
    return notes


def _unlike(images: str, others: str) -> str:
    return "not" if images and others else "not known to be"
