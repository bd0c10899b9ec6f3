"""What the page can do with a collection: the commands that look at all images, asked for by the fields of a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from viewkin.collection.findings import Findings
from viewkin.collection.propagation import K as VOTES
from viewkin.collection.selection import METHODS
from viewkin.commands.clusters import ClustersRequest, cluster_images
from viewkin.commands.duplicates import DuplicatesRequest, duplicates
from viewkin.commands.label import LabelRequest, label_images
from viewkin.commands.outliers import OutliersRequest, list_outliers
from viewkin.commands.quality import QualityRequest, quality
from viewkin.commands.select import SelectRequest, select
from viewkin.commands.suspects import SuspectsRequest, list_suspects
from viewkin.explorer.shown_collection import ShownCollection
from viewkin.runtime.errors import UserError

MARK = "mark"
"""Stands for the marks in the place of a column of labels."""
SELECTED = 20
"""Images that are chosen for labelling where no number is given."""
Fields = Mapping[str, str]
"""Name to text of the fields of a form; an empty one counts as not there."""
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Asked:
    """A list that is asked for: of which collection, by which fields."""

    shown: ShownCollection
    """The collection."""
    fields: Fields
    """What the form holds."""
    model: str | None
    """Where the collection's model is; None: where it was."""
    device: str
    """``cpu``, ``cuda`` or ``auto``."""

    def number(self, name: str, kind: Callable[[str], Number]) -> Number | None:
        """Read a field as a number; None where it is empty.

        Raises:
            UserError: it is no number.
        """
        text = self.fields.get(name, "").strip()
        if not text:
            return None
        try:
            return kind(text)
        except ValueError as error:
            what = "a whole number" if kind is int else "a number"
            raise UserError(f"{name} is {text!r}; it must be {what}.") from error

    def labels(self) -> Mapping[str, str] | None:
        """Give labels by key: those of a column or the marks; None for the collection's own.

        Raises:
            UserError: there is no such column.
        """
        name = self.fields.get("labels", "")
        if not name:
            return None
        keys = self.shown.reader.rows.keys
        if name == MARK:
            return {keys[row]: mark for row, mark in self.shown.marks.of_rows().items()}
        try:
            values = self.shown.values(name)
        except LookupError as error:
            raise UserError(f"There is no column {name}.") from error
        return {key: str(value) for key, value in zip(keys, values) if value not in (None, "")}


def _duplicates(asked: Asked) -> Findings:
    near, scene = asked.number("near", float), asked.number("scene", float)
    folder = asked.shown.reader.folder
    return duplicates(
        DuplicatesRequest(collection=folder, near=near, scene=scene, model=asked.model, device=asked.device)
    )


def _outliers(asked: Asked) -> Findings:
    count, k = asked.number("n", int), asked.number("k", int)
    request = OutliersRequest(collection=asked.shown.reader.folder, count=count)
    return list_outliers(request if k is None else replace(request, k=k))


def _quality(asked: Asked) -> Findings:
    only = asked.fields.get("only", "")
    return quality(QualityRequest(collection=asked.shown.reader.folder, only=(only,) if only else ()))


def _suspects(asked: Asked) -> Findings:
    count = asked.number("n", int)
    return list_suspects(SuspectsRequest(collection=asked.shown.reader.folder, labels=asked.labels(), count=count))


def _clusters(asked: Asked) -> Findings:
    return cluster_images(ClustersRequest(collection=asked.shown.reader.folder, count=asked.number("k", int)))


def _select(asked: Asked) -> Findings:
    count = asked.number("n", int)
    done = asked.fields.get("labelled", "")
    labelled = None
    if done:
        own = Asked(asked.shown, {"labels": done}, asked.model, asked.device).labels()
        labelled = list(own or ())
    request = SelectRequest(
        collection=asked.shown.reader.folder,
        count=min(SELECTED, len(asked.shown.reader)) if count is None else count,
        labelled=labelled,
        method=asked.fields.get("method", "") or METHODS[0],
    )
    return select(request)


def _label(asked: Asked) -> Findings:
    least, k = asked.number("confidence", float), asked.number("k", int)
    request = LabelRequest(
        collection=asked.shown.reader.folder,
        labels=asked.labels(),
        least_confidence=0.0 if least is None else least,
        k=VOTES if k is None else k,
    )
    return label_images(request)


ACTIONS: Mapping[str, tuple[Callable[[Asked], Findings], frozenset[str]]] = {
    "duplicates": (_duplicates, frozenset({"near", "scene"})),
    "outliers": (_outliers, frozenset({"n", "k"})),
    "quality": (_quality, frozenset({"only"})),
    "suspects": (_suspects, frozenset({"labels", "n"})),
    "clusters": (_clusters, frozenset({"k"})),
    "select": (_select, frozenset({"n", "method", "labelled"})),
    "label": (_label, frozenset({"labels", "confidence", "k"})),
}
"""Name to what makes the list, and the fields that it takes."""
