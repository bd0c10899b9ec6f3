import dataclasses
import io
import json
import math
import subprocess

import pytest
from rich.console import Console

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


def test_the_table_shows_every_value_and_every_note_once():
    stream = io.StringIO()
    results.print_table([one(values={"knn@5": 81.25, "knn@20": 82.5}), one(seed=None)], Console(file=stream, width=120))
    text = stream.getvalue()
    assert all(word in text for word in ("knn@5", "81.25", "knn@20", "82.50", "1.5 s", "cpu"))
    assert text.count("a note") == 1


def test_the_revision_is_that_of_the_checkout_only(monkeypatch, tmp_path):
    found = results.revision()
    assert found is None or found.removesuffix("-dirty").isalnum()
    # The same module, copied untracked into somebody else's repository, has no revision.
    git = ["git", "-C", str(tmp_path), "-c", "user.name=someone", "-c", "user.email=someone@localhost"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Start"], check=True)
    (tmp_path / "results.py").write_text("")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert results.revision() is None


def test_no_git_is_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert results.revision() is None


def test_what_runs_wrote_does_not_make_the_checkout_another_one(monkeypatch, tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=someone", "-c", "user.email=someone@localhost"]
    code, written = tmp_path / "results.py", tmp_path / "results" / "one.json"
    written.parent.mkdir()
    for file in (code, written):
        file.write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Start"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(results, "__file__", str(code))
    clean = results.revision()
    written.write_text("2")
    assert clean
    assert results.revision() == clean
    code.write_text("2")
    assert results.revision() == f"{clean}-dirty"
