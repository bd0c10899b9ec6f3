"""A map of a collection in a notebook."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch

from viewkin.api.collection import Collection
from viewkin.api.notebook import progress_where_seen
from viewkin.collection.reader import Reader
from viewkin.explorer.columns import columns_of, read_columns
from viewkin.explorer.stored_map import MapOfCollection
from viewkin.figures.maps import draw_maps
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar

NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}


def explore(
    collection: Collection | Path | str,
    *,
    colour: str | None = None,
    columns: Path | str | None = None,
    map: str = "auto",
    static: bool = False,
) -> Any:
    """Show the map of a collection in a notebook; ``viewkin explore`` shows all of it in a browser.

    With jupyter-scatter the map moves, zooms and selects (``scatter.selection()``); without it, it is a figure.

    Args:
        collection: an opened collection, or its folder.
        colour: column to colour by: ``label``, ``folder``, ``split``, ``width``, ``height``, ``size``, or one of
            ``columns``; None: the label, or the folder where there are no labels.
        columns: CSV or Parquet file with a column ``key`` and more columns, such as ``viewkin clusters`` writes.
        map: ``tsne``, ``umap``, ``pca``, or ``auto``: the first of them that is installed.
        static: give a figure also where jupyter-scatter is installed.

    Returns:
        A ``jscatter.Scatter``, or a figure of matplotlib.

    Raises:
        UserError: no collection, no images in it, no such column, or a kind of map that is not installed.
    """
    path = collection.path if isinstance(collection, Collection) else Path(collection)
    reader = Reader(path)
    if not len(reader):
        raise UserError(f"{path} holds no images: fill it by `viewkin embed MODEL IMAGES --to {path}`.")
    known = columns_of(reader)
    if columns is not None:
        known |= read_columns(Path(columns), reader)
    name = colour or next((one for one in ("label", "top folder", "folder") if one in known), None)
    if name is not None and name not in known:
        raise UserError(f"There is no column {name!r} to colour by: there are {', '.join(known)}.")
    with progress_where_seen(), progress_bar("Drawing the map", None):
        plane = MapOfCollection(reader, map).made()
    values = known[name] if name is not None else [None] * len(reader)
    if not static and importlib.util.find_spec("jscatter") is not None:
        return _moving(reader, plane.points, name, values)
    shown = ["" if value is None else str(value) for value in values]
    title = f"{path.name}, {NAMES[plane.method]}"
    return draw_maps([(title, torch.from_numpy(plane.points))], shown, by=name or "nothing")


def _moving(reader: Reader, points: Any, name: str | None, values: list[Any]) -> Any:
    """Make the widget of jupyter-scatter, which draws by the same library as the page."""
    pandas, jscatter = importlib.import_module("pandas"), importlib.import_module("jscatter")
    frame = pandas.DataFrame({"x": points[:, 0], "y": points[:, 1], "key": reader.rows.keys})
    scatter = jscatter.Scatter(data=frame, x="x", y="y", height=560)
    if name is not None:
        numbers = all(value is None or isinstance(value, float | int) for value in values) and len(set(values)) > 20
        frame[name] = values if numbers else pandas.Categorical(["" if one is None else str(one) for one in values])
        scatter.color(by=name)
    return scatter.tooltip(enable=True, properties=["key", *([name] if name is not None else [])])
