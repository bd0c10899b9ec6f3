"""Run a frozen encoder over every image once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from viewkin.runtime.allocation import kept_memory
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Precision as Lightning Fabric spells it, to the type that matrix products are done in."""


@contextmanager
def frozen(encoder: Callable[[Tensor], Tensor]) -> Generator[None, None, None]:
    """Hold an encoder in eval mode without gradient, and give every submodule its own mode back, errors or not."""
    modes = {part: part.training for part in encoder.modules()} if isinstance(encoder, nn.Module) else {}
    try:
        for part in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def recalibrated(encoder: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Generator[None, None, None]:
    """Let some batches of views (B, C, h, w) pass in train mode, so that they move BatchNorm's running statistics.

    Afterwards buffers and modes are what they were. An encoder that is neither a module nor a module's method, and no
    batches, change nothing.
    """
    owner = getattr(encoder, "__self__", encoder)
    module = owner if isinstance(owner, nn.Module) else nn.Identity()
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            for views in batches:
                module.train()
                encoder(views)
        for part, mode in modes.items():
            part.training = mode
        yield
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])
        for part, mode in modes.items():
            part.training = mode


def extract(
    encoder: Callable[[Tensor], Tensor],
    blocks: Iterable[tuple[Tensor, Tensor]],
    view: Callable[[Tensor], Tensor],
    *,
    device: torch.device | str = "cpu",
    precision: str = "32-true",
    total: int | None = None,
    progress: bool = True,
) -> Tensor:
    """Encode images as they are, without augmentation: rows (N, D) float32 on the CPU, in the order of their index.

    Args:
        encoder: (B, C, H, W) normalised float -> (B, D); a module runs in eval mode and gets its modes back.
        blocks: (index (B,), images (B, C, S, S) uint8) in any order, an index once.
        view: test view, uint8 images to normalised float.
        device: where the encoder lies and the images are sent.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        total: images expected, of indices 0 to total - 1: for the progress bar, and to hold the rows only once.
        progress: show a bar after two seconds.

    Raises:
        UserError: no images, an unknown precision, or an encoder that gives anything but one row an image.
    """
    if precision not in AUTOCAST:
        raise UserError(f"precision {precision!r} is unknown: use one of {', '.join(AUTOCAST)}.")
    dtype = AUTOCAST[precision]
    device = torch.device(device)
    rows = Rows(total)
    kept = kept_memory(device.type == "cpu")
    with kept, frozen(encoder), progress_bar("features", total, shown=progress) as bar:
        for index, images in blocks:
            with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                feature = encoder(view(images.to(device, non_blocking=True)))
            if feature.ndim != 2 or len(feature) != len(images):
                raise UserError(
                    f"the encoder turned {tuple(images.shape)} images into {tuple(feature.shape)}: it must give one "
                    "row of features an image, so pool its maps first."
                )
            rows.put(index.cpu(), feature.float().cpu())
            bar.advance(len(images))
    return rows.ordered()


class Rows:
    """Rows that come in any order; where their number is known they lie in memory once."""

    def __init__(self, total: int | None) -> None:
        """Expect ``total`` rows, of indices 0 to total - 1; None: any."""
        self.total, self.whole = total, torch.empty(0)
        self.index: list[Tensor] = []
        self.parts: list[Tensor] = []

    def put(self, index: Tensor, rows: Tensor) -> None:
        """Take rows (B, D) of some indices (B,)."""
        self.index.append(index)
        if self.total is None:
            self.parts.append(rows)
            return
        if not len(self.whole):
            self.whole = rows.new_empty(self.total, rows.shape[1])
        self.whole[index] = rows

    def ordered(self) -> Tensor:
        """Give what came in the order of its index: (N, D).

        Raises:
            UserError: nothing came.
        """
        if not self.index:
            raise UserError("there are no images to encode: check that the data set or its split is not empty.")
        index = torch.cat(self.index)
        if self.total is None:
            return torch.cat(self.parts)[index.argsort(stable=True)]
        return self.whole if len(index) == self.total else self.whole[index.sort().values]
