"""Claims about the table of a campaign: what ended, where it came from, and what was not run."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from viewkin.campaigns.campaign import Edition, Row, recipe_of
from viewkin.campaigns.catalogue import CAMPAIGNS
from viewkin.campaigns.measured import ended, read_all
from viewkin.campaigns.report import Report, cells, csv_text, header, page
from viewkin.commands.campaign_files import write_report
from viewkin.evaluation.results import Result, write_results
from viewkin.runs.run_settings import RunSettings, write_settings
from viewkin.settings import with_values

TWELVE = CAMPAIGNS["twelve-epochs"]
EDITION = TWELVE.editions[0]
MEASURES = {"knn": "knn@200", "linear": "linear top-1", "retrieval": "R@1"}


def run_in(results: Path, row: Row, seed: int, edition: Edition = EDITION, **settings: object) -> Path:
    """A run that has ended: kNN 61.234 and linear 70, each a point more with every seed."""
    out = results / f"{row.name}-s{seed}"
    recipe = with_values(recipe_of(row, edition, seed), settings)
    write_settings(out, RunSettings(data="data", images=edition.budget.images or 50_000, recipe=recipe))
    lines = [
        {"step": step, "epoch": step / 20, "images_per_second": speed, "cpu_seconds": 7.2, "knn_monitor": 0.1}
        for step, speed in ((20, 100.0), (40, 300.0))
    ]
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for one in edition.evaluations:
        value = seed + (61.234 if one.protocol == "knn" else 70.0)
        results_of_all = [
            Result(protocol=one.protocol, values={MEASURES[one.protocol]: other}, model=model, data="data")
            for model, other in (("chance", 10.0), ("backbone, 128-d", value), ("embedding, 128-d", value))
        ]
        write_results(out / one.file, results_of_all)
    (out / "versions.json").write_text(
        json.dumps({"commit": "abc", "device": "a processor", "command": "viewkin train"})
    )
    return out


def report_of(results: Path, edition: Edition = EDITION) -> Report:
    """Read all runs."""
    runs, faults = read_all(results, edition)
    return Report(TWELVE, edition, tuple(runs), tuple(faults))


def test_the_table_holds_what_ended_and_where_it_came_from(tmp_path: Path):
    for name, seed in (("moco", 1), ("npid", 0), ("moco", 0)):
        run_in(tmp_path, EDITION.row(name), seed)
    (tmp_path / "byol-s0").mkdir()
    (tmp_path / "moco-other").mkdir()
    rows = list(csv.DictReader(csv_text(report_of(tmp_path)).splitlines()))
    assert [(row["row"], row["seed"], row["views"]) for row in rows] == [
        ("npid", "0", "1"),
        ("moco", "0", "2"),
        ("moco", "1", "2"),
    ]
    assert (rows[0]["knn200"], rows[0]["linear"], rows[0]["epochs"]) == ("61.23", "70.0", "12")
    assert float(rows[0]["seconds"]) == 50_000 * 12 / 150  # by time, not by lines
    assert (rows[0]["cpu_seconds"], rows[0]["commit"], rows[0]["device"]) == ("14", "abc", "a processor")


def test_a_line_is_the_mean_over_seeds_with_its_spread_and_a_row_that_was_not_run_says_so(tmp_path: Path):
    for seed in (0, 1):
        run_in(tmp_path, EDITION.row("moco"), seed)
    report = report_of(tmp_path)
    lines = {line[0]: dict(zip(header(report), line)) for line in cells(report)}
    assert (lines["moco"]["kNN (200)"], lines["moco"]["linear"]) == ("61.7 ± 0.7", "70.5 ± 0.7")
    assert (lines["moco"]["seeds"], lines["moco"]["commit"]) == ("0, 1", "abc")
    assert lines["npid"]["kNN (200)"] == "not run"
    assert list(lines) == [row.name for row in EDITION.rows]
    assert "moco" not in report.missing
    assert "npid" in report.missing


def test_a_row_with_one_seed_of_two_is_named_with_the_other(tmp_path: Path):
    run_in(tmp_path, EDITION.row("moco"), 0)
    assert "moco (seed 1)" in report_of(tmp_path).missing


@pytest.mark.parametrize("name", ["recipe.json", "metrics.jsonl", "evaluation-linear.json"])
def test_a_run_without_one_of_its_files_has_not_ended(tmp_path: Path, name: str):
    place = run_in(tmp_path, EDITION.row("moco"), 0)
    assert ended(place, EDITION)
    (place / name).unlink()
    assert not ended(place, EDITION)
    assert report_of(tmp_path).runs == ()


@pytest.mark.parametrize("name", ["recipe.json", "versions.json", "evaluation-linear.json"])
def test_a_damaged_run_is_told_and_the_others_stay_in_the_table(tmp_path: Path, name: str):
    (run_in(tmp_path, EDITION.row("moco"), 0) / name).write_text("{")
    run_in(tmp_path, EDITION.row("npid"), 0)
    report = report_of(tmp_path)
    assert [run.row for run in report.runs] == ["npid"]
    assert report.faults[0].startswith("moco with seed 0 is not in the table: ")
    assert report.faults[0] in page(report, command="viewkin reproduce", curves=False)


def test_a_run_with_other_settings_than_its_row_is_in_the_table_and_told(tmp_path: Path):
    run_in(tmp_path, EDITION.row("moco"), 0, **{"method.temperature": 0.3})
    shown = page(report_of(tmp_path), command="viewkin reproduce", curves=False)
    assert "other settings than the row's, method.temperature 0.3 (the row: 0.2): moco-s0." in shown


def test_a_run_on_another_number_of_images_is_told(tmp_path: Path):
    fewer = replace(EDITION, budget=replace(EDITION.budget, images=10_000))
    run_in(tmp_path, EDITION.row("moco"), 0)
    (run,) = report_of(tmp_path, fewer).runs
    assert run.differing[0] == "images 50,000 (the row: 10,000)"


def test_the_folder_of_the_background_campaign_is_read_as_it_is(tmp_path: Path):
    """Its evaluations of backbone and embedding lie in files of their own, and more files lie beside them."""
    mini = CAMPAIGNS["mini"]
    edition = mini.editions[0]
    for name in ("iraug", "eir"):
        for seed in edition.seeds:
            place = run_in(tmp_path, edition.row(name), seed, edition)
            (place / ".ended").touch()
            (place / "test.parquet").touch()
    report, written = write_report(mini, edition, tmp_path, "viewkin reproduce mini")
    assert {run.row for run in report.runs} == {"iraug", "eir"}
    text = written.page.read_text(encoding="utf-8")
    assert "* **did not hold**: EIR helps IRaug (EIR, table 1). eir less iraug: kNN (200), embedding +0.0, +0.0" in text
    assert "SGD" in text, "the optimiser that differs from the published one is named"
    assert "* Pseudo-label: " in text
    assert "CIFAR-10 kNN (200) 87.6" in text
