"""Test embeddings of a campaign's headline runs, small enough for git, and what anyone can compute from them.

Half of float32's bits are kept, and at most ``MOST`` bytes: 10,000 images of 128 numbers. The file takes about 2.2 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin.campaigns.measured import place_of
from viewkin.collection.embeddings import read_embeddings
from viewkin.commands.campaign_plan import CampaignPlan
from viewkin.evaluation.probes.knn import votes
from viewkin.evaluation.results import read_results
from viewkin.evaluation.retrieval import RetrievalConfig, retrieval
from viewkin.ops.neighbours import top_k
from viewkin.runs.record import short
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

KEPT_EMBEDDINGS = "test-embeddings.parquet"
"""Name of the file in a run's folder of results."""
MOST = 2_560_000
"""Bytes of the numbers that are kept."""
K, TEMPERATURE = 200, 0.1
"""Neighbours that vote, and sigma of their votes."""
NEAR = 0.1
"""Points by which rounding to half precision may move Recall@1."""


@dataclass(frozen=True)
class Recomputed:
    """What the kept embeddings of a run give."""

    row: str
    """Name of the row."""
    seed: int
    """Its seed."""
    images: int
    """Test images that were kept."""
    knn: float
    """kNN (200), percent: every image judged by the other test images."""
    recall: float
    """R@1 among these images, percent."""
    recorded: float | None
    """R@1 in the run's results; None: of other images, so that it need not be the same."""

    @property
    def agrees(self) -> bool:
        """Whether R@1 is what the results say."""
        return self.recorded is None or abs(self.recall - self.recorded) <= NEAR


def keep_embeddings(file: Path, kept: Path) -> Path:
    """Keep test embeddings in half precision: a label and the unit vector of each image, in the order of the file.

    Args:
        file: what ``viewkin embed RUN DATA --split test --features embedding --out FILE`` wrote.
        kept: folder of the run's results.

    Returns:
        The file that was written.

    Raises:
        UserError: no such embeddings, or none with labels.
    """
    given = read_embeddings(file)
    if given.labels is None or bool((given.labels < 0).any()):
        raise UserError(f"{file} has images without a label; embed the labelled test images.")
    count = min(len(given), MOST // (2 * given.embeddings.shape[1]))
    rows = F.normalize(given.embeddings[:count], dim=1).to(torch.float16).numpy()
    width = rows.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), pa.float16()), width)
    labels = pa.array(given.labels[:count].numpy().astype(np.int16))
    place = kept / KEPT_EMBEDDINGS
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with replacing(place) as part:
            # Bytes of equal weight side by side compress by a sixth; as they are, hardly.
            pq.write_table(
                pa.table({"label": labels, "embedding": vectors}),
                part,
                compression="zstd",
                compression_level=9,
                use_dictionary=False,
                use_byte_stream_split=["embedding.list.element"],  # pyright: ignore[reportArgumentType]
            )
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror}); choose a place you may write to.") from error
    return place


def keep_of(plan: CampaignPlan, file: Path) -> Path:
    """Keep the embeddings of the one run that a plan has chosen.

    Raises:
        UserError: it has chosen several, or the file is no such embeddings.
    """
    if len(plan.chosen) != 1:
        raise UserError("--embeddings takes one run: name it with --rows ROW --seeds N.")
    ((row, seed),) = plan.chosen
    place = place_of(plan.results, row.name, seed)
    if not place.is_dir():
        raise UserError(f"{place} is not there; the embeddings are kept beside the results of the run.")
    return keep_embeddings(file, place)


def read_kept(file: Path) -> tuple[Tensor, Tensor]:
    """Read kept embeddings: vectors (N, D) float32 and labels (N,) int64.

    Raises:
        UserError: it is damaged, or no such file.
    """
    try:
        table = pq.read_table(file)
        flat = np.asarray(table["embedding"].combine_chunks().flatten(), np.float32)
        labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
        vectors = torch.from_numpy(flat.reshape(len(labels), -1).copy())
    except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{file} holds no kept embeddings; restore it from a copy.") from error
    return vectors, labels


def leave_one_out(vectors: Tensor, labels: Tensor) -> float:
    """Judge every image by the weighted vote of its nearest neighbours among the others, in percent."""
    unit = F.normalize(vectors, dim=1)
    near = min(K, len(unit) - 1)
    similarity, index = top_k(unit, unit, near, exclude_self=True)
    (_, score), *_ = votes(similarity, labels[index], int(labels.max()) + 1, (near,), TEMPERATURE)
    return 100 * float((score.argmax(1) == labels).float().mean())


def recompute(plan: CampaignPlan) -> list[Recomputed]:
    """Compute kNN and R@1 from all kept embeddings of a campaign, and set the recorded R@1 beside.

    Raises:
        UserError: none were kept, or a file is damaged.
    """
    found: list[Recomputed] = []
    for row, seed in plan.chosen:
        place = place_of(plan.results, row.name, seed)
        if not (place / KEPT_EMBEDDINGS).is_file():
            continue
        vectors, labels = read_kept(place / KEPT_EMBEDDINGS)
        recall = 100 * retrieval(RetrievalConfig(k=(1,)), vectors, labels, progress=False).recall[1]
        recorded = _recorded(place / "evaluation-retrieval-embedding.json", len(labels))
        found.append(Recomputed(row.name, seed, len(labels), leave_one_out(vectors, labels), recall, recorded))
    if not found:
        raise UserError(f"No run in {plan.results} has kept embeddings ({KEPT_EMBEDDINGS}).")
    return found


def _recorded(file: Path, images: int) -> float | None:
    """Read R@1 of the embedding, if it is of as many test images."""
    if not file.is_file():
        return None
    for result in read_results(file):
        if short(result.model) == "embedding" and result.data.endswith(f": {images:,} test"):
            return result.values.get("R@1")
    return None
