"""The rows of the comparison of methods are runs that can start, and the table says what they were."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from compare_methods import EPOCHS, ROOT, ROWS, accuracy, finished, gather

from viewkin.data.dataset import Survey
from viewkin.nets.backbone import build_backbone
from viewkin.runs.resolve import Resolved, TrainRequest, fit_to_data, resolve
from viewkin.runs.run_settings import RunSettings, write_settings

CIFAR10 = Survey(50_000, 32, True, True, ("train", "test"))
PLAN = [
    line.split(maxsplit=1)[1]
    for line in (ROOT / "scripts" / "gpu" / "plan.txt").read_text().splitlines()
    if not line.startswith("#")
]


def request_for(words: list[str], **more: Any) -> TrainRequest:
    """Read arguments of ``viewkin train``."""
    given = dict[str, Any](settings=[]) | more
    arguments = iter(words)
    for argument in arguments:
        name, _, value = argument.partition("=")
        value = value or next(arguments)
        if name == "--set":
            given["settings"].append(value)
        else:
            given[name.removeprefix("--")] = int(value) if name == "--epochs" else value
    return TrainRequest(data="data", **given)


def resolved(row: str) -> Resolved:
    """What ``viewkin train`` makes of a row's arguments on CIFAR-10."""
    request = request_for(ROWS[row], recipe="cifar10_cpu", epochs=EPOCHS)
    return fit_to_data(resolve(request, CIFAR10), 50_000)


@pytest.mark.parametrize("row", PLAN)
def test_every_row_of_the_plan_for_a_gpu_can_start(row: str):
    name, _, arguments = row.partition("=")
    recipe, *others = (arguments or name).split()
    found = fit_to_data(resolve(request_for(others, recipe=recipe), CIFAR10), 50_000).recipe
    assert found.schedule.epochs == (301 if name == "isif_cifar10" else 200)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_can_start_and_has_the_budget_of_all(row: str):
    recipe = resolved(row).recipe
    assert recipe.schedule.epochs == EPOCHS * (2 if row.endswith("-24") else 1)
    assert recipe.data.batch_size == 256
    recipe.method.build(build_backbone(recipe.backbone), count=1000 if "interclr" not in row else 50_000)


def test_the_table_holds_what_ended_and_where_it_came_from(tmp_path: Path):
    for row, seed in (("moco", 1), ("npid", 0), ("moco", 0)):
        out = tmp_path / f"{row}-s{seed}"
        out.mkdir(parents=True)
        write_settings(
            out, RunSettings(data="data", images=50_000, recipe=resolved(row).recipe, smoke=False, demo=False)
        )
        speeds = ((20, 100.0), (40, 300.0))
        lines = [{"step": step, "images_per_second": speed, "cpu_seconds": 7.2} for step, speed in speeds]
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for protocol, value in (("knn", 61.234), ("linear", 70.0)):
            found = [{"model": model, "values": {"x": value}} for model in ("chance", "backbone, 128-d")]
            (out / f"evaluation-{protocol}.json").write_text(json.dumps(found))
        (out / "versions.json").write_text(json.dumps({"commit": "abc"}))
    (tmp_path / "byol-s0").mkdir()
    gather(tmp_path)
    table = (tmp_path / "cifar10_cpu.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [(row["row"], row["seed"], row["views"]) for row in rows] == [
        ("npid", "0", "1"),
        ("moco", "0", "2"),
        ("moco", "1", "2"),
    ]
    assert (rows[0]["knn200"], rows[0]["linear"]) == ("61.23", "70.0")
    assert float(rows[0]["seconds"]) == 50_000 * EPOCHS / 150  # by time, not by lines
    assert (rows[0]["cpu_seconds"], rows[0]["commit"]) == ("14", "abc")


def test_a_row_whose_results_are_kept_is_not_trained_again(tmp_path: Path):
    kept = tmp_path / "results" / "moco-s3"
    kept.mkdir(parents=True)
    (kept / "evaluation-linear.json").write_text("[]")
    assert finished("moco", 3, "no such data", tmp_path / "runs", 1, tmp_path / "results") == kept
    assert not (tmp_path / "runs").exists()


def test_accuracy_is_the_backbones(tmp_path: Path):
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps([{"model": "embedding", "values": {"x": 1}}, {"model": "backbone", "values": {"x": 2}}]))
    assert accuracy(file) == 2
