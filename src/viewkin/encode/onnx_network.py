"""Networks as ONNX: written by torch, run by onnxruntime."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.encode.features import frozen
from viewkin.runtime.errors import UserError

OPSET = 20
"""Version of ONNX's operators."""
LARGEST = 2**31 - 1
"""Bytes of the largest ONNX file; protocol buffers end there."""
WRITES = ("onnx", "onnxscript")
"""Packages that torch needs to write ONNX."""
RUNS = ("onnx", "onnxruntime")
"""Packages that it takes to run an ONNX file of this library."""


class OnnxEncoder:
    """A network as onnxruntime runs it: (B, C, h, w) float32 -> (B, D) float32, on the CPU."""

    config: Any
    """With a network that was read from a file: the settings it was built with."""
    content = ""
    """With a network that was read from a file: hash of its graph and weights, hexadecimal."""

    def __init__(self, session: Any) -> None:
        """Wrap a session that takes views and gives one output.

        A second input, if there is one, is ``images`` (B, 1, 1, 3) uint8. Only the number of images is read from it.
        """
        self.session, self.names = session, [one.name for one in session.get_inputs()]

    def __call__(self, views: Tensor) -> Tensor:
        """Encode views."""
        feeds: dict[str, Any] = {self.names[0]: views.float().contiguous().cpu().numpy()}
        for name in self.names[1:]:
            feeds[name] = torch.zeros(len(views), 1, 1, 3, dtype=torch.uint8).numpy()
        (rows,) = self.session.run(None, feeds)
        return torch.from_numpy(rows)


def refuse_onnx(encoder: object) -> None:
    """Refuse a network that onnxruntime runs, where it is to be trained or changed.

    Raises:
        UserError: it is one.
    """
    if isinstance(encoder, OnnxEncoder):
        raise UserError(
            "An ONNX file gives features and nothing else: for this, name the run or the weights that it was made from."
        )


def onnx_packages(names: Sequence[str], purpose: str, extra: str = "export") -> list[Any]:
    """Import packages.

    Args:
        names: of the packages.
        purpose: what needs them, the beginning of a sentence.
        extra: of this library that brings them.

    Raises:
        UserError: one is missing or does not load.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except (ImportError, RuntimeError) as error:
        raise UserError(f"{purpose} needs {' and '.join(names)}: pip install 'viewkin[{extra}]'.") from error


def write_onnx(
    module: nn.Module, example: Tensor, names: Sequence[str], shapes: dict[int, Any], path: Path, text: str = ""
) -> None:
    """Write a module of one input as ONNX. What torch notes of the source files stays away.

    Args:
        module: the network.
        example: an input, of at least two images.
        names: of the input and of the outputs. An output named ``views`` is no output of the file; the value keeps its
            name.
        shapes: dimension of the input to ``torch.export.Dim``, for those that may be of any size.
        path: file to write.
        text: description to keep in the file under ``viewkin``.

    Raises:
        UserError: the file would be too large for ONNX.
    """
    with frozen(module), quiet():
        program: Any = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=(shapes,),
            opset_version=OPSET,
            input_names=names[:1],
            output_names=names[1:],
        )
    model = program.model
    model.graph.outputs[:] = [one for one in model.graph.outputs if one.name != "views"]
    for part in (model.graph, *model.functions.values()):
        part.metadata_props.clear()
        for node in part:
            node.metadata_props.clear()
            node.doc_string = None
    if text:
        model.metadata_props["viewkin"] = text
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if size > LARGEST:
        raise UserError("The network is larger than the 2 GB of an ONNX file: export it to pt2 or safetensors.")
    program.save(str(path), external_data=False)


def onnx_session(content: Path | bytes) -> Any:
    """Open an ONNX file, or its bytes, by onnxruntime on the CPU."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    what = content if isinstance(content, bytes) else str(content)
    return onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Keep what the exporters print and log off the screen."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere:
        warnings.simplefilter("ignore")
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            logging.disable(level)
