"""Law 5 on CIFAR-10, by the runs of the comparison (``scripts/compare_methods.py``)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from compare_methods import ROOT, ROWS, finished, models_of

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
    out = finished(row, seed, str(data), ROOT / "runs" / "methods", threads=2)
    found = models_of(out / "evaluation-knn.json")
    learnt = next(value for model, value in found.items() if model.startswith("backbone"))
    others = [value for model, value in found.items() if not model.startswith(("backbone", "embedding"))]
    assert len(others) == 3, "chance, raw pixels and the untrained network"
    assert learnt >= max(others) + POINTS
