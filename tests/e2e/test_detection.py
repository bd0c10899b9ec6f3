"""Claims about judging a model by detection from the command line."""

import json
from pathlib import Path

import pytest

from boxes import parquet_of_boxes
from commandline import viewkin

QUICK = [
    part
    for setting in (
        "iterations=1", "precise=0", "batch_size=2", "train_sides=32", "test_side=32", "longest=48", "anchors=16",
        "proposals=8", "regions=4",
    )
    for part in ("--set", setting)
]  # fmt: skip

MEASURES = ["AP50", "AP", "AP75", "AP red", "AP blue", "11-point AP50", "11-point AP", "11-point AP75"]


def test_a_model_and_the_untrained_network_are_fine_tuned_and_measured(workplace: Path, trained: Path):
    parquet_of_boxes(workplace / "cells.parquet", {"train": 2, "test": 1})
    ended = viewkin("evaluate", "detection", trained, "cells.parquet", *QUICK, "--out", "found.json")
    assert (ended.code, ended.err) == (0, "")
    untrained, model = json.loads((workplace / "found.json").read_text())
    assert untrained["model"].startswith("untrained")
    assert model["model"].startswith("backbone")
    for one in (untrained, model):
        assert list(one["values"]) == MEASURES
        assert one["data"] == "cells.parquet: 2 train, 1 test"
        assert (one["settings"]["iterations"], one["settings"]["lr"], one["seed"]) == (1, 0.005, 0)
    assert "AP50" in ended.out
    assert "blue" in ended.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("photos", "neither laid out as VOC or COCO nor Parquet"),
        ("cells.parquet --test-split val", "no val split, only test, train"),
        ("cells.parquet --classes gren", "no boxes of a class 'gren'; give names such as"),
        ("cells.parquet --holdout 0.5", "leave out --features, --holdout and"),
        ("cells.parquet --set iteration=3", "did you mean iterations"),
        ("cells.parquet --set batch_size=9", "batch_size is 9; it must be at most 2"),
        ("cells.parquet --set form=fpn --set anchors=16", "five, one a level of FPN"),
    ],
)
def test_detection_refuses_in_one_sentence(workplace: Path, trained: Path, line, words):
    (workplace / "photos").mkdir()
    parquet_of_boxes(workplace / "cells.parquet", {"train": 2, "test": 1})
    ended = viewkin("evaluate", "detection", trained, *line.split(), "--no-baselines", "--out", "found.json")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert words in ended.err
    assert not (workplace / "found.json").exists()


def test_a_stop_leaves_nothing_half_written(workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch):
    from viewkin.evaluation.detection import finetune

    def stopped(*_: object, **__: object) -> None:
        raise SystemExit(130)

    monkeypatch.setattr(finetune, "_train_", stopped)
    parquet_of_boxes(workplace / "cells.parquet", {"train": 2, "test": 1})
    ended = viewkin("evaluate", "detection", trained, "cells.parquet", *QUICK, "--no-baselines", "--out", "found.json")
    assert ended.code == 130
    assert [one.name for one in workplace.iterdir()] == ["cells.parquet"]
