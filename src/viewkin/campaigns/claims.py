"""Whether a claim of a paper held here: decided by pairs of runs with the same seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from viewkin.campaigns.campaign import Observation
from viewkin.runtime.wording import counted

Verdict = Literal["held", "did not hold", "cannot be told"]
POINTS = 1.0
"""Percentage points that a claim needs on average, in every measure that decides."""
SEEDS = 2
"""Seeds that a verdict needs: one pair of runs cannot tell a difference from chance."""
Values = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Row, then seed, then key of a column, to what was measured, percent."""


@dataclass(frozen=True)
class Decision:
    """What became of a claim."""

    observation: Observation
    """The claim."""
    verdict: Verdict
    """Whether it held."""
    sentence: str
    """The differences, or why it cannot be told."""
    pairs: int
    """Seeds that both rows were run with."""


def decide(
    observation: Observation, values: Values, seeds: Sequence[int], measures: Sequence[str], titles: Mapping[str, str]
) -> Decision:
    """Decide a claim.

    It *held* if the difference has the claimed sign in every seed and is more than one point on average, in every
    measure. It *did not hold* if some measure has the other sign in every seed, or the claimed sign and a mean of one
    point or less. It *cannot be told* if runs are missing, or if no measure speaks against it and the sign of one
    differs between seeds.

    Args:
        observation: the claim.
        values: what was measured.
        seeds: seeds that were planned; further ones that both rows have are used too.
        measures: keys of the columns that decide, unless the claim names its own.
        titles: key of a column to its heading.
    """
    measures = observation.measures or measures
    better, than = values.get(observation.better, {}), values.get(observation.than, {})
    both = sorted(better.keys() & than.keys())
    gaps = {
        measure: [better[seed].get(measure, math.nan) - than[seed].get(measure, math.nan) for seed in both]
        for measure in measures
    }
    shown = "; ".join(f"{titles.get(name, name)} {_listed(gaps[name])}" for name in measures) if both else ""
    why = _unknown(observation, values, [*seeds, *both], both, gaps)
    if why:
        return Decision(observation, "cannot be told", f"{why}{f'; so far {shown}' if shown else ''}", len(both))
    found = [_one(gaps[measure]) for measure in measures]
    if "against" in found:
        return Decision(observation, "did not hold", shown, len(both))
    if "mixed" in found:
        return Decision(observation, "cannot be told", f"the sign differs between seeds: {shown}", len(both))
    return Decision(observation, "held", shown, len(both))


def _one(gaps: Sequence[float]) -> Literal["for", "against", "mixed"]:
    """Say whether one measure speaks for a claim."""
    if all(gap > 0 for gap in gaps):
        return "for" if fmean(gaps) > POINTS else "against"
    return "against" if all(gap <= 0 for gap in gaps) else "mixed"


def _unknown(
    observation: Observation,
    values: Values,
    seeds: Sequence[int],
    both: Sequence[int],
    gaps: Mapping[str, Sequence[float]],
) -> str:
    """Say why nothing can be told whatever the differences are; empty if it can."""
    if why := _missing(observation, values, seeds):
        return why
    if len(both) < SEEDS:
        return f"one pair of runs (seed {both[0]}) cannot tell a difference from chance"
    finite = all(math.isfinite(gap) for one in gaps.values() for gap in one)
    return "" if finite else "a measure is missing or is no number"


def _missing(observation: Observation, values: Values, seeds: Sequence[int]) -> str:
    missing = {
        row: [seed for seed in dict.fromkeys(seeds) if seed not in values.get(row, {})]
        for row in (observation.than, observation.better)
    }
    parts = [
        f"{row} was not run with {'seed' if len(lacking) == 1 else 'seeds'} {' and '.join(map(str, lacking))}"
        for row, lacking in missing.items()
        if lacking
    ]
    return ", and ".join(parts)


def _listed(gaps: Sequence[float]) -> str:
    """Write differences: "+1.2, +2.3 (mean +1.8)"."""
    each = ", ".join(f"{gap:+.1f}" for gap in gaps)
    return f"{each} points" if len(gaps) == 1 else f"{each} (mean {fmean(gaps):+.1f} points)"


def summed(decisions: Sequence[Decision]) -> str:
    """Count the verdicts: "2 held, 1 did not hold, 9 cannot be told"."""
    if not decisions:
        return "No claim of a paper is decided here."
    kinds: tuple[Verdict, ...] = ("held", "did not hold", "cannot be told")
    numbers = {kind: sum(one.verdict == kind for one in decisions) for kind in kinds}
    return f"Of {counted(len(decisions), 'claim')}: {', '.join(f'{n} {kind}' for kind, n in numbers.items())}."
