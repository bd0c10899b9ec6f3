"""Terms around terms, from the command line to the files of a run."""

import json

import pytest

from commandline import metrics_of, viewkin

IMAGES = "generated:images=96"
COMMAND = ("train", IMAGES, "--recipe", "demo", "--smoke", "--method", "eir(interclr(byol))", "--out", "run")


@pytest.fixture(scope="module")
def around_byol(tmp_path_factory):
    """A folder with a run of two terms around BYOL."""
    place = tmp_path_factory.mktemp("terms")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("VIEWKIN_CACHE", str(place / "cache"))
        ended = viewkin(*COMMAND, "--set", "method.base.base.hidden=32", "--set", "method.relation_weight=3")
    assert (ended.code, ended.err) == (0, "")
    return place


@pytest.fixture
def there(around_byol, monkeypatch):
    monkeypatch.chdir(around_byol)
    monkeypatch.setenv("VIEWKIN_CACHE", str(around_byol / "cache"))
    return around_byol


def test_settings_reach_each_term_and_its_base(there):
    recipe = json.loads((there / "run" / "recipe.json").read_text())["recipe"]
    assert recipe["name"] == "demo-eir-interclr-byol"
    assert recipe["method"]["relation_weight"] == 3
    assert recipe["method"]["base"]["base"]["hidden"] == 32


def test_the_log_has_every_term_and_its_gradient(there):
    last = metrics_of(there / "run")[-1]
    terms = {"byol", "interclr", "eir/relation", "eir/mixture"}
    assert {name.removeprefix("term/") for name in last if name.startswith("term/")} == terms
    assert all(last[f"gradient/{term}"] > 0 for term in terms)
    assert 0 <= last["interclr/positives_purity"] <= 1
    assert 0 <= last["interclr/label_churn"] <= 1


@pytest.mark.parametrize("features", ["backbone", "embedding"])
def test_features_of_two_terms_are_written(there, tmp_path, features):
    assert viewkin("embed", "run", IMAGES, "--features", features, "--out", tmp_path / "x.parquet").code == 0


def test_a_run_is_not_begun_twice(there):
    assert viewkin(*COMMAND).code == 2


def test_a_resumed_run_keeps_its_method(there):
    again = viewkin("train", IMAGES, "--out", "run", "--resume", "--method", "moco")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "--method would change the run" in again.err
