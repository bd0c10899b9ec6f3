"""Claims about tables across runs: seeds joined, nothing else; a paper's number only beside the same set."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from viewkin.campaigns.comparison import groups, lines_of, write
from viewkin.campaigns.comparison_table import Lines, table_of
from viewkin.campaigns.published import SETS, changes, published, set_named
from viewkin.commands.figures.ablation import measured, trials
from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.protocols import PROTOCOLS
from viewkin.evaluation.results import Result, write_results
from viewkin.methods.base import MethodConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.record import RunRecord, read_record
from viewkin.runs.run_settings import RunSettings, write_settings
from viewkin.runtime.errors import UserError
from viewkin.settings import setting_paths, with_values

CIFAR10 = "data/cifar10: 50,000 train, 10,000 test"
TABLES = Path(__file__).parents[3] / "results" / "published"
ROWS = list(
    csv.DictReader((Path(__file__).parents[3] / "src/viewkin/campaigns/published.csv").read_text().splitlines())
)


def run_in(place: Path, values: dict[str, float], *, seed: int = 0, data: str = CIFAR10, **settings: object) -> Path:
    """A finished run of eir_cifar10 with one evaluation and a log."""
    recipe = with_values(recipe_named("eir_cifar10"), {"seed": seed, **settings})
    write_settings(place, RunSettings(data="data/cifar10", images=50_000, recipe=recipe))
    models = ("raw pixels", "backbone, 512-d", "embedding, 128-d")
    results = [Result(protocol="knn", values=values, model=model, data=data) for model in models]
    write_results(place / "evaluation-knn.json", results)
    log = [{"step": 1, "knn_monitor": 0.1}, {"step": 2, "knn_monitor": 0.5, "images_per_second": 100.0}, {"step": 3}]
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    return place


def test_runs_that_differ_in_their_seed_are_one_line_with_mean_and_deviation(tmp_path):
    places = [run_in(tmp_path / str(seed), {"knn@200": 80.0 + 2 * seed}, seed=seed) for seed in range(3)]
    (group,) = groups([read_record(place) for place in places])
    line = next(line for line in lines_of(group) if line.features == "embedding")
    assert (line.mean, line.std, line.seeds) == (82.0, 2.0, (0, 1, 2))
    assert {(line.protocol, line.features, line.measure) for line in lines_of(group)} == {
        ("knn", "backbone", "knn@200"),
        ("knn", "embedding", "knn@200"),
        ("log", "", "knn_monitor"),
        ("log", "", "images/s"),
    }
    assert "raw pixels" in {line.features for line in lines_of(group, baselines=True)}


@pytest.mark.parametrize("path", ["method.base.temperature", "schedule.epochs", "data.batch_size", "backbone.width"])
def test_runs_that_differ_in_anything_else_are_not_joined(tmp_path, path):
    run_in(tmp_path / "a", {"knn@200": 1.0})
    before = setting_paths(recipe_named("eir_cifar10"))[path]
    run_in(tmp_path / "b", {"knn@200": 1.0}, seed=1, **{path: before * 2})
    assert len(groups([read_record(tmp_path / name) for name in "ab"])) == 2


def test_runtime_settings_do_not_part_runs(tmp_path):
    run_in(tmp_path / "a", {"knn@200": 1.0})
    run_in(tmp_path / "b", {"knn@200": 1.0}, seed=1, **{"runtime.workers": 7})
    assert len(groups([read_record(tmp_path / name) for name in "ab"])) == 1


def test_the_last_of_two_measurements_counts_once(tmp_path):
    place = run_in(tmp_path / "a", {"knn@200": 1.0})
    later = [Result(protocol="knn", values={"knn@200": 9.0}, model="backbone, 512-d", data=CIFAR10)]
    write_results(place / "evaluation-knn-backbone.json", later)
    (line,) = [line for line in lines_of([read_record(place)]) if line.features == "backbone"]
    assert (line.mean, line.std, line.runs) == (9.0, None, (str(place),))


def test_results_on_different_images_are_never_in_one_row(tmp_path):
    places = [run_in(tmp_path / str(seed), {"knn@200": 80.0}, seed=seed) for seed in range(2)]
    more = [
        Result(protocol="knn", values={"knn@200": 40.0}, model="backbone, 512-d", data="photos: 40 train, 8 test"),
        Result(protocol="knn", values={"knn@200": 60.0}, model="backbone, 512-d", data=CIFAR10, images="other"),
    ]
    for place in places:
        write_results(place / "evaluation-more.json", more)
    lines = lines_of([read_record(place) for place in places])
    measured_on = {(line.mean, line.data, line.images, line.std) for line in lines if line.features == "backbone"}
    assert measured_on == {
        (80.0, CIFAR10, "", 0.0),
        (40.0, "photos: 40 train, 8 test", "", 0.0),
        (60.0, CIFAR10, "other", 0.0),
    }
    table = table_of(lines)
    assert table.header[2] == "images"
    assert [rows[0][2] for rows in table.sections if rows[0][:2] == ["knn@200", "backbone"]] == ["[1]", "[2]", "[3]"]
    assert "Judged on [2] photos: 40 train, 8 test" in table.notes
    assert f"Judged on [3] {CIFAR10} (not known to be the images of [1])" in table.notes


def test_runs_of_other_images_under_the_same_name_are_not_joined(tmp_path):
    runs = [read_record(run_in(tmp_path / name, {"knn@200": 1.0})) for name in "abc"]
    stored = [replace(run.stored, fingerprint=fingerprint) for run, fingerprint in zip(runs, ("x", "y", "x"))]
    stored[2] = replace(stored[2], data="/elsewhere/cifar10")  # the same images under another name
    joined = groups([replace(run, stored=one) for run, one in zip(runs, stored)])
    assert [[run.place.name for run in group] for group in joined] == [["a", "c"], ["b"]]


def test_settings_of_an_evaluation_that_differ_are_said(tmp_path):
    place = run_in(tmp_path / "a", {"knn@200": 1.0})
    results = [
        Result(
            protocol="knn",
            values={"knn@200": t},
            model="backbone",
            data=CIFAR10,
            settings={"temperature": t, "k": [1, 2]},
        )
        for t in (0.1, 0.07)
    ]
    write_results(place / "evaluation-knn.json", results)
    table = table_of(lines_of([read_record(place)]))
    column = table.header.index("settings")
    (rows,) = [rows for rows in table.sections if rows[0][0] == "knn@200"]
    assert [row[column] for row in rows] == ["temperature=0.1", "temperature=0.07"]


def test_shares_of_the_log_are_shown_in_percent(tmp_path):
    lines = Lines(lines_of([read_record(run_in(tmp_path / "a", {"knn@200": 1.0}))]))
    assert {line.measure: line.mean for line in lines if line.protocol == "log"} == {
        "knn_monitor": 50.0,
        "images/s": 100.0,
    }
    assert "50.00" in repr(lines)
    assert "images" not in table_of(lines).header  # each measure is of one set of images


def test_the_paper_s_number_stands_beside_the_same_set_and_features_only(tmp_path):
    stored = read_record(run_in(tmp_path / "a", {"knn@200": 1.0})).stored
    (found,) = published(stored, CIFAR10, "knn", "knn@200", "embedding")
    assert (found.value, found.source) == (87.6, "eir-table2")
    assert found.setting == "resnet18, 200 epochs, 50,000 images"
    for other in (
        (replace(stored, smoke=True), CIFAR10, "knn", "knn@200", "embedding"),
        (replace(stored, data="data/cifar100"), CIFAR10, "knn", "knn@200", "embedding"),
        (replace(stored, data="photos"), CIFAR10, "knn", "knn@200", "embedding"),
        (replace(stored, images=5_000), CIFAR10, "knn", "knn@200", "embedding"),
        (stored, "data/cifar100: 50,000 train, 10,000 test", "knn", "knn@200", "embedding"),
        (stored, "data/cifar10: 45,000 train, 5,000 held out of train", "knn", "knn@200", "embedding"),
        (stored, "data/cifar10: 50,000 train, 1,000 test", "knn", "knn@200", "embedding"),
        (stored, CIFAR10, "knn", "knn@200", "backbone"),
        (stored, CIFAR10, "knn", "knn@10", "embedding"),
        (stored, "photos: 50,000 train, 10,000 test", "knn", "knn@200", "embedding"),
    ):
        assert published(*other) == []


def test_sets_are_told_by_name_and_numbers():
    assert set_named("/x/cifar-10-batches-py: 50,000 train, 10,000 test") == "CIFAR-10"
    assert set_named("/x/CIFAR_100: 50,000 train, 10,000 test") == "CIFAR-100"
    assert set_named("/x/cifar10/parquet: 10,000 test") == "CIFAR-10"
    assert set_named("imagenet: 1,281,167 train, 50,000 val") == "ImageNet"
    assert set_named("imagenet-100: 126,689 train, 5,000 val") == "ImageNet-100"
    assert set_named("cub: 5,924 test of the classes 100:200") == "CUB-200"
    assert set_named("data/Places205: 2,448,873 train, 20,500 val") == "Places205"
    assert set_named("VOCdevkit/VOC2007: 5,011 trainval, 4,952 test") == "VOC07"
    assert set_named("VOCdevkit: 16,551 trainval, 4,952 test") == "VOC07+12"
    for other in (
        "cifar10: 5,000 test of the classes 0:5",
        "miniimagenet: 38,400 train, 9,600 val",
        "generated: 4,000 train, 1,000 test",
        "cifar10",
        "",
    ):
        assert set_named(other) is None


def test_what_differs_from_the_paper_s_recipe_is_said(tmp_path):
    stored = read_record(run_in(tmp_path / "a", {"knn@200": 1.0}, **{"backbone.width": 16, "seed": 3})).stored
    assert changes(stored) == "backbone.width 16 (64)"
    assert changes(replace(stored, recipe=recipe_named("eir_cifar10"))) == ""
    other = with_values(recipe_named("cifar10_cpu"), {"schedule.epochs": 12, "method.temperature": 0.3})
    assert changes(replace(stored, recipe=replace(other, name="cifar10_cpu-moco"))) == "schedule.epochs 12 (36)"


def test_a_run_s_speed_is_its_median_and_its_monitor_the_last(tmp_path):
    place = run_in(tmp_path / "a", {"knn@200": 1.0})
    log = [
        {"step": n, "images_per_second": speed, "knn_monitor": n / 10} for n, speed in enumerate((10.0, 500.0, 90.0))
    ]
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    assert read_record(place).logged == {"knn_monitor": 0.2, "images_per_second": 90.0}


def test_a_transfer_is_shown_for_a_run_on_the_recipe_s_own_set_only(tmp_path):
    voc = "VOCdevkit/VOC2007: 5,011 trainval, 4,952 test"
    stored = RunSettings(data="data/imagenet", images=1_281_167, recipe=recipe_named("moco_v2_imagenet"))
    assert published(stored, voc, "svm", "mAP", "backbone")
    assert published(replace(stored, data="data/ILSVRC2012/train"), voc, "svm", "mAP", "backbone")
    assert not published(replace(stored, data="data/photos"), voc, "svm", "mAP", "backbone")


def test_a_number_of_some_labels_stands_beside_as_many_of_them():
    imagenet = "data/imagenet: 1,281,167 train, 50,000 val"
    stored = RunSettings(data="data/imagenet", images=1_281_167, recipe=recipe_named("interclr_moco_imagenet"))

    def shown(settings: Any) -> list[float]:
        return [one.value for one in published(stored, imagenet, "semi", "top-5", "backbone", settings)]

    assert [shown({"share": share}) for share in (0.01, 0.1, 0.05)] == [[72.7], [85.9], []]
    assert shown(None) == []


@pytest.mark.parametrize(
    ("relation", "mixture", "number"), [(15.0, 2.0, 87.6), (15, 0, 86.3), (0.0, 2.0, 85.5), (3.0, 2.0, 87.6)]
)
def test_an_ablation_s_number_stands_beside_the_same_weights_instead_of_the_whole(tmp_path, relation, mixture, number):
    weights = {"method.relation_weight": relation, "method.mixture_weight": mixture}
    group = [read_record(run_in(tmp_path / "a", {"knn@200": 1.0}, **weights))]
    (line,) = [line for line in lines_of(group) if (line.features, line.measure) == ("embedding", "knn@200")]
    assert line.published == str(number)


def test_the_settings_of_an_evaluation_say_which_number_is_shown(tmp_path):
    place, recipe = tmp_path / "a", recipe_named("invp_imagenet")
    write_settings(place, RunSettings(data="data/imagenet", images=1_281_167, recipe=recipe))
    data = "data/imagenet: 1,281,167 train, 50,000 val"
    results = [
        Result(protocol="semi", values={"top-5": 50.0 + share}, model="backbone", data=data, settings={"share": share})
        for share in (0.01, 0.1)
    ]
    write_results(place / "evaluation-semi.json", results)
    shown = {line.mean: line.published for line in lines_of([read_record(place)])}
    assert shown == {50.01: "78.2", 50.1: ""}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['recipe']} {row['measure']} {row['images']}")
def test_every_published_number_is_a_cell_of_its_table(row):
    wanted = dict(part.split("=") for part in row["row"].split("; "))
    table = list(csv.DictReader((TABLES / f"{row['table']}.csv").read_text(encoding="utf-8").splitlines()))
    cells = [line for line in table if all(line[name] == value for name, value in wanted.items())]
    assert [line[row["column"]] for line in cells] == [row["value"]]
    assert row["recipe"] in (*RECIPES, "")
    assert row["set"] in SETS
    protocols = {name: protocol.settings() for name, protocol in PROTOCOLS.items()} | {"detection": DetectionConfig()}
    own = setting_paths(RECIPES[row["recipe"]]()) if row["recipe"] else {}
    known = {**own, **setting_paths(protocols[row["protocol"]])}
    assert {part.split("=")[0] for part in row["where"].split("; ") if part} <= set(known)


def test_a_table_is_written_with_every_column(tmp_path):
    lines = lines_of([read_record(run_in(tmp_path / "a b", {"knn@200": 1.0, "knn@5": float("nan")}))])
    write(tmp_path / "x.csv", lines)
    write(tmp_path / "x.json", lines)
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert len(rows) == len(lines) == 6
    assert rows[1]["runs"] == str(tmp_path / "a b")
    found = json.loads((tmp_path / "x.json").read_text())
    assert [row["mean"] for row in found[:2]] == [1.0, None]
    assert set(found[0]) == set(rows[0])


def test_an_ablation_reads_setting_others_and_measure(tmp_path):
    first = read_record(run_in(tmp_path / "a", {"knn@200": 1.0}, **{"method.relation_weight": 5.0}))
    second = read_record(run_in(tmp_path / "b", {"knn@200": 2.0}, seed=1, **{"backbone.width": 16}))
    found = trials([first, second], "method.relation_weight", "knn@200", "backbone")
    default = setting_paths(recipe_named("eir_cifar10"))["method.relation_weight"]
    assert [(trial.setting, trial.measure) for trial in found] == [(5.0, 1.0), (default, 2.0)]
    assert [trial.others for trial in found] == ["backbone.width 64", "backbone.width 16"]
    assert measured(first, "knn_monitor", "backbone") == 0.5
    with pytest.raises(UserError, match=r"no setting 'method\.relation_wieght'; did you mean method\.relation_weight"):
        trials([first], "method.relation_wieght", "knn@200", "backbone")
    with pytest.raises(UserError, match=r"no measure 'linear' of its backbone; it has knn@200, knn_monitor"):
        measured(first, "linear", "backbone")


def test_settings_that_a_method_brings_along_are_no_other_setting(tmp_path):
    def run(name: str, method: MethodConfig, **settings: object) -> RunRecord:
        recipe = with_values(replace(recipe_named("eir_cifar10"), method=method), settings)
        place = run_in(tmp_path / name, {"knn@200": 1.0})
        write_settings(place, RunSettings(data="data/cifar10", images=50_000, recipe=recipe))
        return read_record(place)

    iraug, simclr, eir = (
        run("a", IRAugConfig()),
        run("b", SimCLRConfig(temperature=0.1)),
        run("c", EIRConfig(base=IRAugConfig())),
    )
    found = trials([iraug, simclr, eir], "method.kind", "knn@200", "backbone")
    assert [(trial.setting, trial.others) for trial in found] == [("iraug", ""), ("simclr", ""), ("eir", "")]
    # Of two runs of one kind, and where all runs have the setting, nothing is hidden.
    light = run("d", EIRConfig(base=IRAugConfig(), relation_weight=3.0))
    found = trials([iraug, eir, light], "method.kind", "knn@200", "backbone")
    assert [trial.others for trial in found] == ["relation_weight None", "relation_weight 15.0", "relation_weight 3.0"]
    slow = run("e", SimCLRConfig(temperature=0.1), **{"optim.lr": 0.001})
    found = trials([iraug, slow], "method.kind", "knn@200", "backbone")
    assert [trial.others for trial in found] == [f"optim.lr {lr}" for lr in (iraug.stored.recipe.optim.lr, 0.001)]
