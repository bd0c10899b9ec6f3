import dataclasses
import json
import math

import pytest

from viewkin.evaluation import results
from viewkin.evaluation.probes.knn import KnnConfig
from viewkin.evaluation.probes.linear import LinearConfig
from viewkin.runtime.errors import UserError


def one(**change) -> results.Result:
    made = results.describe("knn", KnnConfig(k=(5, 20)), {"knn@5": 81.25}, seed=3, seconds=1.5, notes=("a note",))
    return dataclasses.replace(made, **change)


def test_a_result_holds_every_setting_of_its_protocol():
    assert one().settings == {
        "k": (5, 20), "temperature": 0.1, "weighted": True, "normalise": True,
        "reference": "recomputed", "memory": 256 * 2**20,
    }  # fmt: skip
    assert results.describe("linear", LinearConfig(), {}).settings["learning_rates"] == (0.1, 1.0, 10.0, 30.0)


def test_results_survive_a_round_trip(tmp_path):
    path = tmp_path / "new" / "results.json"
    results.write_results(path, [one(), one(protocol="linear", seed=None, commit="abc-dirty")])
    first, second = results.read_results(path)
    assert first.values == {"knn@5": 81.25}
    assert first.notes == ("a note",)
    assert first.settings["k"] == [5, 20]
    assert (second.protocol, second.seed, second.commit) == ("linear", None, "abc-dirty")


def test_a_value_that_is_no_number_is_valid_json(tmp_path):
    path = tmp_path / "results.json"
    results.write_results(path, [one(values={"bad": math.nan, "worse": math.inf, "good": 1.0})])
    row = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))[0]
    assert row["values"] == {"bad": None, "worse": None, "good": 1.0}
    assert math.isnan(results.read_results(path)[0].values["bad"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    results.write_results(path, [one()])
    before = path.read_text()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results.Path, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        results.write_results(path, [one(protocol="other")])
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


OTHER = [
    "",
    "{",
    '{"a": 1}',
    "[1]",
    '[{"protocol": "x"}]',
    '[{"values": {}, "notes": []}]',
    '[{"protocol": "knn", "values": {"knn@5": "high"}, "notes": []}]',
    '[{"protocol": "knn", "values": {"knn@5": 1}, "notes": [], "seconds": "long"}]',
    '[{"protocol": "knn", "values": {"knn@5": 1}, "notes": [], "model": null}]',
]


@pytest.mark.parametrize("text", OTHER)
def test_another_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UserError, match="does not hold results"):
        results.read_results(path)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot read results"):
        results.read_results(tmp_path / "none.json")
