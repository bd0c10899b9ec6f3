"""What ranks say to each other; every function is the identity without a process group.

Tensors travel as bytes, so any type (bool, int64, bfloat16) works on gloo and NCCL alike and arrives bit for bit.
The ranks must call these functions in the same order with tensors of the same shape.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def rank() -> int:
    """Number of this process, 0 to ``world() - 1``."""
    return dist.get_rank() if _grouped() else 0


def world() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if _grouped() else 1


def rows(count: int) -> slice:
    """Where this rank's ``count`` rows lie in what :func:`gather` joins."""
    return slice(rank() * count, (rank() + 1) * count)


def barrier() -> None:
    """Wait until every rank has come here."""
    if world() > 1:
        # Not dist.barrier(): NCCL guesses a device there, and warns.
        mean(torch.zeros(1, device=_device()))


def gather(x: Tensor) -> Tensor:
    """Join the rows of all ranks, rank-major, without gradient: (B, ...) -> (W*B, ...)."""
    if world() == 1:
        return x.detach()
    own = _bytes(x)
    joined = own.new_empty(world() * own.numel())
    if joined.numel():
        dist.all_gather(list(joined.chunk(world())), own)
    return joined.view(x.dtype).view(world() * x.shape[0], *x.shape[1:])


def gather_with_grad(x: Tensor) -> Tensor:
    """Join the rows of all ranks, rank-major, with gradient: (B, ...) -> (W*B, ...).

    The backward pass sums the gradients that all ranks have for the joined rows and returns this rank's rows. Data
    parallel training then averages over ranks, so the mean of the ranks' losses is what is differentiated.
    """
    if world() == 1:
        return x
    joined: Tensor = _Gather.apply(x)  # pyright: ignore[reportAssignmentType]
    return joined


def agree(x: Tensor) -> Tensor:
    """Return rank 0's copy of ``x`` on every rank; for what comes from an argmax or an atomic add."""
    if world() == 1:
        return x
    copy = _bytes(x).clone()
    if copy.numel():
        dist.broadcast(copy, src=0)
    return copy.view(x.dtype).view(x.shape)


def mean(x: Tensor) -> Tensor:
    """Average ``x`` over ranks, without gradient; whole numbers and bools become float32."""
    x = x.detach() if x.is_floating_point() else x.float()
    return x if world() == 1 else _sum(x) / world()


class _Gather(torch.autograd.Function):
    """:func:`gather` whose backward pass is a sum over ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        return gather(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _sum(grad).narrow(0, rank() * ctx.rows, ctx.rows)


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def _bytes(x: Tensor) -> Tensor:
    return x.detach().contiguous().view(-1).view(torch.uint8)


def _sum(x: Tensor) -> Tensor:
    """Sum over ranks; half precision is summed in float32, which gloo needs and the result deserves."""
    total = x.to(torch.promote_types(x.dtype, torch.float32), copy=True, memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total.to(x.dtype)
