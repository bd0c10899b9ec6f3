"""ONNX files that ``viewkin export`` wrote, as models."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from viewkin.encode.model import Model, model_of
from viewkin.encode.onnx_network import RUNS, OnnxEncoder, onnx_packages, onnx_session
from viewkin.nets.backbone_file import KEY, parse_description
from viewkin.runtime.errors import UserError

FILE = "model.onnx"
"""Name of the file in the folder of an export."""
IMAGES, VIEWS, FEATURES = "images", "views", "features"
"""Names of values in the graph: its input, what the network sees, and its output."""


def onnx_file_of(path: Path) -> Path | None:
    """Find the ONNX file that a path means: itself, or the one in the folder of an export; None: another model."""
    if path.suffix == ".onnx" and path.is_file():
        return path
    return path / FILE if (path / FILE).is_file() and not (path / "recipe.json").exists() else None


def read_onnx(path: Path) -> Model:
    """Read an exported network, to be run by onnxruntime on the CPU.

    The file has the preprocessing before the network. Here the network alone is taken out of it, so that it sees the
    same views as any other model.

    Raises:
        UserError: onnx or onnxruntime is missing, or the file is damaged or not of this library.
    """
    onnx, _ = onnx_packages(RUNS, f"{path.name}")
    try:
        whole = onnx.load(path)
        text = {one.key: one.value for one in whole.metadata_props}.get(KEY)
    except Exception as error:  # protocol buffers raise errors of their own
        raise UserError(f"{path} is no ONNX file that can be read: copy or write it again.") from error
    if text is None:
        raise UserError(f"{path} was not written by viewkin export, so how it wants to see images is not known.")
    config, facts = parse_description(path, text)
    try:
        network = _cut(onnx, whole, facts["size"])
        content = network.SerializeToString(deterministic=True)
        encoder: Any = OnnxEncoder(onnx_session(content))
        encoder.feature_dim = int(encoder.session.get_outputs()[0].shape[1])
    except Exception as error:  # onnxruntime raises errors of its own
        raise UserError(f"{path} cannot be run, it was damaged or changed: write it again.") from error
    encoder.content = hashlib.blake2b(content, digest_size=16).hexdigest()
    encoder.config, encoder.image_size = config, facts["size"]
    encoder.mean, encoder.std, encoder.extra = facts["mean"], facts["std"], facts["extra"]
    return model_of(encoder)


def _cut(onnx: Any, whole: Any, size: int) -> Any:
    """Take the network alone out of a graph: what lies between the views and the features.

    Some networks read the number of images from the graph's input. It stays as an input then.
    """
    makers = {name: node for node in whole.graph.node for name in node.output}
    wanted, kept, inputs = [FEATURES], set[str](), {VIEWS}
    while wanted:
        name = wanted.pop()
        if name == IMAGES:
            inputs.add(IMAGES)
        if name in kept or name in (VIEWS, IMAGES) or name not in makers:
            continue
        kept.update(makers[name].output)
        wanted += [one for one in makers[name].input if one]
    nodes = [node for node in whole.graph.node if kept & set(node.output)]
    used = {name for node in nodes for name in node.input}
    views = onnx.helper.make_tensor_value_info(VIEWS, onnx.TensorProto.FLOAT, ["batch", 3, size, size])
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [views, *(one for one in whole.graph.input if one.name in inputs)],
        list(whole.graph.output),
        [one for one in whole.graph.initializer if one.name in used],
    )
    version = {"ir_version": whole.ir_version, "opset_imports": whole.opset_import, "functions": whole.functions}
    return onnx.helper.make_model(graph, **version)
