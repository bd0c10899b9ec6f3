"""Which pictures of a set are of poor quality: limits on measures, that follow what is usual in the set.

A limit is fixed where a picture beyond it is poor in any set. Where many pictures of a set are beyond a fixed limit,
the set is like that (night photographs, X-rays), and only what is far from its own middle is listed. *Far* is counted
in deviations: 1.4826 times the median distance from the median, which a few poor pictures do not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viewkin.data.picture_quality import PictureQuality

Column = NDArray[np.float64]
FAR = 3.5
"""Deviations from the median beyond which a value is far from what is usual."""
USUAL = 0.1
"""Share of a set beyond a fixed limit from which the set is like that."""
BLURRED = 0.3
"""Blur below which no picture is called blurred."""
DARK = 52.0
"""Grey level that 95 % of the pixels of a dark picture are below."""
BRIGHT, WHITE = 124.0, 245.0
"""Grey level that 95 % of the pixels of a bright picture are above, and one that 5 % of them are above."""
PLAIN = 6.0
"""Contrast of a picture of low information, grey levels."""
ODD = 2.0
"""Factor between the aspect of a picture and the usual one that is odd in any set."""
TINY = 3.0
"""Factor between the usual side and that of a tiny picture; the side is that of a square of as many pixels."""
ISSUES = ("blurred", "dark", "bright", "low information", "odd aspect", "tiny")
"""What may be wrong with a picture."""


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong with one picture."""

    row: int
    """Row of the picture."""
    issue: str
    """One of :data:`ISSUES`."""
    value: float
    """What was measured."""
    limit: float
    """What it is beyond."""


def issues_of(seen: Sequence[PictureQuality | None], width: Column, height: Column) -> list[Issue]:
    """List what is wrong, in the order of :data:`ISSUES`, the worst first.

    Args:
        seen: measures of each picture; None where it could not be read.
        width: of each, pixels; NaN where it is not known.
        height: likewise.
    """
    blur, light, shadow, contrast = (
        np.array([np.nan if one is None else _number(getattr(one, name)) for one in seen])
        for name in ("blur", "light", "shadow", "contrast")
    )
    overexposed = np.where(light >= WHITE, shadow, np.where(np.isnan(shadow), np.nan, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        aspect, side = np.log(width / height), np.log(width * height) / 2
    middle = float(np.nanmedian(aspect)) if np.isfinite(aspect).any() else 0.0
    found = [
        *_above("blurred", blur, max(BLURRED, _far(blur))),
        *_below("dark", light, _limit(light, DARK, above=False)),
        *_above("bright", overexposed, _limit(overexposed, BRIGHT, above=True)),
        *_below("low information", contrast, _limit(contrast, PLAIN, above=False)),
        *_above("odd aspect", np.abs(aspect - middle), max(np.log(ODD), _far(np.abs(aspect - middle)))),
        *_below("tiny", side, _middle(side) - np.log(TINY)),
    ]
    return [_readable(one) for one in found]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _middle(values: Column) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0


def deviation(values: Column) -> float:
    """Give the deviation of values: 1.4826 times the median distance from the median."""
    known = values[np.isfinite(values)]
    return 1.4826 * float(np.median(np.abs(known - np.median(known)))) if len(known) else 0.0


def _far(values: Column, sign: int = 1) -> float:
    return _middle(values) + sign * FAR * deviation(values)


def _limit(values: Column, fixed: float, *, above: bool) -> float:
    """Give the fixed limit, or where many values are beyond it, one that is far from the middle."""
    known = values[np.isfinite(values)]
    beyond = (known > fixed).mean() if above and len(known) else (known < fixed).mean() if len(known) else 0.0
    if beyond <= USUAL:
        return fixed
    return max(fixed, _far(values)) if above else min(fixed, _far(values, -1))


def _above(issue: str, values: Column, limit: float) -> list[Issue]:
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(values > limit)
    return [
        Issue(row, issue, float(values[row]), float(limit)) for row in sorted(rows.tolist(), key=lambda r: -values[r])
    ]


def _below(issue: str, values: Column, limit: float) -> list[Issue]:
    return [Issue(one.row, issue, -one.value, float(limit)) for one in _above(issue, -values, -limit)]


def _readable(one: Issue) -> Issue:
    """Write a logarithm as the factor or the side in pixels that it stands for."""
    if one.issue not in ("odd aspect", "tiny"):
        return one
    return Issue(one.row, one.issue, float(np.exp(one.value)), float(np.exp(one.limit)))
