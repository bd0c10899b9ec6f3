import numpy as np
import pyarrow as pa
import pytest

from viewkin.collection.filters import chosen_rows, conditions_of
from viewkin.collection.parts import FIELDS
from viewkin.runtime.errors import UserError

ROWS = {
    "key": ["cats/a/1.jpg", "cats/2.jpg", "catsup/3.jpg", "dogs/4.jpg", "5.jpg"],
    "path": ["cats/a/1.jpg", "cats/2.jpg", "catsup/3.jpg", "dogs/4.jpg", None],
    "split": ["train", "test", "train", "val", None],
    "size": [10, 20, 30, 40, None],
    "content": ["a", "b", "c", "d", "e"],
    "whole": [None] * 5,
    "width": [100, 200, 300, 400, None],
    "height": [10, 20, 30, 40, None],
    "label": [0, 0, 1, 2, None],
    "class_name": ["cat", "cat", "2", "dog", None],
}
TABLE = pa.Table.from_arrays([pa.array(ROWS[one.name], one.type) for one in FIELDS], schema=pa.schema(FIELDS))


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("label=cat", [0, 1]),
        ("label=2", [2, 3]),  # a class of this name, and the class of this number
        ("class_name=2", [2]),
        ("label>=1", [2, 3]),
        ("folder=cats", [0, 1]),
        ("folder=cats/a/", [0]),
        ("folder=.", [0, 1, 2, 3, 4]),
        ("split=train", [0, 2]),
        (["split=train", "split=test"], [0, 1, 2]),
        (["split=train", "label=cat"], [0]),
        ("split!=train", [1, 3, 4]),
        ("width>=200", [1, 2, 3]),
        ("width >= 200", [1, 2, 3]),
        (["width>100", "width<400"], [1, 2]),
        ("width!=100", [1, 2, 3, 4]),
        ("key=dogs/4.jpg", [3]),
        ({"label": "cat", "split": ["test", "val"]}, [1]),
        ({"width": 300}, [2]),
        ("content=d", [3]),
    ],
)
def test_rows_that_meet_conditions(where, rows):
    assert np.flatnonzero(chosen_rows(TABLE, where)).tolist() == rows


@pytest.mark.parametrize("where", [None, (), {}])
def test_no_condition_leaves_all(where):
    assert chosen_rows(TABLE, where) is None


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("lable=cat", "There is no column 'lable' to filter by: did you mean label?"),
        ({"colour": "red"}, "There is no column 'colour' to filter by: there are folder, label,"),
        ("cat", "'cat' is no condition: write such as label=cat"),
        ("width=wide", "width is a number, and 'wide' is none"),
        ("split>train", "split is a text, which > cannot compare: use = or !=."),
        ("folder<cats", "folder is a text, which < cannot compare"),
        ("label=cow", "No image meets label=cow; there are 2, cat, dog."),
        (["split=test", "label=dog"], "No image meets split=test, label=dog; there are test, train, val."),
        ("width>1000", "No image meets width>1000."),
    ],
)
def test_what_cannot_be_is_said(where, said):
    with pytest.raises(UserError) as error:
        chosen_rows(TABLE, where)
    assert said in str(error.value)


def test_a_value_may_hold_signs():
    assert conditions_of("key=a=b<c.jpg")[0].value == "a=b<c.jpg"
