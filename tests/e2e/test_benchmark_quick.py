"""The benchmark of the training step runs, and its report says what was measured where."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark") / "deeper" / "train_step.json"
    command = [sys.executable, "benchmarks/train_step.py", "--quick", "--threads", "1", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "our step, percent of its time" in done.stdout
    assert list(out.parent.iterdir()) == [out]
    return json.loads(out.read_text())


def test_the_report_says_where_its_numbers_come_from(report):
    for name in ("command", "commit", "device", "threads", "torch", "seed", "data", "load_average", "peer_workers"):
        assert report[name] is not None, name
    assert report["quick"] is True
    assert report["threads"] == 1
    assert (report["lightly"] is not None) == (find_spec("lightly") is not None)


def test_every_case_has_our_speed_and_parts_that_add_up(report):
    assert [case["method"] for case in report["cases"]] == ["simclr", "moco", "npid"]
    for case in report["cases"]:
        speed = case["ours"]["images_per_second"]
        assert 0 < speed["low"] <= speed["median"] <= speed["high"]
        assert len(speed["all"]) == 2
        least, rate = case["ours"]["floor"], report["rates"]["bfloat16_gflops"]
        assert least["seconds"] == pytest.approx(least["flops"] / (1e9 * rate))
        assert least["flops"] > 0
        assert sum(one["images"] for one in case["ours"]["passes"]) == case["batch"] * (1 + (case["method"] != "npid"))
        parts = case["ours"]["parts"]
        assert sum(part["share"] for part in parts.values()) == pytest.approx(1.0)
        for name in ("decode", "views", "forward", "loss", "backward", "optimiser", "memory"):
            assert parts[name]["ms"] > 0, name


def test_the_peer_stands_beside_the_methods_it_has(report):
    for case in report["cases"]:
        compared = case["method"] in ("simclr", "moco")
        assert ("stable" in case) == (compared and report["stable_pretraining"] is not None)
        beside = compared and report["lightly"] is not None
        assert ("documented" in case) == ("given" in case) == beside
        if beside:
            ratio = case["documented"]["ours_over_it"]
            pairs = zip(case["ours"]["images_per_second"]["all"], case["documented"]["images_per_second"]["all"])
            assert ratio["all"] == pytest.approx([ours / peer for ours, peer in pairs])
            assert 0 <= case["documented"]["waiting_for_images_share"] <= 1


def test_a_commit_is_compared_with_another_in_turn(tmp_path):
    out = tmp_path / "parent.json"
    command = [sys.executable, "benchmarks/parent.py", "--against", "HEAD", "--repeats", "1", "--seconds", "0"]
    command += ["--method", "simclr", "--width", "8", "--batch", "16", "--threads", "1", "--out", str(out)]
    command += ["--data", "generated:images=64,size=32"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(out.read_text())["cases"]
    pairs = zip(case["now"]["all"], case["before"]["all"], strict=True)
    assert case["now_over_before"]["all"] == [now / before for now, before in pairs]
    assert len(case["now"]["all"]) == 1
    listed = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(tmp_path) not in listed.stdout
    assert not list(tmp_path.glob("*/other"))
