"""Run a frozen network in the form that is fastest here: number type and memory format, chosen by a short trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from viewkin.encode.features import frozen
from viewkin.encode.model import Model
from viewkin.encode.onnx_network import OnnxEncoder
from viewkin.runtime.errors import UserError, require

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""``auto``: float32 or bfloat16, whichever a trial finds faster."""
PRECISIONS = get_args(Precision)
TRIAL, CALIBRATION = 16, 64
"""Images of a trial, and of the measurement of ranges for int8."""
WORTHWHILE = 512
"""With fewer images than this, ``auto`` takes float32 without a trial, which would take longer than it saves."""
WORTH = 1.2
"""bfloat16 must be this many times faster than float32 to be chosen."""
ALIKE = 0.99
"""Least cosine of an image's vector to its vector in float32 for another number type to be chosen."""


class FastEncoder(nn.Module):
    """A network in another number type and memory format: (B, C, h, w) float32 -> (B, D) float32."""

    def __init__(self, network: Callable[[Tensor], Tensor], *, reduced: bool, channels_last: bool) -> None:
        """Wrap a network or one of its methods; the weights stay the network's own and are not copied.

        Args:
            network: the network, in float32.
            reduced: whether matrix products are done in bfloat16.
            channels_last: whether the channels of a position lie beside each other in memory.
        """
        super().__init__()
        owner = getattr(network, "__self__", network)
        self.owner = owner if isinstance(owner, nn.Module) else nn.Identity()
        self.call, self.reduced = network, reduced
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def adopt(self) -> None:
        """Put the network's weights into the memory format."""
        self.owner.to(memory_format=self.format)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def forward(self, views: Tensor) -> Tensor:
        """Encode views."""
        views = views.contiguous(memory_format=self.format)
        with torch.autocast(views.device.type, dtype=torch.bfloat16, enabled=self.reduced):
            return self.call(views).float()


@dataclass(frozen=True)
class Chosen:
    """The form that a model runs in."""

    model: Model
    """The model in that form."""
    precision: str
    """``float32``, ``bfloat16`` or ``int8``."""
    cosine: float = 1.0
    """Least cosine of a trial image's vector to its vector in float32."""
    faster: float = 1.0
    """How many times faster it is than plain float32, by the trial."""

    @property
    def note(self) -> str | None:
        """What was chosen, in a sentence; None for float32."""
        if self.precision == "float32":
            return None
        return (
            f"The network runs in {self.precision}, {self.faster:.1f} times as fast as in float32 in a short trial; "
            f"cosine to float32 at least {self.cosine:.4f}."
        )


def precision_for(asked: str, count: int) -> Precision:
    """Check a precision; ``auto`` is float32 for few images.

    Raises:
        UserError: there is no such precision.
    """
    require(asked in PRECISIONS, "--precision", asked, f"one of {', '.join(PRECISIONS)}")
    chosen: Precision = "float32" if asked == "auto" and count < WORTHWHILE else asked  # pyright: ignore
    return chosen


def in_precision(model: Model, precision: Precision, views: Tensor, device: torch.device) -> Chosen:
    """Put a model into the form that is asked for, or into the fastest.

    Args:
        model: in float32; its weights change their memory format and keep their values.
        precision: ``auto`` takes bfloat16 only where it is clearly faster and gives nearly the same vectors.
        views: (n, C, h, w) normalised test views of some images, for the trial.
        device: where it runs.

    Raises:
        UserError: int8 without what it needs, or on another device than the CPU.
    """
    if isinstance(model.encoder, OnnxEncoder):
        require(precision in ("auto", "float32"), "--precision", precision, "float32 or auto with an ONNX file")
        return Chosen(model, "float32")
    if precision == "int8":
        from viewkin.encode.int8 import quantised

        if device.type != "cpu":
            raise UserError("--precision int8 runs on the CPU; add --device cpu, or choose another --precision.")
        encoder, cosine, faster = quantised(model, views)
        return Chosen(replace(model, encoder=encoder), "int8", cosine, faster)
    model.to(device)
    views, network = views[:TRIAL].to(device), model.encoder
    forms = {"plain": FastEncoder(network, reduced=False, channels_last=False)}
    if precision != "bfloat16":
        forms["float32"] = FastEncoder(network, reduced=False, channels_last=True)
    if precision != "float32":
        forms["bfloat16"] = FastEncoder(network, reduced=True, channels_last=True)
    with frozen(network):
        rows, seconds = compared(forms, views)
    cosines = {name: float(cosine_similarity(part, rows["plain"], dim=1).min()) for name, part in rows.items()}
    allowed = ["bfloat16"] if precision == "bfloat16" else [name for name in forms if cosines[name] >= ALIKE]
    best = min(allowed, key=lambda name: seconds[name] * (WORTH if name == "bfloat16" else 1.0))
    faster = seconds["plain"] / seconds[best]
    forms[best].adopt()
    encoder = forms[best].eval()
    return Chosen(replace(model, encoder=encoder), best.replace("plain", "float32"), cosines[best], faster)


def compared(
    encoders: Mapping[str, FastEncoder], views: Tensor, rounds: int = 4
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Encode views by each of some encoders in turn, several times: rows, and the seconds of the fastest pass."""
    rows: dict[str, Tensor] = {}
    seconds = dict.fromkeys(encoders, math.inf)
    for number in range(rounds + 1):  # the first round warms up
        for name, encoder in encoders.items():
            encoder.adopt()
            _wait(views.device)
            began = time.perf_counter()
            rows[name] = encoder(views)
            _wait(views.device)
            if number:
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    return rows, seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
