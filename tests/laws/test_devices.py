"""A step on a GPU mixes no devices and waits for nothing, as tensors without data can tell where no GPU is."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lawbook import BATCH, METHODS, NAMES, SIDE, batch_for, build, noise_source, recipe_for, trainer_for
from viewkin.augment import policies, views
from viewkin.methods.base import Batch, Method
from viewkin.runtime.draws import Draw, generator_for, onto
from viewkin.schedules import Progress

COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)
CHOICES = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_, torch.ops.aten.where)
"""What copies an index or a number onto the device first."""


class OnHost(TorchDispatchMode):
    """Lets the host work as ever with what lies there, below a mode that makes tensors without data."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = str(kwargs.get("device", "")).startswith("cuda")
        if there or any(isinstance(value, FakeTensor) for value in tree_leaves((args, kwargs))):
            refuse_waits(func, args, kwargs)
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)


def pinned(x: Tensor) -> Tensor:
    """Copy into host memory that the device reads by itself; what is computed from it lies elsewhere again."""
    assert x.is_contiguous(), "places that share memory cannot be written"
    found = x.clone()
    found.pinned = True
    return found


def refuse_waits(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise where an operation copies between host and device, other than from pinned memory and at leisure.

    An index or a chosen number that lies on the host is copied too; arithmetic takes a number as an argument.
    """
    given = {argument.name: value for argument, value in zip(func._schema.arguments, args)} | kwargs
    if func.overloadpacket in COPIES:
        source = given.get("src", given["self"])
        goal = given["self"] if "src" in given else source
        device, dtype = given.get("device") or goal.device, given.get("dtype") or goal.dtype
        if device.type != source.device.type:
            at_leisure = hasattr(source, "pinned") and dtype == source.dtype and given.get("non_blocking")
            assert at_leisure, f"{func} of {source.dtype} {tuple(source.shape)} from {source.device} to {device} waits"
    elif func.overloadpacket in CHOICES:
        host = [value for value in tree_leaves(given) if isinstance(value, Tensor) and value.device.type == "cpu"]
        assert not host, f"{func} waits for {host} from the host"


@contextmanager
def gpu() -> Generator[None]:
    """Let there be ``cuda``, whose tensors have shape and type and no data.

    Operations refuse a mixture of devices; reading a number, or a size that follows from the data, raises, and so does
    a copy that waits.
    """
    with mock.patch.object(Tensor, "pin_memory", pinned), FakeTensorMode(allow_non_fake_inputs=True), OnHost():
        yield


def on_gpu(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="cuda")


def moved_(method: Method) -> Method:
    """Put all parameters and buffers on a GPU."""
    for module in method.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(on_gpu(parameter), requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = on_gpu(buffer)
    return method


def step_of(method: Method, batch: Batch) -> None:
    """One forward pass and update of a run that is nearly done, so that every term takes part."""
    at = Progress(epoch=3, epochs=4, step=80, steps=100)
    views = {name: on_gpu(view) for name, view in batch.views.items()}
    step = method(Batch(views=views, index=on_gpu(batch.index), draw=batch.draw), at)
    assert step.loss.device.type == "cuda"
    method.update(step.record, at)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_on_a_gpu_mixes_no_devices_and_waits_for_nothing(name):
    method = build(METHODS[name])
    batch = batch_for(method, torch.arange(BATCH), step=9)
    with gpu():
        step_of(moved_(method), batch)


@pytest.mark.parametrize("name", policies.names())
def test_views_on_a_gpu_mix_no_devices_and_wait_for_nothing(name):
    roles = policies.policy(name).roles
    maker = views.ViewMaker(policies.policy(name), 24, {role: role for role in roles})
    with gpu():
        images = torch.empty(BATCH, 3, 32, 32, dtype=torch.uint8, device="cuda")
        made = maker(images, maker.sample(BATCH, generator_for("views"), 32))
        made["test"] = views.test_view(images, 24, maker.policy)
    assert {view.device.type for view in made.values()} == {"cuda"}


def test_images_that_were_decoded_on_the_host_are_sent_without_waiting(tmp_path):
    trainer = trainer_for(recipe_for(METHODS["simclr"]), noise_source(), tmp_path)
    index, draw = torch.arange(BATCH), Draw(0, 0, BATCH, 0, BATCH)
    own = trainer.views.sample(BATCH, generator_for("views"), SIDE)
    with gpu(), mock.patch.object(trainer, "fabric", device=torch.device("cuda")):
        batch = trainer.batch(index, trainer.source.images(index), own, draw)
    assert {x.device.type for x in (batch.index, *batch.views.values())} == {"cuda"}


def test_the_check_sees_a_wait_and_a_mixture():
    method = build(METHODS["simclr"])
    batch = batch_for(method, torch.arange(BATCH), step=9)
    plain = method.update
    with gpu():
        moved_(method)
        method.update = lambda record, at: plain(record, at) if float(record["embedding"].sum()) < math.inf else None
        with pytest.raises(DataDependentOutputException):
            step_of(method, batch)
        method.update = lambda record, at: record["embedding"] + torch.ones(BATCH, 1)
        with pytest.raises(RuntimeError, match="cpu"):
            step_of(method, batch)


@pytest.mark.parametrize(
    "copy",
    [
        lambda there: torch.ones(4).to("cuda"),
        lambda there: torch.ones(4).to("cuda", non_blocking=True),
        lambda there: torch.ones(4).pin_memory().to("cuda"),
        lambda there: torch.ones(4).pin_memory().to("cuda", torch.float64, non_blocking=True),
        lambda there: torch.ones(4).pin_memory()[:2].to("cuda", non_blocking=True),
        lambda there: there.copy_(torch.ones(4)),
        lambda there: there.new_tensor([1.0, 2.0]),
        lambda there: torch.tensor(1.0, device="cuda"),
        lambda there: there[torch.arange(2)],
        lambda there: there[[0, 1]],
        lambda there: there.__setitem__(there.argsort(), 0),
        lambda there: there.__setitem__(0, 0),
        lambda there: torch.where(there > 0, there, torch.tensor(0.0)),
        lambda there: there.cpu(),
    ],
)
def test_the_check_sees_a_copy_that_waits(copy):
    with gpu(), pytest.raises(AssertionError, match="waits"):
        copy(torch.empty(4, device="cuda"))


def test_what_is_sent_waits_for_nothing_in_any_layout():
    device = torch.device("cuda")
    with gpu():
        for x in (torch.ones(2, 3), torch.ones(3).expand(2, 3), torch.ones(2, 6)[:, ::2], torch.ones(3, 2).T):
            assert onto(x, device).shape == (2, 3)
        assert onto(torch.empty(3, device="cuda"), device).device.type == "cuda"
