"""BatchNorm over groups of a process's batch, or over the batches of all processes."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viewkin.nets.held import held_norms
from viewkin.runtime import distributed
from viewkin.runtime.errors import UserError, require

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
AnyModule = TypeVar("AnyModule", bound=nn.Module)


class SplitBatchNorm(nn.BatchNorm2d):
    """BatchNorm with separate statistics of S groups of the batch, as if on S devices.

    Each of W processes divides its images into S / W groups (rounded down, at least one); image i is in group i mod
    their number. The running mean and (unbiased) variance are updated by the mean over groups, as in MoCo's CIFAR-10
    demo. In evaluation mode it is a plain BatchNorm. x (B, C, ...).

    References:
        He et al., MoCo, 2020, section 3.3 (shuffling BN), and the authors' CIFAR-10 demo.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(width)
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the statistics of each group in training, by the running statistics in evaluation."""
        x, groups = input, max(self.groups // distributed.world(), 1)
        if not self.training:
            return super().forward(x)
        batch, width = x.shape[:2]
        if batch % groups:
            raise UserError(f"norm=split:{self.groups} needs a batch that {groups} divides, not {batch}: change one.")
        # One BatchNorm over groups * width channels; its running statistics are equal before, different after the pass.
        running = (self.running_mean, self.running_var)
        by_group = [None if old is None else old.repeat(groups) for old in running]
        affine = [p.repeat(groups) if self.affine else None for p in (self.weight, self.bias)]
        y = F.batch_norm(
            _grouped(x, groups), *by_group, *affine, training=True, momentum=_weight_of_new_(self), eps=self.eps
        )
        for old, new in zip(running, by_group):
            if old is not None and new is not None:
                old.copy_(new.view(groups, width).mean(0))
        return _Ungrouped.apply(y, groups) if _is_channels_last(x) else y.reshape(x.shape)

    def extra_repr(self) -> str:
        """Add the number of groups to the description."""
        return f"{super().extra_repr()}, groups={self.groups}"

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dims(input)


class GatheredBatchNorm(nn.BatchNorm2d):
    """BatchNorm with statistics of all ranks' batches, on CPU (gloo) and GPU; plain BatchNorm with one process.

    Every rank has the same number of images. With mean_r and var_r of rank r: mean = avg_r mean_r and
    var = avg_r (var_r + (mean_r - mean)^2), which is more accurate than E[x^2] - E[x]^2. Gradients flow through the
    statistics to all ranks. Statistics are at least float32. x (B, C, ...).

    References:
        Ioffe and Szegedy, Batch normalization, 2015, algorithm 1. Chan, Golub and LeVeque, 1979, for the merge.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the statistics of the global batch in training, by the running ones in evaluation."""
        x = input
        if not self.training or distributed.world() == 1:
            return super().forward(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [0, *range(2, x.dim())]
        own_var, own_mean = torch.var_mean(exact, axes, correction=0)
        means, variances = distributed.gather_with_grad(torch.stack([own_mean, own_var])[None]).unbind(1)
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)
        self._track_(mean.detach(), var.detach(), x.numel() // x.shape[1] * distributed.world())
        shape = [1, -1, *[1] * (x.dim() - 2)]
        y = (exact - mean.view(shape)) * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _track_(self, mean: Tensor, var: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        new = _weight_of_new_(self)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), new)
        self.running_var.lerp_((var * count / (count - 1)).to(self.running_var.dtype), new)

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dims(input)


def convert_norm(module: AnyModule, kind: str) -> AnyModule:
    """Replace the BatchNorms of a network but those that are held; parameters and buffers remain the same objects.

    Args:
        module: changed in place; a module that is itself a BatchNorm is not replaced, so wrap it.
        kind: ``batch`` changes nothing; ``split:<n>`` gives :class:`SplitBatchNorm` of n groups; ``gathered`` gives
            :class:`GatheredBatchNorm`; ``none`` removes the norms.

    Raises:
        UserError: the kind is unknown, or a norm does more than BatchNorm (some of timm's include an activation).
    """
    groups = check_norm(kind)
    if kind == "batch":
        return module
    held = held_norms(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BatchNorm) and child not in held:
                new = _converted(child, groups)
                setattr(parent, name, nn.Identity() if kind == "none" else new)
    return module


def check_norm(kind: str, *, none: bool = True) -> int:
    """Check a kind of :func:`convert_norm`; return the groups of ``split:<n>`` and 0 for the others.

    With ``none=False`` the kind ``none`` is not allowed: a method must not remove the norms of a backbone.
    """
    name, _, number = kind.partition(":")
    if name == "split" and number.isdecimal() and int(number) >= 1:
        return int(number)
    known = ("batch", "gathered", "none") if none else ("batch", "gathered")
    require(kind in known, "norm", kind, f"{', '.join(known)} or split:<groups>, such as split:8")
    return 0


def average_statistics_(module: nn.Module) -> None:
    """Replace running means and variances, which depend on each rank's data, by their averages over ranks."""
    buffers = [
        buffer
        for child in module.modules()
        if isinstance(child, BatchNorm)
        for buffer in (child.running_mean, child.running_var)
        if buffer is not None
    ]
    if distributed.world() == 1 or not buffers:
        return
    average = distributed.mean(torch.cat([buffer.flatten().double() for buffer in buffers]))
    for buffer, new in zip(buffers, average.split([buffer.numel() for buffer in buffers])):
        buffer.copy_(new.view_as(buffer))


def _converted(old: BatchNorm, groups: int) -> nn.BatchNorm2d:
    if type(old) not in (nn.BatchNorm1d, nn.BatchNorm2d, SplitBatchNorm, GatheredBatchNorm):
        raise UserError(
            f"norm cannot be changed in this backbone, whose {type(old).__name__} does more: use norm=batch."
        )
    new = SplitBatchNorm(old.num_features, groups) if groups else GatheredBatchNorm(old.num_features)
    new.eps, new.momentum = old.eps, old.momentum
    new.affine, new.track_running_stats = old.affine, old.track_running_stats
    new.weight, new.bias = old.weight, old.bias
    new.running_mean, new.running_var, new.num_batches_tracked = (
        old.running_mean,
        old.running_var,
        old.num_batches_tracked,
    )
    return new.train(old.training)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """Move groups to channels: (B, C, ...) -> (B/S, S*C, ...), group first; keeps the channels_last format."""
    batch, width, *sides = x.shape
    if not _is_channels_last(x):
        return x.reshape(batch // groups, groups * width, *sides)
    rows = x.permute(0, 2, 3, 1).view(batch // groups, groups, *sides, width)
    return rows.permute(0, 2, 3, 1, 4).reshape(batch // groups, *sides, groups * width).permute(0, 3, 1, 2)


class _Ungrouped(torch.autograd.Function):
    """Undo :func:`_grouped` for channels_last.

    The result is not a view, because in-place operations on a view (such as the following ReLU) are slow in autograd.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int) -> Tensor:
        ctx.groups = groups
        batch, width, *sides = x.shape
        shape = (batch * groups, width // groups, *sides)
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        rows = x.permute(0, 2, 3, 1).reshape(batch, *sides, groups, width // groups)
        y.permute(0, 2, 3, 1).view(batch, groups, *sides, width // groups).copy_(rows.permute(0, 3, 1, 2, 4))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _grouped(grad, ctx.groups), None


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _weight_of_new_(norm: nn.BatchNorm2d) -> float:
    """Count this batch, and return the weight of its statistics (PyTorch calls it momentum; None: a plain average)."""
    if norm.num_batches_tracked is None:
        return 0.0
    norm.num_batches_tracked.add_(1)
    return 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum


def _check_dims(x: Tensor) -> None:
    if not 2 <= x.dim() <= 4:
        raise ValueError(f"expected (B, C), (B, C, L) or (B, C, H, W), not {tuple(x.shape)}")
