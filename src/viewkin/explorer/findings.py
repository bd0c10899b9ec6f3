"""Lists to go through, one of each kind, found when they are first asked for: duplicates, outliers and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from viewkin.collection.findings import Findings
from viewkin.collection.marks import add_marks
from viewkin.commands.finding_files import as_csv
from viewkin.explorer.actions import ACTIONS, Asked, Fields
from viewkin.explorer.image_marks import contents_of
from viewkin.explorer.jobs import Job
from viewkin.explorer.shown_collection import ShownCollection
from viewkin.runtime.errors import UserError, require

TYPICAL = 12
"""Images of a cluster that are shown."""
SHOWN = 2000
"""Images of a list without groups that are shown; its file has all."""
Listed = list[dict[str, Any]]
"""Findings, each with what is known of its image."""


class FindingLists:
    """The lists of one collection."""

    def __init__(self, collection: ShownCollection, model: str | None, device: str) -> None:
        """Prepare lists."""
        self._collection, self._model, self._device = collection, model, device
        self._jobs: dict[str, tuple[Fields, Job]] = {}
        self._lock = Lock()

    def job(self, kind: str, fields: Fields, *, again: bool = False) -> Job:
        """Start a list; the one that is there or being made is given where the fields are the same.

        Args:
            kind: one of :data:`viewkin.explorer.actions.ACTIONS`.
            fields: texts of the form.
            again: make it anew, unless it is being made.

        Raises:
            LookupError: there is no such list.
            UserError: an unknown field.
        """
        make, names = ACTIONS[kind]
        unknown = sorted(fields.keys() - names)
        if unknown:
            raise UserError(f"{unknown[0]} is no field of {kind}; there are {', '.join(sorted(names))}.")
        asked = Asked(self._collection, dict(fields), self._model, self._device)
        with self._lock:
            before = self._jobs.get(kind)
            if before is not None and before[0] == asked.fields and not (before[1].ended and again):
                return before[1]
            if before is not None:
                before[1].stop()
            job = Job(lambda _: self._told(kind, make(asked)), "Comparing")
            self._jobs[kind] = asked.fields, job
        return job.start()

    def stop(self, kind: str | None = None) -> None:
        """Stop making a list, or all; the next one that is asked for is made anew.

        Raises:
            LookupError: there is no such list.
        """
        if kind is not None and kind not in ACTIONS:
            raise LookupError(kind)
        with self._lock:
            for name in list(self._jobs) if kind is None else [kind] * (kind in self._jobs):
                if not self._jobs[name][1].ended:
                    self._jobs.pop(name)[1].stop()

    def csv(self, kind: str) -> bytes:
        """Write a list that is there as its command writes it.

        Raises:
            LookupError: there is none.
        """
        _, job = self._jobs[kind]
        if not job.ended or job.result is None:
            raise LookupError(kind)
        found: Findings = job.result["found"]
        return as_csv(found)

    def part_them(self, rows: list[int]) -> None:
        """Remember that two images are no duplicates; the list leaves them out when it is made again.

        Raises:
            UserError: not two images, or a place that cannot be written.
        """
        require(len(rows) == 2, "The number of images", len(rows), "2")
        contents = contents_of(self._collection.reader)
        add_marks(self._collection.reader.folder, [frozenset(contents[row] for row in rows)])

    def _told(self, kind: str, found: Findings) -> dict[str, Any]:
        """Say what was found as a page shows it, and keep the table, and columns to colour by."""
        row_of = self._collection.reader.rows.row_of
        # Findings of images that came meanwhile are left out: the page knows the collection as it was opened.
        listed: Listed = [one | {"row": row_of[one["key"]]} for one in found if one["key"] in row_of]
        groups = GROUPED[kind](listed)
        for group in groups:
            group["images"] = [self._collection.facts(one["row"]) | one["told"] for one in group["images"]]
        columns = COLUMNS[kind](listed) if kind in COLUMNS else {}
        for name, values in columns.items():
            self._collection.add_column(name, [one["row"] for one in listed], values)
        seen = {
            "groups": groups,
            "rows": list(dict.fromkeys(one["row"] for one in listed)),
            "notes": list(found.notes),
            "columns": list(columns),
        }
        return {"seen": seen, "found": found}


def _card(one: dict[str, Any], *names: str) -> dict[str, Any]:
    return {"row": one["row"], "told": {name: one[name] for name in names}}


def _groups_of_duplicates(listed: Listed) -> list[dict[str, Any]]:
    groups: dict[int, dict[str, Any]] = {}
    for one in listed:
        group = groups.setdefault(one["group"], {"kind": one["kind"], "images": []})
        group["images"].append(_card(one, "keep", "likeness"))
    return list(groups.values())


def _single(*names: str, kind: str) -> Callable[[Listed], list[dict[str, Any]]]:
    """Give each of the first images a group of its own."""
    return lambda listed: [{"kind": kind, "images": [_card(one, *names)]} for one in listed[:SHOWN]]


def _groups_of_clusters(listed: Listed) -> list[dict[str, Any]]:
    groups: dict[int, dict[str, Any]] = {}
    for one in listed:
        title = f"Cluster {_named(one)}"
        group = groups.setdefault(one["cluster"], {"kind": "cluster", "title": title, "images": [], "rows": []})
        group["rows"].append(one["row"])
        if len(group["images"]) < TYPICAL:
            group["images"].append(_card(one, "similarity"))
    return list(groups.values())


def _least_certain(listed: Listed) -> list[dict[str, Any]]:
    """Give the images without a label of their own, the least certain first."""
    new = sorted((one for one in listed if one["given"] is None), key=lambda one: one["confidence"])
    return _single("predicted", "confidence", kind="label")(new)


GROUPED: Mapping[str, Callable[[Listed], list[dict[str, Any]]]] = {
    "duplicates": _groups_of_duplicates,
    "outliers": _single("distance", kind="outlier"),
    "quality": _single("issue", "value", kind="quality"),
    "suspects": _single("given", "suggested", "score", "agreeing", kind="suspect"),
    "clusters": _groups_of_clusters,
    "select": _single("rank", kind="select"),
    "label": _least_certain,
}
"""Name of a list to how its findings are put together."""


def _named(one: dict[str, Any]) -> str:
    """Write the number of a cluster and its name."""
    return f"{one['cluster']} {one['name'] or ''}".strip()


COLUMNS: Mapping[str, Callable[[Listed], dict[str, list[Any]]]] = {
    "clusters": lambda listed: {"cluster": [_named(one) for one in listed]},
    "label": lambda listed: {name: [one[name] for one in listed] for name in ("predicted", "confidence")},
}
"""Columns to colour by that a list gives, by their names on the page."""
