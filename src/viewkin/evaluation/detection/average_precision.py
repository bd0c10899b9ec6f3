"""Average precision of detected boxes, by VOC 2007's rule and by COCO's: arrays in, numbers out.

Letters: G true boxes of an image; D detections in an image; M detections of one class over all images. Boxes are
(x1, y1, x2, y2) in pixels, continuous: the width is x2 - x1. Precisions are fractions from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["voc07", "coco"]
"""``voc07``: 11 recalls, overlap above the threshold. ``coco``: 101 recalls, overlap of at least the threshold."""
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Overlap thresholds 0.50, 0.55, ..., 0.95; AP is the mean over them."""
MAX_DETECTIONS = 100
"""COCO's rule evaluates at most so many detections of a class in an image: those with the highest scores."""

Boxes = NDArray[np.float64]
TRUE, FALSE, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class Truth:
    """The true boxes of one image."""

    boxes: Boxes
    """(G, 4)."""
    labels: NDArray[np.int64]
    """(G,) class."""
    ignored: NDArray[np.bool_]
    """(G,) whether detecting a box counts neither as right nor as wrong: VOC's difficult objects, COCO's crowds."""
    crowd: NDArray[np.bool_] | None = None
    """(G,) whether a box holds a crowd, which any number of detections may match; None: none does."""

    def select(self, rows: NDArray[np.bool_]) -> Truth:
        """Return the true boxes where ``rows`` (G,) is true."""
        crowd = None if self.crowd is None else self.crowd[rows]
        return Truth(self.boxes[rows], self.labels[rows], self.ignored[rows], crowd)


@dataclass(frozen=True)
class Detections:
    """The boxes that a detector reports in one image."""

    boxes: Boxes
    """(D, 4)."""
    labels: NDArray[np.int64]
    """(D,) class."""
    scores: NDArray[np.float64]
    """(D,) confidence; larger is more certain."""


def overlaps(detected: Boxes, true: Boxes, crowd: NDArray[np.bool_] | None = None) -> Boxes:
    """Intersection over union of every detection with every true box: (D, 4), (G, 4) -> (D, G); 0 without area.

    For a true box that is a ``crowd`` (G,), it is the intersection over the detection's own area, as in pycocotools.
    """
    low = np.maximum(detected[:, None, :2], true[None, :, :2])
    high = np.minimum(detected[:, None, 2:], true[None, :, 2:])
    shared = (high - low).clip(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1) for boxes in (detected, true)]
    union = areas[0][:, None] + areas[1][None] - shared
    if crowd is not None:
        union = np.where(crowd[None], areas[0][:, None], union)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match_voc(overlap: Boxes, ignored: NDArray[np.bool_], threshold: float) -> NDArray[np.int64]:
    """Judge the detections of one class in one image by VOC's rule: (D,) of 1 true, 0 false, -1 ignored.

    A detection claims the true box that it overlaps most, even if that box is already taken. It is true if the overlap
    is *above* the threshold and no detection with a higher score claimed the box. Claiming an ignored box counts
    neither as true nor as false.

    Args:
        overlap: (D, G), detections in falling order of score.
        ignored: (G,).
        threshold: least overlap.

    References:
        Everingham et al., The PASCAL Visual Object Classes Challenge 2007 development kit, section 4.4, VOCevaldet.m.
    """
    verdict = np.full(len(overlap), FALSE, np.int64)
    taken = np.zeros(overlap.shape[1], np.bool_)
    for row, shared in enumerate(overlap if overlap.shape[1] else ()):
        best = int(shared.argmax())
        if shared[best] <= threshold:
            continue
        if ignored[best]:
            verdict[row] = IGNORED
        elif not taken[best]:
            verdict[row], taken[best] = TRUE, True
    return verdict


