"""Cluster the images of a collection, and draw a contact sheet of each cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from viewkin.collection.clustering import Clusters, clusters, names_of
from viewkin.collection.findings import Findings, findings
from viewkin.collection.reader import Reader
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.commands.stored_images import StoredImages
from viewkin.data.decode import Readable, decode
from viewkin.figures.contact_sheet import TILES, contact_sheet
from viewkin.figures.image_sheet import to_pil
from viewkin.figures.style import check_drawable, write_figure
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.wording import counted

SIDE = 128
"""Side at which the pictures of a contact sheet are read, pixels."""


@dataclass(frozen=True, kw_only=True)
class ClustersRequest:
    """How to cluster."""

    collection: Path
    """Folder of the collection."""
    count: int | None = None
    """Number of clusters; None: chosen."""
    sheets: Path | None = None
    """Folder for a contact sheet (PNG) of each cluster; None: none are drawn."""
    seed: int = 0
    """Of the initial centres."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""


def cluster_images(request: ClustersRequest) -> Findings:
    """Cluster the images; membership is a column, with the name of the cluster where its paths have words for one.

    Raises:
        UserError: no collection, a number that does not fit, or a place that cannot be written.
    """
    check_finding_file(request.out)
    reader = opened_collection(request.collection)
    require(request.count is None or 1 <= request.count <= len(reader), "-k", request.count, f"1 to {len(reader)}")
    if request.sheets is not None:
        check_drawable()
        if request.sheets.exists() and not request.sheets.is_dir():
            raise UserError(f"--sheets {request.sheets} is a file: name a folder.")
    made = clusters(reader.vectors, request.count, request.seed)
    names = names_of(reader.rows.keys, made.number)
    rows = np.concatenate([made.members(number) for number in range(1, made.count + 1)])
    numbers: list[int] = made.number[rows].tolist()
    columns = {
        "cluster": numbers,
        "name": [names.get(number) for number in numbers],
        "similarity": made.similarity[rows].tolist(),
    }
    how = "as asked" if request.count is not None else "the number whose clusters are clearest"
    notes = [f"{counted(made.count, 'cluster')}, {how} (silhouette {made.silhouette:.2f}). Similarity: to the middle."]
    notes += [line_of(number, made, names, reader) for number in range(1, made.count + 1)]
    if request.sheets is not None:
        drawn = draw_sheets(request.sheets, reader, made, names)
        notes.append(f"{counted(drawn, 'contact sheet')} in {request.sheets}.")
    found = findings(reader, rows, columns, notes, ("key", "cluster", "name", "similarity"))
    write_findings(request.out, found)
    return found


def line_of(number: int, made: Clusters, names: dict[int, str], reader: Reader) -> str:
    """Say what a cluster is, in a line."""
    members = made.members(number)
    name = f" {names[number]}" if number in names else ""
    return f"{number}:{name} ({counted(len(members), 'image')}, most typical {reader.rows.keys[members[0]]})"


def draw_sheets(folder: Path, reader: Reader, made: Clusters, names: dict[int, str]) -> int:
    """Draw the most typical images of each cluster; gives how many sheets were drawn.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror or error}): name another folder.") from error
    images = StoredImages(reader)
    look = partial(_square, value_range=reader.manifest.value_range)
    shown: dict[int, Sequence[int]] = {n: made.members(n)[:TILES].tolist() for n in range(1, made.count + 1)}
    pictures = images.each([row for rows in shown.values() for row in rows], look, "Drawing")
    for number, rows in shown.items():
        seen = [next(pictures) for _ in rows]
        name = names.get(number, "")
        title = f"Cluster {number}{f': {name}' * bool(name)}, {counted(len(made.members(number)), 'image')}"
        sheet = contact_sheet(title, [None if one is None else to_pil(torch.from_numpy(one)) for one in seen])
        ending = re.sub(r"[^\w]+", "-", name).strip("-")
        write_figure(sheet.figure(), folder / f"cluster-{number:02d}{f'-{ending}' * bool(ending)}.png")
    return len(shown)


def _square(image: Readable, value_range: tuple[float, float] | None):
    pixels = decode(image, SIDE, value_range=value_range)
    return None if isinstance(pixels, str) else pixels
