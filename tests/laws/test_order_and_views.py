"""Laws 8, 9 and 10: memory is read before own keys enter, moves once a step, and more views are averaged.

Beside them: the values of a network that knows nothing, and the passes that a method says it makes.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lawbook import BATCH, COUNT, METHODS, NAMES, SIDE, batch_for, build, noise_source, recipe_for, trainer_for
from lawcheck import AT, INDEX, trained_a_little
from viewkin.augment.multi_crop import MultiCropConfig
from viewkin.memory.bank import FeatureBank
from viewkin.memory.queue import KeyQueue
from viewkin.memory.storage import Replicated
from viewkin.methods.base import Batch, Method
from viewkin.methods.nnclr import NNCLR
from viewkin.nets.resnet import ResNet
from viewkin.schedules import Progress

every_method = pytest.mark.parametrize("name", NAMES)


# ---------------------------------------------------------------- law 8: order


def read_before_written(method: Method, batch: Batch) -> None:
    """No row that a memory holds during the forward pass is a key that this step writes."""
    held = [module.everything().clone() for module in method.modules() if isinstance(module, Replicated)]
    record = method(batch, AT).record
    keys = [value.float() for value in record.values() if value.ndim == 2 and value.shape[1] == method.dim]
    for rows in (rows for rows in held if rows.shape[1] == method.dim):
        for key in keys:
            nearest = (key @ rows.float().T).max(1).values
            assert (nearest < 1 - 1e-4).all(), "a key meets itself"


@every_method
def test_law_8_a_memory_is_read_before_own_keys_enter(name):
    method = trained_a_little(name)
    read_before_written(method, batch_for(method, INDEX, step=9))


@pytest.mark.parametrize("name", ["moco", "nnclr", "swav-queue"])
def test_law_8_finds_keys_that_enter_first(name, monkeypatch):
    method = trained_a_little(name)
    batch = batch_for(method, INDEX, step=9)
    for queue in (module for module in method.modules() if isinstance(module, KeyQueue)):
        queue.push_(method(batch, AT).record["embedding"])
    with pytest.raises(AssertionError, match="meets itself"):
        read_before_written(method, batch)


def test_law_8_the_neighbour_of_a_projection_is_not_itself():
    method = trained_a_little("nnclr")
    assert isinstance(method, NNCLR)
    batch = batch_for(method, INDEX, step=9)
    (_, first), (_, second) = method(batch, AT).pairs
    own = method(batch, AT).record["embedding"]
    for found in (first, second):
        assert not (found - own).abs().amax(1).lt(1e-4).any()


# ---------------------------------------------------------------- law 9: once a step


@every_method
def test_law_9_memory_moves_once_a_step_under_accumulation(name: str, tmp_path: Path, monkeypatch):
    trainer = trainer_for(recipe_for(METHODS[name], accumulate=2), noise_source(), tmp_path)
    calls: dict[str, list[Any]] = {"forward": [], "update": [], "write": []}
    update = trainer.method.update

    def counted(record: dict[str, Tensor], at: Progress) -> None:
        calls["update"].append(sorted(record["index"].tolist()))
        update(record, at)

    monkeypatch.setattr(trainer.method, "update", counted)
    trainer.method.register_forward_hook(lambda module, inputs, _: calls["forward"].append(inputs[0].index.tolist()))
    queues = {"push_": KeyQueue.push_, "write_": FeatureBank.write_}
    for kind, call in ((KeyQueue, "push_"), (FeatureBank, "write_")):

        def spied(memory: Any, *given: Any, _call: Callable[..., None] = queues[call]) -> None:
            if any(memory is module for module in trainer.method.modules()):
                calls["write"].append(id(memory))
            _call(memory, *given)

        monkeypatch.setattr(kind, call, spied)
    trainer.run()
    steps = COUNT // BATCH
    assert [len(index) for index in calls["forward"]] == [BATCH // 2] * 2 * steps
    assert [len(index) for index in calls["update"]] == [BATCH] * steps
    for step, joined in enumerate(calls["update"]):
        assert joined == sorted([*calls["forward"][2 * step], *calls["forward"][2 * step + 1]])
    for memory in set(calls["write"]):
        assert calls["write"].count(memory) in (steps, 2 * steps)  # twice where both views are kept


# ---------------------------------------------------------------- law 10: views

ALIKE = [
    ("simsiam", {"views": 2}, {"views": 5}),
    ("sigreg", {"views": 2}, {"views": 4}),
    ("swav", {}, {"crops": MultiCropConfig(small=3, size=SIDE)}),
    ("dino", {}, {"crops": MultiCropConfig(small=3, size=SIDE)}),
]


@pytest.mark.parametrize(("name", "two", "several"), ALIKE, ids=[name for name, _, _ in ALIKE])
def test_law_10_several_equal_views_give_the_value_of_two(name, two, several):
    values = []
    for settings in (two, several):
        method = build(replace(METHODS[name], **settings)).double().eval()  # type: ignore[type-var]
        image = batch_for(method, INDEX, step=9, dtype=torch.float64)
        views = dict.fromkeys(image.views, image.views["first"])
        values.append(float(method(Batch(views, image.index, image.draw), AT).loss.detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-9)


# ---------------------------------------------------------------- a network that knows nothing


def zeroed(method: Any, *names: str) -> None:
    for name in names:
        nn.init.zeros_(method.get_submodule(name).weight)


CHANCE: dict[str, tuple[tuple[str, ...], float]] = {
    "swav": (("prototypes",), math.log(12)),
    "dino": (("last",), math.log(512)),
    "diet": (("encoder.head",), math.log(COUNT)),
    "nnclr": ((), math.log(BATCH)),
    "moco_v3": ((), 2 * 2 * 0.2 * math.log(BATCH)),
    "vicreg": ((), 25 * 0.99),
    "simsiam": ((), -1.0),
}
"""Name to layers that are set to 0, and the loss of images that all look alike."""


@pytest.mark.parametrize("name", CHANCE)
def test_chance_values(name):
    layers, expected = CHANCE[name]
    method = build(METHODS[name]).double().eval()
    zeroed(method, *layers)
    batch = batch_for(method, INDEX, step=9, dtype=torch.float64)
    if not layers:
        batch.views = {key: view[:1].mean().expand_as(view) for key, view in batch.views.items()}
        batch.views = dict.fromkeys(batch.views, next(iter(batch.views.values())))
    loss = float(method(batch, AT).loss.detach())
    if name == "simsiam":  # predictor and projection differ at random, but for all images alike
        assert -1 <= loss <= 1
    else:
        assert loss == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------- what a step costs


def counted_passes(method: Method, batch: Batch) -> tuple[float, float]:
    """Views of an image that a step passes through networks like the backbone, with gradient and without."""
    counts = {True: 0.0, False: 0.0}

    def count(module: nn.Module, given: tuple[Tensor, ...], _: Any) -> None:
        share = given[0].shape[-1] ** 2 / SIDE**2
        counts[torch.is_grad_enabled()] += len(given[0]) * share / BATCH

    for module in method.modules():
        if isinstance(module, ResNet):
            module.register_forward_hook(count)
    method(batch, AT)
    return counts[True], counts[False]


@every_method
def test_a_method_says_how_many_views_pass_its_network(name):
    if METHODS[name].kind in ("amdim", "turned", "crops"):
        pytest.skip("it looks at maps inside the network, or is of the tests alone")
    method = trained_a_little(name)
    assert METHODS[name].passes(SIDE) == pytest.approx(counted_passes(method, batch_for(method, INDEX, step=9)))
