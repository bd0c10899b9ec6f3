"""Maps: embeddings in the plane, so that what lies close together is alike."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from viewkin.errors import UserError
from viewkin.figures.axes import Axes, padded
from viewkin.figures.canvas import FAINT, Canvas, Colour, Dot, Line, Shape, Text, legend, sign_of, signs

PERPLEXITY = 30.0
"""Effective number of neighbours that t-SNE keeps close (METHODS 8.8)."""
SIDE, GAP = 420.0, 24.0
OTHER = "others"
Group = tuple[str, Colour, Shape]


def tsne(rows: Tensor, *, seed: int = 0) -> Tensor:
    """Place rows (N, D) in the plane by t-SNE from their first two principal components: (N, 2).

    openTSNE where it is installed, for it is faster, else scikit-learn. Fewer than 91 rows take a third of their
    number for the perplexity, as neither takes more.

    Raises:
        UserError: fewer than five rows.

    References:
        van der Maaten and Hinton, Visualizing data using t-SNE, 2008.
    """
    if len(rows) < 5:
        raise UserError(f"A map needs at least 5 images, not {len(rows)}.")
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    points = rows.detach().cpu().float().numpy()
    found = _optional("openTSNE")
    if found is not None:
        return _tensor(found.TSNE(perplexity=perplexity, initialization="pca", random_state=seed).fit(points))
    slower = importlib.import_module("sklearn.manifold")  # here, for it is slow to import
    return _tensor(slower.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points))


def umap(rows: Tensor, *, seed: int = 0) -> Tensor:
    """Place rows (N, D) in the plane by UMAP with 15 neighbours by cosine: (N, 2).

    Raises:
        UserError: fewer than five rows, or umap-learn is not installed.

    References:
        McInnes, Healy and Melville, UMAP, 2018.
    """
    if len(rows) < 5:
        raise UserError(f"A map needs at least 5 images, not {len(rows)}.")
    found = _optional("umap")
    if found is None:
        raise UserError("A UMAP map needs umap-learn; install it with pip install 'viewkin[umap]', or take t-SNE.")
    neighbours = min(15, len(rows) - 1)
    reducer = found.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
    return _tensor(reducer.fit_transform(rows.detach().cpu().float().numpy()))


PROJECTIONS = {"tsne": tsne, "umap": umap}
"""Name to function."""


def grouped(names: Sequence[str]) -> tuple[list[int], list[Group]]:
    """Sort points into groups that can be told apart, in the order of their names.

    Args:
        names: one a point; empty where it has none.

    Returns:
        The group of each point, and what each group is called and looks like. Of more groups than there are signs,
        the largest keep one; the rest, and points without a name, share grey.
    """
    known = {name: names.count(name) for name in sorted(set(names) - {""}, key=_natural)}
    kept = sorted(known, key=lambda name: -known[name])[: signs()] if len(known) > signs() else list(known)
    entries: list[Group] = [(name, *sign_of(place)) for place, name in enumerate(sorted(kept, key=_natural))]
    places = {entry[0]: place for place, entry in enumerate(entries)}
    found = [places.get(name, len(entries)) for name in names]
    if len(entries) in found:
        entries.append((OTHER, (170, 174, 180), "circle"))
    return found, entries


def draw_maps(
    panels: Sequence[tuple[str, Tensor]], names: Sequence[str], *, by: str, owner: Tensor | None = None
) -> Canvas:
    """Draw maps of the same points side by side, with one legend.

    Args:
        panels: title and places (N, 2) each.
        names: what each point is coloured by.
        by: what that is, for the legend.
        owner: (N,) the image that each point is a view of; its views are joined by lines to their middle.
    """
    groups, entries = grouped(names)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    width = columns * (SIDE + GAP) + GAP
    key, tall = legend(entries, GAP, rows * (SIDE + GAP + 28) + GAP + 10, width - 2 * GAP)
    canvas = Canvas(width, rows * (SIDE + GAP + 28) + GAP + tall + 14)
    for place, (title, points) in enumerate(panels):
        left, top = GAP + place % columns * (SIDE + GAP), 38 + place // columns * (SIDE + GAP + 28)
        x, y = points[:, 0].tolist(), points[:, 1].tolist()
        panel = Axes(x=left, y=top, width=SIDE, height=SIDE, x_range=padded(x), y_range=padded(y))
        canvas.add(*panel.frame(title))
        if owner is not None:
            canvas.add(*_spokes(panel, points, owner, [entries[group][1] for group in groups]))
        size = 3.2 if len(x) <= 1500 else 2.2
        canvas.add(*(Dot(*panel.at(a, b), *entries[g][1:], size, 0.8) for a, b, g in zip(x, y, groups)))
    canvas.add(Text(GAP, rows * (SIDE + GAP + 28) + GAP - 4, f"coloured by {by}", 12, colour=FAINT), *key)
    return canvas


def _spokes(panel: Axes, points: Tensor, owner: Tensor, colours: Sequence[Colour]) -> list[Line]:
    """Lines from the views of each image to their middle."""
    lines: list[Line] = []
    for image in owner.unique():
        rows = (owner == image).nonzero().squeeze(1).tolist()
        middle = panel.at(*points[rows].mean(0).tolist())
        lines += [Line((panel.at(*points[row].tolist()), middle), colours[row], 1.0, 0.5) for row in rows]
    return lines


def _natural(name: str) -> tuple[int, str]:
    """Sort numbers by size, then names."""
    return (int(name), "") if name.isdecimal() else (10**9, name)


def _tensor(points: Any) -> Tensor:
    return torch.from_numpy(np.asarray(points, dtype=np.float32).copy())


def _optional(module: str) -> Any:
    """Import a module that may be missing or broken."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError):
        return None
