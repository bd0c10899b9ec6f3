"""Claims about typed settings: paths, text, JSON."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import pytest

from lawbook import METHODS, build, interclr
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.methods.invp import InvPConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.interclr import InterCLRConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.run_settings import read_run_settings
from viewkin.runtime.errors import UserError, inside
from viewkin.settings import (
    Positive,
    Settings,
    parse,
    setting_paths,
    settings_from_dict,
    settings_to_dict,
    with_text,
    with_value,
    with_values,
)
from viewkin.training.config import Recipe


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    kind: ClassVar[str] = "inner"

    rate: Positive = 0.5
    colour: Literal["red", "green"] = "red"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.1, 0.2)
    level: float | tuple[float, ...] = 0.1
    limit: int | None = None
    loud: bool = False


class AnyInner(Protocol):
    kind: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    kind: Literal["steps", "line"] = "steps"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str = "outer"
    count: int = 3
    inner: AnyInner = field(default_factory=Inner)
    plan: Plan = field(default_factory=Plan)


def test_paths_open_nested_settings():
    assert setting_paths(Outer()) == {
        "name": "outer",
        "count": 3,
        "inner.rate": 0.5,
        "inner.colour": "red",
        "inner.sizes": (1, 2),
        "inner.pair": (0.1, 0.2),
        "inner.level": 0.1,
        "inner.limit": None,
        "inner.loud": False,
        "plan.kind": "steps",
    }


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("name=other", "name", "other"),
        ("name=a=b", "name", "a=b"),
        ("count=7", "count", 7),
        (" count = 7 ", "count", 7),
        ("inner.rate=2", "inner.rate", 2.0),
        ("inner.rate=1e-3", "inner.rate", 1e-3),
        ("inner.colour=green", "inner.colour", "green"),
        ("inner.sizes=4,5,6", "inner.sizes", (4, 5, 6)),
        ("inner.sizes=(4, 5)", "inner.sizes", (4, 5)),
        ("inner.sizes=4", "inner.sizes", (4,)),
        ("inner.sizes=", "inner.sizes", ()),
        ("inner.pair=0.3,0.4", "inner.pair", (0.3, 0.4)),
        ("inner.level=0.2", "inner.level", 0.2),
        ("inner.level=0.2,0.02", "inner.level", (0.2, 0.02)),
        ("plan.kind=line", "plan.kind", "line"),
        ("inner.limit=9", "inner.limit", 9),
        ("inner.limit=none", "inner.limit", None),
        ("inner.limit=None", "inner.limit", None),
        ("inner.loud=true", "inner.loud", True),
        ("inner.loud=No", "inner.loud", False),
        ("inner.loud=1", "inner.loud", True),
    ],
)
def test_text_sets_one_setting_by_its_type(assignment, path, value):
    before = Outer()
    after = with_text(before, assignment)
    found = setting_paths(after)
    assert found[path] == value
    assert type(found[path]) is type(value)
    assert {p: v for p, v in found.items() if p != path} == {
        p: v for p, v in setting_paths(before).items() if p != path
    }
    assert before == Outer()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("count", "path=value"),
        ("cuont=3", "'cuont'.*did you mean count"),
        ("inner.ratee=3", "did you mean inner.rate"),
        ("rate=3", "inner.rate"),
        ("inner=3", "There is no setting 'inner'"),
        ("zzzzzz=3", "the settings are name, count, inner.rate"),
        ("count=3.5", "count is '3.5'; it must be a whole number"),
        ("count=none", "count is 'none'; it must be a whole number"),
        ("inner.rate=fast", "inner.rate is 'fast'; it must be a number"),
        ("inner.rate=0", "inner.rate is 0.0; it must be above 0"),
        ("inner.rate=nan", "inner.rate is nan"),
        ("inner.colour=blue", "inner.colour is 'blue'; it must be one of red, green"),
        ("inner.sizes=1,x", "inner.sizes is 'x'; it must be a whole number"),
        ("inner.pair=0.3", "inner.pair is '0.3'; it must be 2 values"),
        ("inner.pair=0.3,0.4,0.5", "inner.pair is '0.3,0.4,0.5'; it must be 2 values"),
        ("inner.limit=many", "inner.limit is 'many'; it must be a whole number"),
        ("inner.level=big", "inner.level is 'big'; it must be a number"),
        ("inner.loud=maybe", "inner.loud is 'maybe'; it must be true or false"),
    ],
)
def test_wrong_text_is_refused_in_one_sentence(assignment, message):
    with pytest.raises(UserError, match=message) as refused:
        with_text(Outer(), assignment)
    assert "\n" not in str(refused.value)


def test_parse_refuses_what_a_type_cannot_read():
    assert parse("3", int, "n") == 3
    with pytest.raises(UserError, match="n is 'three'"):
        parse("three", int, "n")


def test_with_value_lets_the_owner_validate():
    assert with_value(Outer(), "inner.rate", 0.9).inner.rate == 0.9
    with pytest.raises(UserError, match="above 0"):
        with_value(Outer(), "inner.rate", -1.0)


def test_kind_is_written_and_read_back():
    config = Outer(inner=Inner(rate=0.7, sizes=(9,), level=(0.5, 0.05)))
    stored = json.loads(json.dumps(settings_to_dict(config)))
    assert stored["inner"]["kind"] == "inner"
    assert settings_from_dict(Outer, stored, {"inner": Inner}) == config


def test_missing_fields_take_their_defaults():
    assert settings_from_dict(Outer, {"count": 5}, {}) == Outer(count=5)


def test_unknown_fields_and_kinds_are_another_versions():
    with pytest.raises(UserError, match=r"unknown field Outer\.colour"):
        settings_from_dict(Outer, {"colour": "red"}, {})
    for values in ({"kind": "new"}, {}):
        with pytest.raises(UserError, match="unknown method"):
            settings_from_dict(Outer, {"inner": values}, {"inner": Inner})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 3.0}, "count is 3.0; it must be a whole number"),
        ({"count": True}, "count is true; it must be a whole number"),
        ({"count": "3"}, 'count is "3"; it must be a whole number'),
        ({"count": {}}, "count is {}; it must be a whole number"),
        ({"name": ["outer"]}, 'name is \\["outer"\\]; it must be a text'),
        ({"name": None}, "name is null; it must be a text"),
        ({"inner": None}, "inner is null; it must be settings in braces"),
        ({"inner": "inner"}, 'inner is "inner"; it must be settings in braces'),
        ({"plan": [1]}, "plan is \\[1\\]; it must be settings in braces"),
        ({"plan": {"kind": 3}}, "plan.kind is 3; it must be one of steps, line"),
        ({"inner": {"kind": "inner", "rate": True}}, "inner.rate is true; it must be a number"),
        (
            {"inner": {"kind": "inner", "sizes": [1, 2.5]}},
            "inner.sizes is .*; it must be a list with a whole number each",
        ),
        ({"inner": {"kind": "inner", "sizes": 3}}, "inner.sizes is 3; it must be a list"),
        ({"inner": {"kind": "inner", "pair": [0.1]}}, "inner.pair is .*; it must be a list of 2 values"),
        (
            {"inner": {"kind": "inner", "level": "low"}},
            "inner.level is .*; it must be a number or a list with a number each",
        ),
        ({"inner": {"kind": "inner", "limit": 1.5}}, "inner.limit is 1.5; it must be a whole number or null"),
        ({"inner": {"kind": "inner", "loud": 1}}, "inner.loud is 1; it must be true or false"),
    ],
)
def test_a_stored_value_of_another_type_is_refused_with_its_path(values, message):
    with pytest.raises(UserError, match=message):
        settings_from_dict(Outer, values, {"inner": Inner})


def test_a_stored_whole_number_is_a_number():
    stored = {"inner": {"kind": "inner", "rate": 2, "pair": [0, 1], "limit": None}}
    assert settings_from_dict(Outer, stored, {"inner": Inner}).inner == Inner(rate=2, pair=(0, 1))


def test_a_field_named_kind_is_no_class_to_look_up():
    trip = Outer(plan=Plan(kind="line"))
    assert settings_to_dict(trip)["plan"] == {"kind": "line"}
    assert settings_from_dict(Outer, settings_to_dict(trip), {"inner": Inner}).plan == Plan(kind="line")


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name):
    recipe = recipe_named(name)
    assert recipe.name == name
    stored = json.loads(json.dumps(settings_to_dict(recipe)))
    assert settings_from_dict(Recipe, stored, METHOD_CONFIGS) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_recipe_can_be_set_to_its_own_value(name):
    recipe = recipe_named(name)
    for path, value in setting_paths(recipe).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert with_text(recipe, f"{path}={text}") == recipe, path


def test_kinds_name_every_method_of_the_recipes():
    for recipe in RECIPES.values():
        config = recipe().method
        assert METHOD_CONFIGS[type(config).kind] is type(config)
    assert all(kind == config.kind for kind, config in METHOD_CONFIGS.items())


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match=r"did you mean .*moco_cifar10"):
        recipe_named("moco_cifar")
    with pytest.raises(UserError, match="viewkin recipes"):
        recipe_named("qqqqqqqq")


def test_settings_are_frozen_and_keyword_only():
    for config in (recipe_named("moco_cifar10"), *METHODS.values()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.seed = 3  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            type(config)(1)


@pytest.mark.parametrize(
    "assignment",
    [
        "method.temperature=0",
        "method.temperature=-1",
        "method.temperature=nan",
        "method.dim=1",
        "method.queue_size=0",
        "method.momentum=1",
        "method.momentum=-0.1",
        "method.norm=layer",
        "method.norm=split:0",
        "backbone.name=resnet19",
        "augment.image_size=4",
        "data.batch_size=1",
        "data.accumulate=0",
        "optim.lr=0",
        "optim.betas=0.9",
        "optim.name=sdg",
        "schedule.epochs=0",
        "runtime.log_every=0",
        "runtime.workers=-1",
        "runtime.precision=8-bit",
    ],
)
def test_bad_values_of_a_recipe_are_refused(assignment):
    recipe = recipe_named("moco_cifar10")
    with pytest.raises(UserError, match=assignment.split("=")[0].split(".")[-1] + "|There is no backbone"):
        with_text(recipe, assignment)


INNER = MoCoConfig(dim=8)
ONCE, TWICE = InterCLRConfig(base=INNER), EIRConfig(base=InterCLRConfig(base=INNER))


@pytest.mark.parametrize(
    ("method", "path", "value"),
    [
        (ONCE, "margin.value", 3.0),
        (ONCE, "base.margin", 3.0),
        (EIRConfig(base=INNER), "base.temperature", -1.0),
        (EIRConfig(base=InvPConfig()), "base.ramp.share", 2.0),
        (TWICE, "base.margin.value", 3.0),
        (TWICE, "base.base.margin", 3.0),
    ],
)
def test_a_refusal_names_the_path_of_a_wrapped_methods_setting(method, path, value):
    recipe = dataclasses.replace(recipe_named("moco_cifar10"), method=method)
    sentence = re.escape(f"method.{path} is {value}; it must be")
    with pytest.raises(UserError, match="^" + sentence):
        with_text(recipe, f"method.{path}={value}")
    stored = settings_to_dict(recipe)
    holder, _, name = path.rpartition(".")
    part = stored["method"]
    for step in filter(None, holder.split(".")):
        part = part[step]
    part[name] = value
    with pytest.raises(UserError, match="^" + sentence):
        settings_from_dict(Recipe, stored, METHOD_CONFIGS)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (EIRConfig(base=INNER), "relation_weight"),
        (InvPConfig(), "ramp.epochs"),
        (InvPConfig(), "mix_alpha"),
        (ONCE, "base.temperature"),
        (TWICE, "base.base.temperature"),
    ],
)
def test_numbers_of_a_method_are_finite(method, path):
    recipe = dataclasses.replace(recipe_named("moco_cifar10"), method=method)
    with pytest.raises(UserError, match=f"^method.{path} is inf; it must be a finite number"):
        with_text(recipe, f"method.{path}=inf")


def test_a_refusal_names_every_setting_of_a_wrapped_method_by_its_path():
    with pytest.raises(UserError, match=r"^base\.head is .*; it must be shared where base\.base_weight is 1"):
        with_values(TWICE, {"base.base_weight": 1.0, "base.head": "separate"})


def test_a_refusal_when_a_wrapped_method_is_built_names_its_path():
    base, sentence = (
        interclr(INNER, pool=0.1, negatives=1000),
        r"^method\.base\.base\.negatives\.number is 1000; it must be",
    )
    with pytest.raises(UserError, match=sentence), inside("method"):
        build(PropagationConfig(base=EIRConfig(base=base)))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("npid", "loss", "sotfmax"),
        ("npid", "head", "mpl"),
        ("npid", "bank_init", "zeros"),
        ("npid", "negatives", 0),
        ("npid", "bank_momentum", 1.0),
        ("iraug", "reading", "sum"),
        ("iraug", "head", "mpl"),
        ("iraug", "bank_init", "zeros"),
        ("iraug", "bank_view", "third"),
        ("simclr", "hidden", 0),
        ("simclr", "temperature", 0.0),
        ("moco", "head", "mpl"),
        ("moco", "norm", "layer"),
        ("byol", "norm", "layer"),
        ("byol", "hidden", 0),
        ("byol", "momentum", 1.0),
    ],
)
def test_a_method_refuses_a_setting_that_it_does_not_know(kind, field, value):
    # Beside the command line: from Python, or from an edited recipe.json.
    with pytest.raises(UserError, match=f"^{field} is "):
        METHOD_CONFIGS[kind](**{field: value})


@dataclass(frozen=True, kw_only=True)
class Part:
    hops: int = 3


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """Settings that had other names before: one was renamed, one moved into a part."""

    renamed: ClassVar[dict[str, str]] = {"old": "new", "hops": "part.hops"}
    new: int = 1
    part: Part = field(default_factory=Part)


@dataclass(frozen=True, kw_only=True)
class Around:
    method: Renewed = field(default_factory=Renewed)


def test_old_names_of_settings_work_in_texts_and_in_stored_files():
    now = Around(method=Renewed(new=5, part=Part(hops=7)))
    for names in (("old", "hops"), ("new", "part.hops")):
        texts = [f"method.{name}={value}" for name, value in zip(names, (5, 7))]
        assert with_text(with_text(Around(), texts[0]), texts[1]) == now
    assert settings_from_dict(Around, {"method": {"old": 5, "hops": 7}}, {}) == now
    assert settings_from_dict(Around, settings_to_dict(now), {}) == now
    assert "old" not in settings_to_dict(now)["method"]


def test_a_name_of_today_counts_more_than_an_old_one_beside_it():
    assert settings_from_dict(Renewed, {"old": 5, "new": 6}, {}).new == 6


@pytest.mark.parametrize("stored", sorted((Path(__file__).parents[3] / "results").rglob("recipe.json")), ids=str)
def test_every_stored_run_is_readable(stored):
    settings = read_run_settings(stored)
    again = settings_from_dict(Recipe, settings_to_dict(settings.recipe), METHOD_CONFIGS)
    assert again == settings.recipe
    weight = json.loads(stored.read_text())["recipe"]["method"].get("lambda_")
    assert weight is None or settings.recipe.method.base_weight == weight  # type: ignore[attr-defined]