def match_coco(
    overlap: Boxes, ignored: NDArray[np.bool_], threshold: float, crowd: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Judge the detections of one class in one image by COCO's rule: (D,) of 1 true, 0 false, -1 ignored.

    A detection takes the free true box that it overlaps most, by *at least* the threshold. It takes an ignored box only
    if no other is left. A box is taken once, a crowd any number of times.

    Args:
        overlap: (D, G), detections in falling order of score.
        ignored: (G,).
        threshold: least overlap.
        crowd: (G,) crowds, which are among the ignored; None: none.

    References:
        Lin et al., Microsoft COCO, 2014, and the released cocoeval.py, evaluateImg.
    """
    verdict = np.full(len(overlap), FALSE, np.int64)
    free = np.ones(overlap.shape[1], np.bool_)
    for row, shared in enumerate(overlap):
        for kind, value in ((~ignored, TRUE), (ignored, IGNORED)):
            candidates = free & kind & (shared >= min(threshold, 1 - 1e-10))
            if candidates.any():
                # The released code takes the last of equal overlaps.
                best = len(shared) - 1 - int(np.where(candidates, shared, -1)[::-1].argmax())
                free[best], verdict[row] = crowd is not None and crowd[best], value
                break
    return verdict


def precision_recall(verdict: NDArray[np.int64], positives: int) -> tuple[Boxes, Boxes]:
    """Precision and recall after each detection that counts.

    Args:
        verdict: (M,) of 1 true, 0 false, -1 ignored, in falling order of score.
        positives: number of true boxes that count.

    Returns:
        Two arrays, with one number for each verdict that is not ignored.
    """
    counted = verdict[verdict != IGNORED]
    right = counted.cumsum()
    return right / np.arange(1, len(counted) + 1), right / max(positives, 1)


def average_precision(precision: Boxes, recall: Boxes, rule: Rule) -> float:
    """Mean over recall levels r of ``max {p_j : recall_j >= r}``, 0 where no detection reaches r.

    Args:
        precision: (M,).
        recall: (M,), not falling.
        rule: ``voc07``: r of 0, 0.1, ..., 1; ``coco``: r of 0, 0.01, ..., 1. A recall of 3/10 reaches 0.3. The released
            codes compute their levels by repeated addition; some levels end up a rounding error too high, so that such
            a recall does not reach them.

    References:
        Everingham et al., The PASCAL Visual Object Classes Challenge, 2010, section 4.2; Lin et al., 2014.
    """
    steps = 10 if rule == "voc07" else 100
    levels = np.arange(steps + 1) / steps
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, levels, side="left")].mean())


def class_precision(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    label: int,
    rule: Rule,
    thresholds: Sequence[float] = THRESHOLDS,
) -> NDArray[np.float64]:
    """Average precision of one class at each threshold: (T,); NaN for a class without a true box that counts."""
    positives = sum(int(((one.labels == label) & ~one.ignored).sum()) for one in truths)
    if not positives:
        return np.full(len(thresholds), math.nan)
    scores: list[NDArray[np.float64]] = []
    verdicts: list[NDArray[np.int64]] = []
    for truth, detected in zip(truths, detections):
        rows = np.flatnonzero(detected.labels == label)
        order = rows[np.argsort(-detected.scores[rows], kind="stable")][: MAX_DETECTIONS if rule == "coco" else None]
        scores.append(detected.scores[order])
        verdicts.append(_match(truth.select(truth.labels == label), detected.boxes[order], rule, thresholds))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    judged = np.concatenate(verdicts, axis=1)[:, order]
    return np.array([average_precision(*precision_recall(row, positives), rule) for row in judged])


def _match(true: Truth, boxes: Boxes, rule: Rule, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Judge the detections (D, 4) of one class in one image, in falling order of score, at each threshold: (T, D)."""
    if rule == "voc07":
        overlap = overlaps(boxes, true.boxes)
        return np.array([match_voc(overlap, true.ignored, t) for t in thresholds])
    overlap = overlaps(boxes, true.boxes, true.crowd)
    return np.array([match_coco(overlap, true.ignored, t, true.crowd) for t in thresholds])


@dataclass(frozen=True, kw_only=True)
class BoxPrecision:
    """Average precision of every class at every threshold."""

    table: NDArray[np.float64]
    """(C, T) fractions; NaN in the rows of classes without a true box."""

    @property
    def ap(self) -> float:
        """AP: mean over thresholds and classes."""
        return float(np.nanmean(self.table))

    def at(self, threshold: float) -> float:
        """Mean over classes at one of ``THRESHOLDS``: AP50 at 0.5, AP75 at 0.75."""
        return float(np.nanmean(self.table[:, THRESHOLDS.index(threshold)]))

    def overall(self) -> dict[str, float]:
        """Name to percent, mean over classes: AP50, AP, AP75."""
        return {"AP50": 100 * self.at(0.5), "AP": 100 * self.ap, "AP75": 100 * self.at(0.75)}

    def values(self, classes: Sequence[str]) -> dict[str, float]:
        """Name to percent, as the papers print them: AP50, AP, AP75, then AP of each class that has a box."""
        each = {name: 100 * float(row.mean()) for name, row in zip(classes, self.table)}
        return {**self.overall(), **{f"AP {name}": value for name, value in each.items() if not math.isnan(value)}}


def box_precision(truths: Sequence[Truth], detections: Sequence[Detections], classes: int, rule: Rule) -> BoxPrecision:
    """Measure detections (one :class:`Detections` an image) against the truth (one :class:`Truth` an image).

    Classes without a true box that counts are left out of the means; at least one class must have one.
    """
    return BoxPrecision(table=np.stack([class_precision(truths, detections, label, rule) for label in range(classes)]))
