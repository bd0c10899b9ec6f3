"""A step on a GPU mixes no devices and waits for nothing, as tensors without data can tell where no GPU is."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lawbook import BATCH, METHODS, NAMES, batch_for, build
from viewkin.augment import policies
from viewkin.augment.views import ViewMaker
from viewkin.draws import generator_for
from viewkin.methods.base import Batch, Method
from viewkin.schedules import Progress


class OnHost(TorchDispatchMode):
    """Lets the host work as ever with what lies there, below a mode that makes tensors without data."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = str(kwargs.get("device", "")).startswith("cuda")
        if there or any(isinstance(value, FakeTensor) for value in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)


@contextmanager
def gpu() -> Generator[None]:
    """Let there be ``cuda``, whose tensors have shape and type and no data.

    Operations refuse a mixture of devices; reading a number, or a size that follows from the data, raises.
    """
    with (
        mock.patch.object(Tensor, "pin_memory", lambda self: self),
        FakeTensorMode(allow_non_fake_inputs=True),
        OnHost(),
    ):
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
    maker = ViewMaker(policies.policy(name), 24, {role: role for role in roles})
    with gpu():
        images = torch.empty(BATCH, 3, 32, 32, dtype=torch.uint8, device="cuda")
        views = maker(images, maker.sample(BATCH, generator_for("views"), 32))
    assert {view.device.type for view in views.values()} == {"cuda"}


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
