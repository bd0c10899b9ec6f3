"""Images that a term of the collection's run took for kin or negatives, as far as the run left evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viewkin.collection.reader import Reader
from viewkin.data.frozen_listing import read_listing
from viewkin.figures.evidence import EVIDENCE_FILE, RelatedImages, read_related
from viewkin.runs.plan import LISTING
from viewkin.runtime.errors import UserError

SHOWN = 24
"""Images of each kind that are shown."""


@dataclass(frozen=True)
class Kin:
    """The evidence of one run, by row of the collection."""

    keys: list[str]
    """Keys of the images that the run learnt from; positions in the evidence refer to them."""
    related: dict[int, list[RelatedImages]]
    """Row to what its image was related to."""
    note: str | None = None
    """Why there is none."""

    def of(self, row: int, reader: Reader) -> list[dict[str, Any]]:
        """Give the images that were related to a row's image, one entry for each kind."""
        row_of = reader.rows.row_of
        found: list[dict[str, Any]] = []
        for one in self.related.get(row, []):
            similarities = one.similarities or (None,) * len(one.images)
            # Negatives are drawn with replacement: each image is shown once.
            values = {self.keys[image]: value for image, value in zip(one.images, similarities) if self._has(image)}
            pairs = list(values.items())[:SHOWN]
            images = [{"key": key, "row": row_of.get(key), "similarity": value} for key, value in pairs]
            found.append({"what": one.what, "negatives": one.negatives, "images": images})
        return found

    def _has(self, image: int) -> bool:
        return 0 <= image < len(self.keys)


def kin_of(reader: Reader) -> Kin:
    """Read what the run of a collection's model left; nothing where the model is no run or left nothing."""
    place = Path(reader.manifest.model.place)
    run = place if place.is_dir() else place.parent
    if not (run / EVIDENCE_FILE).is_file():
        return Kin([], {}, f"The run of the model left no evidence ({EVIDENCE_FILE}): its method relates no images.")
    try:
        keys, finds = read_listing(run / LISTING).keys, read_related(run / EVIDENCE_FILE)
    except UserError as error:
        return Kin([], {}, str(error))
    related: dict[int, list[RelatedImages]] = {}
    for find in finds:
        row = reader.rows.row_of.get(find.path)
        if row is not None:
            related.setdefault(row, []).append(find)
    note = None if related else "The run learnt from other images than those of the collection."
    return Kin(keys, related, note)
