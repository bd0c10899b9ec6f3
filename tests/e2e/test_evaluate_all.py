"""Claims about the script that gathers every protocol in one table."""

import csv
import json
from itertools import pairwise
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

import evaluate_all
import pytest

from commandline import viewkin
from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.protocols import PROTOCOLS, settings_of
from viewkin.settings import read_assignment, with_values


@pytest.mark.parametrize("name", evaluate_all.ROWS)
def test_a_row_names_a_protocol_and_settings_that_it_has(name):
    protocol, _, *options = evaluate_all.ROWS[name]
    texts = [value for option, value in pairwise(options) if option == "--set"]
    if protocol == "detection":
        with_values(DetectionConfig(), dict(read_assignment(DetectionConfig(), text) for text in texts))
    else:
        settings_of(PROTOCOLS[protocol], texts)


def test_every_protocol_has_a_row():
    assert {row[0] for row in evaluate_all.ROWS.values()} == {*PROTOCOLS, "detection"}


@pytest.fixture
def one_row(workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A table of one small row, made in this process; the rows that were run, one entry each."""
    asked: list[str] = []

    def run(command: list[str], **_: object) -> None:
        asked.append(" ".join(command))
        assert viewkin(*command[3:]).code == 0

    data = "generated:images=64"
    monkeypatch.setattr(evaluate_all, "ROWS", {"small": ["cluster", data, "--test-split", "train"]})
    monkeypatch.setattr(evaluate_all, "subprocess", SimpleNamespace(run=run, CalledProcessError=CalledProcessError))
    (workplace / "run").symlink_to(trained)
    monkeypatch.setattr("sys.argv", ["evaluate_all.py", "run", "--table", "table.csv"])
    return asked


def test_the_table_holds_every_measure_with_its_origin_and_a_row_is_run_once(one_row, workplace, trained):
    try:
        evaluate_all.main()
        first = (workplace / "table.csv").read_text()
        evaluate_all.main()
        assert len(one_row) == 1
        assert (workplace / "table.csv").read_text() == first
        rows = list(csv.DictReader(first.splitlines()))
        assert {row["model"].split(",")[0] for row in rows} == {"raw pixels", "untrained", "backbone"}
        assert len(rows) == 18
        for row in rows:
            assert row["command"] == "viewkin evaluate cluster MODEL generated:images=64 --test-split train"
            assert row["seed"] == "0"
            assert row["device"].startswith("cpu")
            assert float(row["seconds"]) >= 0
            assert str(workplace) not in ",".join(row.values())
    finally:  # the run is shared by all tests
        for file in (trained / "evaluations").glob("*"):
            file.unlink()
        (trained / "evaluations").rmdir()


def test_a_value_that_is_not_finite_leaves_its_cell_empty(tmp_path: Path):
    one = {"values": {"alignment": None}, "model": "m", "seed": 0, "data": "d: 3 test", "device": "cpu"}
    (tmp_path / "knn-cifar10.json").write_text(json.dumps([one | {"seconds": 1.0, "commit": None}]))
    (row,) = evaluate_all.rows_of("knn-cifar10", tmp_path / "knn-cifar10.json")
    assert (row["value"], row["images"]) == (None, "3 test")
