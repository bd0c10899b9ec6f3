"""A step on a GPU mixes no devices and waits for nothing, as tensors without data can tell where no GPU is."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lawbook import BATCH, METHODS, NAMES, batch_for, build
from viewkin.methods.base import Batch, Method
from viewkin.schedules import Progress


class HostReads(TorchDispatchMode):
    """Lets the host read a number that lies on the host: what chance drew. One on the GPU stays unreadable."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "cpu":
            return 0.5 if args[0].is_floating_point() else 1
        return func(*args, **(kwargs or {}))


@contextmanager
def without_data() -> Generator[None]:
    """Tensors have shape, type and device, and no data; operations refuse a mixture of devices."""
    with FakeTensorMode(), HostReads():
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
    with without_data():
        step_of(moved_(method), batch)


def test_the_check_sees_a_wait_and_a_mixture():
    method = build(METHODS["simclr"])
    batch = batch_for(method, torch.arange(BATCH), step=9)
    plain = method.update
    with without_data():
        moved_(method)
        method.update = lambda record, at: plain(record, at) if float(record["embedding"].sum()) < math.inf else None
        with pytest.raises(DataDependentOutputException):
            step_of(method, batch)
        method.update = lambda record, at: record["embedding"] + torch.ones(BATCH, 1)
        with pytest.raises(RuntimeError, match="cpu"):
            step_of(method, batch)
