"""A frozen network in 8-bit integers, run by onnxruntime: three times as fast as float32 on many processors."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from viewkin.encode.features import frozen
from viewkin.encode.model import Model
from viewkin.encode.onnx_network import OnnxEncoder, onnx_packages, onnx_session, quiet, write_onnx
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import reporter

CALIBRATION = 8
"""Images of a block by which ranges of values are measured."""


def quantised(model: Model, views: Tensor) -> tuple[OnnxEncoder, float, float]:
    """Turn a model into one of 8-bit integers.

    Weights have a scale for each channel. The ranges of what flows between layers are measured on ``views``.

    Args:
        model: its encoder must be a module.
        views: (n, C, h, w) normalised test views of some of the images.

    Returns:
        The network; the least cosine of a view's vector to its vector in float32; how many times faster it is.

    Raises:
        UserError: onnxruntime is missing, or the network cannot be turned.
    """
    onnx, _, _ = onnx_packages(("onnx", "onnxruntime", "onnxscript"), "--precision int8", "int8")
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise UserError("--precision int8 needs onnxruntime: pip install 'viewkin[int8]'.") from error
    if not isinstance(model.encoder, nn.Module):
        raise UserError("--precision int8 takes a network's features alone: use --features backbone.")
    reporter().say("Turning the network into 8-bit integers ...")
    with tempfile.TemporaryDirectory() as folder, quiet():
        whole, ready, small = (Path(folder) / f"{name}.onnx" for name in ("float", "ready", "int8"))
        try:
            _write(model.encoder, views, whole)
            quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
            quantize_static(
                str(ready),
                str(small),
                cast(Any, _Views(views, onnx.load(ready).graph.input[0].name)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            quick = OnnxEncoder(onnx_session(small))
        except Exception as error:  # three libraries, each with errors of its own
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise UserError(f"This network cannot be turned into int8 ({reason}); use another --precision.") from error
    with frozen(model.encoder):
        exact, seconds = model.encoder(views), _seconds(model.encoder, views)
    cosine = float(cosine_similarity(quick(views), exact.float(), dim=1).min())
    return quick, cosine, seconds / _seconds(quick, views)


def float_in_onnx(model: Model, views: Tensor) -> OnnxEncoder:
    """Run a network by onnxruntime in float32, to compare with.

    Args:
        model: its encoder must be a module.
        views: (n, C, h, w) normalised, for its shapes.
    """
    assert isinstance(model.encoder, nn.Module)
    with tempfile.TemporaryDirectory() as folder:
        _write(model.encoder, views, Path(folder) / "float.onnx")
        return OnnxEncoder(onnx_session(Path(folder) / "float.onnx"))


def _write(network: nn.Module, views: Tensor, path: Path) -> None:
    """Write a network that takes any number of views."""
    shapes = {0: torch.export.Dim("batch", min=1)}
    write_onnx(network, views[:1].repeat(2, 1, 1, 1), ("views", "features"), shapes, path)


def _seconds(encoder: Callable[[Tensor], Tensor], views: Tensor) -> float:
    """Seconds of the fastest of some passes after one to warm up."""
    encoder(views)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        encoder(views)
        best = min(best, time.perf_counter() - began)
    return best


class _Views:
    """What onnxruntime measures ranges by: it asks for one block after another."""

    def __init__(self, views: Tensor, name: str) -> None:
        self.blocks: Iterator[Tensor] = iter(views.split(CALIBRATION))
        self.name = name

    def get_next(self) -> dict[str, Any] | None:
        block = next(self.blocks, None)
        return None if block is None else {self.name: block.numpy()}
