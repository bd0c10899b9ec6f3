"""Claims that hold for any settings, texts, keys and values; Hypothesis looks for what breaks them."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.watch import fault_of
from viewkin.collection.embeddings import read_embeddings, write_embeddings
from viewkin.data.dataset import Dataset
from viewkin.data.identity import fingerprint_of
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.method_expression import parsed
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import one_line
from viewkin.settings import read_assignment, setting_paths, settings_from_dict, settings_to_dict, with_value
from viewkin.training.config import Recipe
from viewkin.training.logs import MetricsLog, read_metrics

settings.register_profile(
    "viewkin",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("viewkin")

recipes = st.sampled_from(sorted(RECIPES)).map(recipe_named)
names = st.text(max_size=30)
any_text = st.text(st.characters(), max_size=60)  # half characters (surrogates) and control characters among them
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), any_text, st.lists(st.integers(), max_size=3)
)


def _refusal(action) -> str:
    """Run something; the sentence by which it refuses, if it does."""
    try:
        action()
    except UserError as error:
        return str(error)
    return ""


@given(recipes, st.data())
def test_settings_with_any_valid_change_come_back_from_json(recipe, data):
    path = data.draw(st.sampled_from(sorted(setting_paths(recipe))))
    changed = recipe
    value = data.draw(values)
    written = f"{path}={value}"
    if not _refusal(lambda: read_assignment(recipe, written)):
        path, value = read_assignment(recipe, written)
        refusal = _refusal(lambda: with_value(recipe, path, value))
        changed = recipe if refusal else with_value(recipe, path, value)
    text = json.dumps(settings_to_dict(changed))
    assert settings_from_dict(Recipe, json.loads(text), METHOD_CONFIGS) == changed


@given(recipes, st.data())
def test_a_set_text_is_read_or_refused_by_a_sentence(recipe, data):
    path = data.draw(st.one_of(st.sampled_from(sorted(setting_paths(recipe))), any_text))
    text = data.draw(st.one_of(any_text, values.map(str), st.sampled_from(["", "nan", "inf", "1e999", "9" * 5000])))
    sentence = _refusal(lambda: with_value(recipe, *read_assignment(recipe, f"{path}={text}")))
    assert not fault_of(sentence) or "the settings are" in sentence  # it lists them all


@given(st.one_of(any_text, st.text("()abiermov ", max_size=25)))
def test_a_method_expression_is_read_or_refused_by_a_sentence(expression):
    assert not fault_of(_refusal(lambda: parsed(expression)))


@given(st.lists(st.sampled_from(sorted(METHOD_CONFIGS)), min_size=1, max_size=4, unique=True))
def test_a_method_expression_names_what_it_is_written_of(kinds):
    expression = "(".join(kinds) + ")" * (len(kinds) - 1)
    assert parsed(expression) == kinds


file_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=10)
@given(st.lists(st.tuples(file_names, st.binary(min_size=1, max_size=20)), min_size=1, max_size=6))
def test_keys_differ_and_the_fingerprint_does_not_hang_on_the_order(files):
    with tempfile.TemporaryDirectory() as spare:
        folder, cache = Path(spare) / "images", Path(spare) / "cache"
        (folder / "sub").mkdir(parents=True)
        for number, (name, content) in enumerate(files):
            place = folder / "sub" if number % 2 else folder
            (place / f"i{name}.png").write_bytes(content)
        dataset = Dataset(folder)
        keys, ids = dataset.listing().keys, dataset.content_ids(cache_dir=cache)
        assert len({*keys}) == len(keys) == len(ids) == sum(1 for _ in folder.rglob("*.png"))
        pairs = list(zip(keys, ids))
        assert fingerprint_of(pairs) == fingerprint_of(pairs[::-1]) == dataset.fingerprint(cache_dir=cache)


@dataclass(frozen=True)
class _Rows:
    keys: list[str]
    labels: list[int]
    classes: list[str]


rows = st.integers(0, 5).flatmap(
    lambda n: st.builds(
        _Rows,
        st.lists(any_text, min_size=n, max_size=n),
        st.lists(st.integers(-1, 2**40), min_size=n, max_size=n),
        st.lists(any_text, max_size=3),
    )
)


@given(rows, st.integers(1, 4))
def test_embeddings_come_back_with_any_keys(made, width):
    with tempfile.TemporaryDirectory() as spare:
        path = Path(spare) / "e.parquet"
        vectors = torch.arange(len(made.keys) * width, dtype=torch.float32).view(-1, width)
        labels = torch.tensor(made.labels, dtype=torch.int64)
        sentence = _refusal(lambda: write_embeddings(path, vectors, made.keys, labels, made.classes))
        assert not fault_of(sentence)
        if sentence:
            return
        read = read_embeddings(path)
    assert list(read.keys) == made.keys
    assert torch.equal(read.embeddings, vectors)
    assert torch.equal(read.labels, labels)
    assert list(read.classes) == made.classes


@settings(max_examples=5)
@given(st.lists(st.dictionaries(names, st.floats(), max_size=3), max_size=4))
def test_a_log_comes_back_line_by_line(lines):
    with tempfile.TemporaryDirectory() as spare:
        log = MetricsLog(Path(spare), from_step=0)
        lines = [{name: value for name, value in line.items() if name != "step"} for line in lines]
        for step, line in enumerate(lines, 1):
            log.write(step, line)
        log.close()
        read = read_metrics(Path(spare) / "metrics.jsonl")
    finite = [{name: value if math.isfinite(value) else None for name, value in line.items()} for line in lines]
    assert read == [{"step": step, **line} for step, line in enumerate(finite, 1)]


@given(st.text(st.characters(), max_size=3000))
def test_any_text_becomes_one_line(text):
    line = one_line(text)
    assert fault_of(line[:400]) == ""
    assert one_line(line) == line or len(line) > 2000


@pytest.mark.parametrize("path", ["schedule.epochs", "seed", "optim.lr"])
def test_a_number_of_any_length_is_read_or_refused(path):
    recipe = recipe_named("demo")
    for text in ("9" * 20, "9" * 400, "9" * 10_000, "-" + "9" * 400, "1e400", "0x10", "١٢", "1_000"):
        assert not fault_of(_refusal(lambda text=text: with_value(recipe, *read_assignment(recipe, f"{path}={text}"))))
