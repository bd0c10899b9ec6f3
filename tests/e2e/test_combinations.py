"""Terms around terms, from the command line to the files of a run."""

import json

from commandline import metrics_of, viewkin


def test_two_terms_around_byol_train_and_show_what_they_found(workplace):
    method = "eir(interclr(byol))"
    command = ("train", "generated:images=96", "--recipe", "demo", "--smoke", "--method", method, "--out", "run")
    ended = viewkin(*command, "--set", "method.base.base.hidden=32", "--set", "method.relation_weight=3")
    assert (ended.code, ended.err) == (0, "")
    recipe = json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]
    assert recipe["name"] == "demo-eir-interclr-byol"
    assert recipe["method"]["relation_weight"] == 3
    assert recipe["method"]["base"]["base"]["hidden"] == 32
    last = metrics_of(workplace / "run")[-1]
    terms = {"byol", "interclr", "eir/relation", "eir/mixture"}
    assert {name.removeprefix("term/") for name in last if name.startswith("term/")} == terms
    assert all(last[f"gradient/{term}"] > 0 for term in terms)
    assert 0 <= last["interclr/positives_purity"] <= 1
    assert 0 <= last["interclr/label_churn"] <= 1
    assert viewkin("embed", "run", "generated:images=96", "--out", "x.parquet").code == 0
    assert viewkin("embed", "run", "generated:images=96", "--features", "embedding", "--out", "y.parquet").code == 0
    stopped = viewkin(*command)
    assert stopped.code == 2
    again = viewkin("train", "generated:images=96", "--out", "run", "--resume", "--method", "moco")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "--method would change the run" in again.err


def test_a_wrong_method_is_one_sentence(workplace):
    for method, sentence in (
        ("eir(amdim)", "compare views"),
        ("eir", "eir(moco)"),
        ("mocco", "did you mean moco"),
        ("eir(moco", "does not read"),
    ):
        ended = viewkin("train", "generated:images=96", "--recipe", "demo", "--smoke", "--method", method)
        assert ended.code == 2
        assert sentence in ended.err
        assert ended.err.count("\n") == 1
        assert not (workplace / "runs").exists()
