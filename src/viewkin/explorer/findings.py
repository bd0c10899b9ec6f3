"""Lists to go through: duplicates and outliers, found when they are first asked for."""

from __future__ import annotations

from typing import Any

from viewkin.collection.findings import Findings
from viewkin.collection.marks import add_marks
from viewkin.commands.duplicates import DuplicatesRequest, duplicates
from viewkin.commands.outliers import OutliersRequest, list_outliers
from viewkin.explorer.image_marks import contents_of
from viewkin.explorer.jobs import Job
from viewkin.explorer.shown_collection import ShownCollection
from viewkin.runtime.errors import require

KINDS = ("duplicates", "outliers")


class FindingLists:
    """The lists of one collection."""

    def __init__(self, collection: ShownCollection, model: str | None, device: str) -> None:
        """Prepare lists."""
        self._collection, self._model, self._device = collection, model, device
        self._jobs = self._fresh()

    def _fresh(self) -> dict[str, Job]:
        return {"duplicates": Job(self._duplicates, "Comparing"), "outliers": Job(self._outliers, "Comparing")}

    def job(self, kind: str) -> Job:
        """Start a list, once.

        Raises:
            LookupError: there is no such list.
        """
        return self._jobs[kind].start()

    def part_them(self, rows: list[int]) -> None:
        """Remember that two images are no duplicates; the list leaves them out when it is made again.

        Raises:
            UserError: not two images, or a place that cannot be written.
        """
        require(len(rows) == 2, "The number of images", len(rows), "2")
        contents = contents_of(self._collection.reader)
        add_marks(self._collection.reader.folder, [frozenset(contents[row] for row in rows)])

    def renew(self, kind: str) -> None:
        """Make a list anew the next time it is asked for."""
        if self._jobs[kind].ended:
            self._jobs[kind] = self._fresh()[kind]

    def _duplicates(self, _: Job) -> dict[str, Any]:
        folder = self._collection.reader.folder
        found = duplicates(DuplicatesRequest(collection=folder, model=self._model, device=self._device))
        groups: dict[int, dict[str, Any]] = {}
        for row in self._rows(found, ("keep", "likeness", "kind", "group")):
            group = groups.setdefault(row["group"], {"kind": row["kind"], "images": []})
            group["images"].append(row)
        return {"groups": list(groups.values()), "notes": list(found.notes)}

    def _outliers(self, _: Job) -> dict[str, Any]:
        found = list_outliers(OutliersRequest(collection=self._collection.reader.folder))
        groups = [{"kind": "outlier", "images": [row]} for row in self._rows(found, ("distance",))]
        return {"groups": groups, "notes": list(found.notes)}

    def _rows(self, found: Findings, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Give the findings with what is known of each image; those of images that came meanwhile are left out."""
        row_of = self._collection.reader.rows.row_of
        return [
            {**self._collection.facts(row_of[one["key"]]), **{name: one[name] for name in names}}
            for one in found
            if one["key"] in row_of
        ]
