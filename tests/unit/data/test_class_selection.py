"""Claims about choosing classes of a source."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from viewkin.data.class_selection import with_classes
from viewkin.data.dataset import open_source
from viewkin.data.source import ResidentSource, Source, SourceInfo
from viewkin.evaluation.labels import labels_of
from viewkin.runtime.errors import UserError


def source(labels: list[int] | None, classes: tuple[str, ...] = (), **groups: tuple[int, ...]) -> Source:
    count = 3 if labels is None else len(labels)
    facts = SourceInfo(
        name="set",
        size=8,
        keys=[str(i) for i in range(count)],
        labels=None if labels is None else torch.tensor(labels),
        classes=classes,
        groups=groups,
    )
    return ResidentSource(facts, torch.zeros(count, 3, 8, 8, dtype=torch.uint8))


SET = source([0, 1, 2, 3, 3, -1, 0], ("ape", "bee", "cat", "dog"), novel=(1, 3))


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("2:4", [2, 3, 4]),
        (":2", [0, 1, 6]),
        ("3:", [3, 4]),
        ("0", [0, 6]),
        ("cat", [2]),
        ("novel", [1, 3, 4]),
        ("ape, 3", [0, 3, 4, 6]),
        ("novel,1,1:2", [1, 3, 4]),
    ],
)
def test_labels_ranges_names_and_groups_choose_images(wanted, kept):
    chosen = with_classes(SET, wanted)
    assert [int(name) for name in chosen.keys] == kept
    assert chosen.labels.tolist() == SET.labels[kept].tolist()  # labels keep their values


def test_a_group_is_read_from_the_parquet_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    from io import BytesIO

    from PIL import Image

    def encoded(value: int) -> bytes:
        stream = BytesIO()
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(stream, "PNG")
        return stream.getvalue()

    table = pa.table({"image": [encoded(i) for i in range(4)], "label": [0, 1, 2, 0]})
    names = {"class_names": ["ape", "bee", "cat"], "class_split": ["base", "novel", "novel"]}
    schema = table.schema.with_metadata({name: json.dumps(value) for name, value in names.items()})
    pq.write_table(table.cast(schema), tmp_path / "set.parquet")
    opened = open_source(str(tmp_path / "set.parquet"))
    assert opened.groups == {"base": (0,), "novel": (1, 2)}
    assert labels_of(with_classes(opened, "novel")).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("wanted", "word"),
    [("catt", "cat"), ("2:9", "0 to 3"), ("9", "0 to 3"), ("3:1", "0 to 3"), ("", "no image"), ("novl", "novel")],
)
def test_classes_that_are_not_there_are_one_sentence(wanted, word):
    with pytest.raises(UserError, match=word):
        with_classes(SET, wanted)


def test_an_unlabelled_set_has_no_classes_to_choose():
    with pytest.raises(UserError, match="no labels"):
        with_classes(source(None), "0:1")
