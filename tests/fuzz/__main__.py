"""Damage files and read them: ``make fuzz``; one case again: ``make fuzz CASE=17``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from fuzz.watch import Outcome, Watch


def main() -> int:
    """Run the cases; 1 where one of them shows a fault."""
    options = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    options.add_argument("--cases", type=int, default=int(os.environ.get("VIEWKIN_FUZZ_CASES", "5000")))
    options.add_argument("--first", type=int, default=0, help="number of the first case")
    options.add_argument("--case", type=int, help="run this one alone, and say everything of it")
    options.add_argument("--only", type=int, nargs="+", metavar="CASE", help="run these")
    options.add_argument("--keep", type=Path, help="with --case: folder to keep its files in")
    options.add_argument("--quiet", action="store_true", help="no progress")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder))
        if chosen.case is not None:
            if chosen.keep is not None:
                chosen.keep.mkdir(parents=True, exist_ok=True)
            return _one(next(watch.run([chosen.case], chosen.keep and chosen.keep.resolve())))
        return _all(watch, chosen.only or range(chosen.first, chosen.first + chosen.cases), quiet=chosen.quiet)


def _one(outcome: Outcome) -> int:
    print(f"case {outcome.number} ({outcome.kind}): {outcome.ended} in {outcome.seconds:.2f} s, ", end="")
    print(f"{outcome.extra / 2**20:.0f} MiB\n{outcome.detail}")
    return outcome.ended == "fault"


def _all(watch: Watch, numbers: Sequence[int], *, quiet: bool) -> int:
    began = time.monotonic()
    outcomes: list[Outcome] = []
    said = began
    for outcome in watch.run(numbers):
        outcomes.append(outcome)
        if outcome.ended == "fault":
            print(f"FAULT in case {outcome.number} ({outcome.kind}): {outcome.detail}", flush=True)
            print(f"again: make fuzz CASE={outcome.number}", flush=True)
        now = time.monotonic()
        if not quiet and now - said > 5:
            said = now
            left = (now - began) / len(outcomes) * (len(numbers) - len(outcomes))
            rest = f"about {left:,.0f} s to go"
            print(f"{len(outcomes):,} of {len(numbers):,} cases, {rest}", file=sys.stderr, flush=True)
    print(summary(outcomes, time.monotonic() - began))
    return any(outcome.ended == "fault" for outcome in outcomes)


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """Count how the cases ended, and name the slowest and the largest."""
    lines = []
    for kind in dict.fromkeys(sorted(outcome.kind for outcome in outcomes)):
        ended = Counter(outcome.ended for outcome in outcomes if outcome.kind == kind)
        lines.append(f"{kind:12} {ended['read']:5} read {ended['refused']:5} refused {ended['fault']:5} faults")
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.extra)
    ended = Counter(outcome.ended for outcome in outcomes)
    lines.append(
        f"{len(outcomes):,} cases in {seconds:,.0f} s: {ended['read']:,} read, {ended['refused']:,} refused by a "
        f"sentence, {ended['fault']:,} faults; slowest case {slowest.number} ({slowest.kind}, {slowest.seconds:.1f} s)"
        f", largest case {largest.number} ({largest.kind}, {largest.extra / 2**20:,.0f} MiB)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
