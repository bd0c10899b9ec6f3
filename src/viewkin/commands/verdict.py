"""Whether a run has learnt something, in a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from viewkin.evaluation.results import Result

LEARNT = "Learnt: "
"""How a sentence begins that says that something was learnt."""
MARGIN = 1.0
"""Percentage points by which training must beat what needs none, on any number of images."""
DEVIATIONS = 2.0
"""Standard errors of an accuracy by which it must."""
START, TRAINED = "weights it started from", "trained"


def of_neighbours(results: Sequence[Result], classes: int, *, smoke: bool = False) -> str:
    """Say what a comparison by kNN shows.

    Args:
        results: chance, raw pixels, the untrained network and the backbone, as far as they were judged.
        classes: number of classes.
        smoke: whether the run was one of ``--smoke``.
    """
    values = {result.model.partition(",")[0]: next(iter(result.values.values())) for result in results}
    names = {"chance": "chance", "raw pixels": "raw pixels", "untrained": "untrained network"}
    names |= {"start": START, "backbone": TRAINED}
    shares = {name: values[model] for model, name in names.items() if model in values}
    said = ", ".join(f"{name} {value:.1f} %" for name, value in shares.items())
    task = f"naming one of {classes} classes by nearest neighbours: {said}."
    return said_of(shares, images_judged(results[0].data), task, smoke=smoke)


def of_matching(
    trained: float, untrained: float, count: int, *, start: float | None = None, smoke: bool = False
) -> str:
    """Say what the matching of two views of one image shows.

    Args:
        trained: percentage of images that the trained network matches.
        untrained: the same of the untrained one.
        count: images among which each is sought.
        start: the same percentage of the weights that training started from; None: it started from none.
        smoke: whether the run was one of ``--smoke``.
    """
    chance = 100 / count
    begun = "" if start is None else f"the {START} {start:.1f} %, "
    task = (
        f"of two views of one image among {count}, the network matches {trained:.1f} %; {begun}"
        f"untrained {untrained:.1f} %, by chance {chance:.1f} %."
    )
    shares = {"chance": chance, "untrained network": untrained, TRAINED: trained}
    shares |= {} if start is None else {START: start}
    return said_of(shares, count, task, smoke=smoke)


def said_of(shares: Mapping[str, float], count: int | None, task: str, *, smoke: bool) -> str:
    """Judge a comparison, and say what to try where it shows nothing.

    Args:
        shares: percentages by what gave them, ``trained`` among them.
        count: images that were judged; None: not known.
        task: the comparison in words.
        smoke: whether the run was one of ``--smoke``.
    """
    trained = shares[TRAINED]
    ahead = trained - max((value for name, value in shares.items() if name != TRAINED), default=0.0)
    needed = max(MARGIN, DEVIATIONS * standard_error(trained, count))
    if ahead >= needed or (trained >= 100 and ahead >= MARGIN):
        return LEARNT + task
    advice = "train without --smoke" if smoke else "try more epochs (--epochs), more images, or another --recipe"
    if ahead >= MARGIN:
        return (
            f"It is not certain yet that something was learnt: {task} With {count:,} images, a lead of less than "
            f"{needed:.0f} points may be chance; {advice}, or judge on more images."
        )
    if START in shares and shares[START] > max(shares["chance"], shares["untrained network"]):
        return f"Training has not improved on the {START}: {task} Use these as they are, or {advice}."
    return f"Nothing was learnt yet: {task} To learn more, {advice}."


def standard_error(percent: float, count: int | None) -> float:
    """Compute the standard error of a share measured on ``count`` images, in percentage points."""
    share = min(max(percent / 100, 0.0), 1.0)
    return 100 * math.sqrt(share * (1 - share) / count) if count else 0.0


def images_judged(data: str) -> int | None:
    """Read from what a result says of its images how many were judged; None where it does not say."""
    found = re.search(r": (?:[\d,]+ \S+, )?([\d,]+) [^:]*(?: of the classes .*)?$", data)
    return int(found[1].replace(",", "")) if found else None
