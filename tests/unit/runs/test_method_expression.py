"""Methods written as an expression, wrappers' parts, and what monitors make of the kin that terms find."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from lawbook import (
    BATCH,
    CLUSTERED,
    COUNT,
    METHODS,
    Heard,
    batch_for,
    build,
    metrics_of,
    noise_source,
    recipe_for,
    trainer_for,
)
from viewkin import losses
from viewkin.methods import catalogue
from viewkin.methods.base import MethodConfig, Step, ViewMethod
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.wrapper import TermConfig, Wrapper, build_base
from viewkin.recipes.baselines import moco_cifar10
from viewkin.runs.method_expression import parsed, settings_within, with_method, wraps
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import reporting_to
from viewkin.schedules import Progress, RampConfig
from viewkin.settings import with_values
from viewkin.training.monitors import kinship, term_gradients, warning_of


@dataclass(frozen=True, kw_only=True)
class BareConfig(TermConfig):
    """A wrapper that adds no term."""

    kind: ClassVar[str] = "bare"
    base: MethodConfig = field(default_factory=MoCoConfig)

    def build(self, backbone: nn.Module, *, count: int) -> Bare:
        return Bare(build_base(self.base, self.kind, backbone, count), count=count, momentum=0.0)


class Bare(Wrapper):
    """Nothing but the base."""

    def forward(self, batch: Any, at: Progress) -> Step:
        return self.base(batch, at)


@dataclass(frozen=True, kw_only=True)
class OuterConfig(BareConfig):
    """Another."""

    kind: ClassVar[str] = "outer"

    def build(self, backbone: nn.Module, *, count: int) -> Outer:
        return Outer(build_base(self.base, self.kind, backbone, count), count=count, momentum=0.0)


class Outer(Bare):
    """Nothing but the base, either."""


@pytest.fixture
def _bare_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.METHOD_CONFIGS, "bare", BareConfig)  # type: ignore[index]
    monkeypatch.setitem(catalogue.METHOD_CONFIGS, "outer", OuterConfig)  # type: ignore[index]


@pytest.mark.usefixtures("_bare_is_known")
def test_expression_nests_and_keeps_the_settings_of_the_recipe() -> None:
    recipe = with_method(moco_cifar10(), "outer( bare(moco))")
    assert recipe.name == "moco_cifar10-outer-bare-moco"
    inner: Any = recipe.method
    assert inner.base.base == moco_cifar10().method
    assert with_method(recipe, "byol").method == BYOLConfig()
    assert list(settings_within(recipe.method)) == ["outer", "bare", "moco"]


@pytest.mark.usefixtures("_bare_is_known")
@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("moko", "no method 'moko'; did you mean moco"),
        ("bare", "write which, such as bare"),
        ("moco(byol)", "wraps no other method"),
        ("moco(moco)", "wraps no other method"),
        ("bare(bare(moco))", "bare is there twice in --method 'bare(bare(moco))'; a method can have each term once"),
        ("bare(outer(bare(moco)))", "bare is there twice"),
        ("bare(moco", "does not read"),
        ("bare(moco))", "does not read"),
        ("", "does not read"),
    ],
)
def test_wrong_expression_is_one_sentence(expression: str, sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        with_method(moco_cifar10(), expression)


@pytest.mark.usefixtures("_bare_is_known")
def test_names_are_read_from_outside_in() -> None:
    assert parsed("bare(outer(byol))") == ["bare", "outer", "byol"]


@pytest.mark.parametrize("wrap", [lambda base: base, lambda base: OuterConfig(base=base)])
def test_the_same_term_twice_is_refused_from_python_too(wrap: Any) -> None:
    # Under the same names in terms, record and found, the inner one would be lost.
    with pytest.raises(UserError, match="The term Bare is there twice; a method can have it once"):
        build(BareConfig(base=wrap(BareConfig(base=METHODS["moco"]))))


@pytest.mark.parametrize("kind", [kind for kind, config in catalogue.METHOD_CONFIGS.items() if wraps(config)])
def test_no_term_that_there_is_can_be_had_twice(kind: str) -> None:
    config: Any = catalogue.METHOD_CONFIGS[kind]
    settings = {name: value for name, value in CLUSTERED.items() if kind == "interclr"}
    once = with_values(config(base=METHODS["moco"]), settings)
    with pytest.raises(UserError, match="is there twice"):
        build(with_values(config(base=once), settings))


def test_limits_of_a_wrapped_method_have_its_path() -> None:
    config = BareConfig(base=BareConfig(base=MoCoConfig()))
    assert list(config.limits(100, 10)) == ["base.base.queue_size"]


def test_wrapper_shares_the_bank_of_its_base_and_writes_it_once() -> None:
    method = build(BareConfig(base=METHODS["npid"]))
    assert isinstance(method, Wrapper)
    assert method.bank is method.base.bank
    assert sum(name.endswith("bank.features") for name in method.state_dict()) == 1
    alone = build(METHODS["npid"])
    batch = batch_for(alone, torch.arange(BATCH))
    for either in (method, alone):
        either.update(either(batch, Progress()).record, Progress())
    assert isinstance(alone, ViewMethod)
    assert torch.equal(method.bank.features, alone.bank.features)


def test_wrapper_brings_a_bank_where_the_base_has_none_and_nested_wrappers_share_it() -> None:
    method = build(OuterConfig(base=BareConfig(base=METHODS["byol"])))
    assert isinstance(method, Wrapper)
    assert isinstance(method.base, Wrapper)
    assert method.own_bank is None
    assert method.bank is method.base.own_bank
    step = method(batch_for(method, torch.arange(BATCH)), Progress())
    method.update(step.record, Progress())
    assert torch.allclose(method.bank.read(torch.arange(BATCH)), step.record["embedding"], atol=1e-6)
    assert len(method.bank) == COUNT


def test_parameters_of_wrapped_methods_are_trained_once_under_their_full_names() -> None:
    method = build(BareConfig(base=METHODS["byol"]))
    named = [pair for group in method.param_groups() for pair in group["named"]]
    assert dict(named) == {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert len(named) == len(dict(named))


def test_only_view_methods_can_be_wrapped() -> None:
    @dataclass(frozen=True, kw_only=True)
    class OtherConfig(NPIDConfig):
        kind: ClassVar[str] = "other"

        def build(self, backbone: nn.Module, *, count: int) -> Any:
            return nn.Identity()

    with pytest.raises(UserError, match="bare wraps methods that compare views by one vector each; other is none"):
        build(dataclasses.replace(BareConfig(), base=OtherConfig()))


def test_kinship_counts_others_with_a_label_only() -> None:
    labels = torch.tensor([0, 0, 1, 1, -1])
    found = {"a/positives": torch.tensor([[0, 1, 2, 4, -1], [2, 3, 0, 0, 0]]), "a/negatives": torch.tensor([[1], [0]])}
    report = kinship(found, torch.tensor([0, 2]), labels)
    # anchor 0: 1 right, 2 wrong (0 is itself, 4 has no label); anchor 2: 3 right, 0 wrong three times
    assert report["a/positives_purity"] == pytest.approx(2 / 6)
    assert report["a/negatives_false"] == pytest.approx(1 / 2)
    assert kinship({"a/positives": torch.tensor([[0], [2]])}, torch.tensor([0, 2]), labels) == {}


HEALTHY = {"spread": 1.0, "effective_rank": 9.0, "gradient_norm": 1.0, "gradient/a": 0.5, "gradient/b": 0.1}


def test_a_term_that_teaches_nothing_is_told_once_no_term_waits() -> None:
    assert warning_of(HEALTHY, 8) is None
    dead = {**HEALTHY, "gradient/b": 0.0}
    assert str(warning_of(dead, 8)).startswith("Nothing is learnt from b: the norm of its own gradient is 0.")
    assert "from a and b:" in str(warning_of({**dead, "gradient/a": 0.0}, 8))
    assert warning_of(dead, 8, complete=False) is None


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("dead", [False, True])
def test_a_run_waits_for_a_ramp_before_it_calls_a_term_dead(
    wrapped: bool, dead: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dead:
        monkeypatch.setattr(losses, "propagation_loss", lambda nearest, *_, **__: 0 * nearest.own)
    kin: Any = dataclasses.replace(METHODS["invp"], mix_weight=0.0, ramp=RampConfig(epochs=2, gate=False))  # type: ignore[type-var]
    recipe = recipe_for(EIRConfig(base=kin, relation_weight=0.0, mixture_weight=0.0) if wrapped else kin, epochs=3)
    trainer = trainer_for(recipe, noise_source(), tmp_path)
    with reporting_to(Heard()) as heard:
        trainer.run()
    said = " ".join(heard.sentences)
    norms = [line["gradient/invp/propagation"] for line in metrics_of(tmp_path)]
    assert norms[:6] == [0.0] * 6  # the last of them at the very end of the ramp
    assert (norms[-1] == 0) == dead
    assert ("Nothing is learnt from invp/propagation" in said) == dead


def test_norm_of_each_terms_gradient_leaves_the_graph_whole() -> None:
    weight = torch.tensor([[3.0, 4.0]], requires_grad=True)
    terms = {"one": weight.sum(), "two": 2 * weight.sum(), "none": torch.ones((), requires_grad=True) * 1.0}
    step = Step(terms=terms, pairs=())
    norms = term_gradients(step, weight)
    assert {name: round(float(norm), 5) for name, norm in norms.items()} == {
        "gradient/one": 1.41421,
        "gradient/two": 2.82843,
        "gradient/none": 0.0,
    }
    step.loss.backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[3.0, 3.0]]
    assert term_gradients(Step(terms={"one": weight.sum()}, pairs=()), weight) == {}
