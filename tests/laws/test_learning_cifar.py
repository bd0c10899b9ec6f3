"""Law 5 on CIFAR-10, by the runs of the campaign ``twelve-epochs``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from viewkin.campaigns.catalogue import CAMPAIGNS
from viewkin.campaigns.measured import ended
from viewkin.commands.campaign_plan import ReproduceRequest
from viewkin.commands.reproduce import reproduce
from viewkin.evaluation.results import read_results
from viewkin.runs.record import short

ROOT = Path(__file__).parents[2]
TWELVE = CAMPAIGNS["twelve-epochs"].editions[0]
ROWS = [row.name for row in TWELVE.rows]
POINTS = 5.0
"""Percentage points that kNN must gain over the untrained network and over raw pixels."""


@pytest.mark.data
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("row", [row for row in ROWS if f"{row}-24" not in ROWS])
def test_law_5_every_method_learns_on_cifar10(row: str, seed: int):
    """A run that has ended is judged; any other is trained first, which takes minutes to an hour."""
    data = ROOT / "data" / "cifar-10-batches-py"
    if not data.is_dir():
        subprocess.run([sys.executable, "scripts/unpack_cifar.py", "data"], cwd=ROOT, check=True)
    results = ROOT / "results" / "twelve-epochs"
    request = ReproduceRequest(
        campaign="twelve-epochs",
        rows=(row,),
        seeds=(seed,),
        data=str(data),
        results=results,
        runs=ROOT / "runs" / "twelve-epochs",
    )
    place = results / f"{row}-s{seed}"
    assert ended(place, TWELVE) or reproduce(request).exit_code == 0
    found = {short(one.model): next(iter(one.values.values())) for one in read_results(place / "evaluation-knn.json")}
    others = [found[name] for name in ("chance", "raw pixels", "untrained")]
    assert found["backbone"] >= max(others) + POINTS
