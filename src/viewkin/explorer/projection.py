"""A plane map of a collection: t-SNE, UMAP or principal components, with progress.

Letters: N images, D numbers of a vector.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.explorer.jobs import Job, StoppedError
from viewkin.runtime.errors import UserError, require

METHODS = ("tsne", "umap", "pca")
"""Ways to draw a map, the preferred one first."""
MODULES = {"tsne": "openTSNE", "umap": "umap"}
"""What each needs."""
LEAST = 20
"""Images below which a map is drawn by principal components."""
PERPLEXITY = 30
EXAGGERATED, ROUNDS, EVERY = 250, 500, 10
"""Rounds of t-SNE with and without exaggeration (openTSNE's defaults), and rounds between two reports."""
COMPONENTS = 50
"""Principal components that t-SNE and UMAP see; more change a map little and cost time."""
MARGIN = 0.92
"""Share of the half side of the map that its farthest point reaches."""


def method_for(wanted: str, count: int) -> str:
    """Choose how to draw a map.

    Args:
        wanted: one of :data:`METHODS`, or ``auto``: t-SNE where openTSNE is installed, else UMAP, else components.
        count: number of images.

    Raises:
        UserError: an unknown way, or one whose library is not installed.
    """
    require(wanted in ("auto", *METHODS), "--map", wanted, f"auto, {', '.join(METHODS)}")
    if wanted != "auto":
        if wanted in MODULES and importlib.util.find_spec(MODULES[wanted]) is None:
            extra = {"tsne": "explore", "umap": "umap"}[wanted]
            raise UserError(
                f"--map {wanted} needs {MODULES[wanted]}: pip install 'viewkin[{extra}]', or take --map pca."
            )
        return wanted if count >= LEAST else "pca"
    there = [name for name, module in MODULES.items() if importlib.util.find_spec(module) is not None]
    return there[0] if there and count >= LEAST else "pca"


def project(vectors: NDArray[np.float32], method: str, job: Job, seed: int = 0) -> NDArray[np.float32]:
    """Map vectors (N, D) to the plane (N, 2), within the square from -1 to 1.

    Args:
        vectors: unit norm.
        method: one of :data:`METHODS`.
        job: told how far it is.
        seed: of the initial places.

    Raises:
        StoppedError: the job was stopped.
    """
    if method == "pca":
        return framed(principal(vectors, 2))
    reduced = principal(vectors, COMPONENTS)
    return framed((_tsne if method == "tsne" else _umap)(reduced, job, seed))


def principal(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Give the first principal components of vectors (N, D): (N, min(count, D)), filled up to two by zeros."""
    rows = torch.from_numpy(vectors)
    rows = rows - rows.mean(0)
    values, axes = torch.linalg.eigh((rows.T @ rows).double() / max(1, len(rows)))
    axes = axes[:, values.argsort(descending=True)[:count]].float()
    axes = (
        axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    )  # one of the two directions, always the same
    found = (rows @ axes).numpy()
    missing = 2 - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing))) if missing > 0 else found


def framed(points: NDArray[Any]) -> NDArray[np.float32]:
    """Move and scale points (N, 2) into the square from -1 to 1, both directions alike."""
    points = np.asarray(points, dtype=np.float64)
    low, high = points.min(0), points.max(0)
    half = float((high - low).max()) / 2
    return ((points - (low + high) / 2) * (MARGIN / half if half > 0 else 0.0)).astype(np.float32)


def _tsne(rows: NDArray[np.float32], job: Job, seed: int) -> NDArray[Any]:
    """Map rows by t-SNE, initialised by their first two components.

    References:
        van der Maaten and Hinton, Visualizing data using t-SNE, 2008.
        Poličar, Stražar and Zupan, openTSNE, 2024.
    """
    done = 0

    def told(*_: Any) -> bool:
        nonlocal done
        done += EVERY
        job.description, job.done, job.total = "Drawing the map", done, EXAGGERATED + ROUNDS
        if job.stopped:
            raise StoppedError
        return False

    job.description = "Finding neighbours"
    library = importlib.import_module("openTSNE")
    tsne = library.TSNE(
        perplexity=min(PERPLEXITY, (len(rows) - 1) / 3),
        initialization="pca",
        early_exaggeration_iter=EXAGGERATED,
        n_iter=ROUNDS,
        n_jobs=torch.get_num_threads(),
        random_state=seed,
        callbacks=told,
        callbacks_every_iters=EVERY,
    )
    return np.asarray(tsne.fit(rows))


def _umap(rows: NDArray[np.float32], job: Job, seed: int) -> NDArray[Any]:
    """Map rows by UMAP with 15 neighbours.

    References:
        McInnes, Healy and Melville, UMAP, 2018.
    """
    job.description = "Finding neighbours"
    library = importlib.import_module("umap")
    shown = {"disable": False, "file": Rounds(job), "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.2}
    umap = library.UMAP(n_neighbors=min(15, len(rows) - 1), random_state=seed, n_jobs=1, tqdm_kwds=shown)
    return umap.fit_transform(rows)


class Rounds:
    """Takes the bar of UMAP's rounds, which it can only write to a file, and tells a job of it."""

    def __init__(self, job: Job) -> None:
        """Take a job."""
        self._job = job

    def write(self, text: str) -> int:
        """Take a line such as ``12/200``.

        Raises:
            StoppedError: the job was stopped.
        """
        if self._job.stopped:
            raise StoppedError
        done, _, total = text.strip().partition("/")
        if done.isdecimal() and total.isdecimal():
            self._job.description, self._job.done, self._job.total = "Drawing the map", int(done), int(total)
        return len(text)

    def flush(self) -> None:
        """Do nothing: there is no file."""
