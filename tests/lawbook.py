"""The methods that stand under the laws (``docs/laws.md``), and the small world in which the laws are tried.

Every method of the catalogue comes under every law, by its line in :data:`METHODS` or by its defaults.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from page_code import align
from samples import CropsConfig, TurnedConfig
from viewkin.augment.multi_crop import MultiCropConfig
from viewkin.data.source import ResidentSource, Source, SourceInfo
from viewkin.memory.cluster_config import ClusterConfig
from viewkin.memory.graph import GraphConfig
from viewkin.methods.amdim import AMDIMConfig
from viewkin.methods.barlow import BarlowConfig
from viewkin.methods.base import Batch, Encode, Method, MethodConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.methods.deepcluster import DeepClusterConfig
from viewkin.methods.diet import DIETConfig
from viewkin.methods.dino import DINOConfig
from viewkin.methods.invp import InvPConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.isif import ISIFConfig
from viewkin.methods.local_aggregation import LocalAggregationConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.moco_v3 import MoCoV3Config
from viewkin.methods.neighbourhood_discovery import NeighbourhoodDiscoveryConfig
from viewkin.methods.nnclr import NNCLRConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.odc import ODCConfig
from viewkin.methods.sela import SeLaConfig
from viewkin.methods.sigreg import SIGRegConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.methods.simsiam import SimSiamConfig
from viewkin.methods.swav import SwAVConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.interclr import InterCLRConfig
from viewkin.methods.terms.pcl import PCLConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.methods.vicreg import VICRegConfig
from viewkin.methods.wrapper import TermConfig, Wrapper
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.norm import average_statistics_, convert_norm
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.runtime import distributed
from viewkin.runtime.draws import Draw, generator_for
from viewkin.runtime.progress import Reporter
from viewkin.schedules import Progress, RampConfig
from viewkin.settings import setting_paths, with_values
from viewkin.training.config import AugmentConfig, DataConfig, Recipe, RuntimeConfig
from viewkin.training.fabric import make_fabric
from viewkin.training.logs import CLOCKED
from viewkin.training.loop import Trainer

COUNT, SIDE, BATCH = 24, 16, 8
"""Images, their side in pixels, and images of one optimiser step."""
KIN: dict[str, Any] = {
    "graph": GraphConfig(neighbours=2, hops=2, positives=3),
    "ramp": RampConfig(share=0.0, gate=False),
    "candidates": 20,
}
"""Of 24 images; kin are pulled from the first step on."""
CLUSTERED: dict[str, Any] = {"clusters": 3, "min_size": 4, "pool": 0.5, "negatives": 8}
"""InterCLR's settings for 24 images."""

SMALL_CROPS = MultiCropConfig(small=2, size=8, area=(0.05, 0.4), large_area=(0.4, 1.0))
"""Two small crops of 8 pixels."""


def interclr(base: MethodConfig, **settings: Any) -> InterCLRConfig:
    """InterCLR around a base, its nested settings by their old, short names (``min_size``)."""
    return with_values(InterCLRConfig(base=base), settings)


METHODS: dict[str, MethodConfig] = {
    "npid": NPIDConfig(dim=32, temperature=0.2),
    "npid-infonce": NPIDConfig(dim=32, loss="infonce", head="mlp", negatives=20, temperature=0.2),
    "npid-infonce-each": NPIDConfig(dim=32, loss="infonce", negatives=20, shared_negatives=False, temperature=0.2),
    "npid-nce": NPIDConfig(dim=32, loss="nce", negatives=20, shared_negatives=False, temperature=0.2),
    "iraug": IRAugConfig(dim=32, temperature=0.2),
    "simclr": SimCLRConfig(dim=32, temperature=0.2),
    "moco": MoCoConfig(dim=32, queue_size=20, momentum=0.9, temperature=0.2),
    "moco-symmetric": MoCoConfig(dim=32, queue_size=20, momentum=0.9, temperature=0.2, symmetric=True),
    "byol": BYOLConfig(dim=32, hidden=64, momentum=0.9),
    "simsiam": SimSiamConfig(dim=32, predictor_hidden=16),
    "simsiam-views": SimSiamConfig(dim=32, predictor_hidden=16, views=4),
    "barlow": BarlowConfig(dim=32, hidden=64),
    "vicreg": VICRegConfig(dim=32, hidden=64),
    "swav": SwAVConfig(dim=32, hidden=64, prototypes=12, freeze_steps=0),
    "swav-queue": SwAVConfig(
        dim=32, hidden=64, prototypes=12, freeze_steps=1, queue_size=20, queue_epochs=1, crops=SMALL_CROPS
    ),
    "dino": DINOConfig(dim=32, hidden=64, outputs=512, momentum=0.8, freeze_epochs=0),
    "dino-crops": DINOConfig(
        dim=32, hidden=64, outputs=512, momentum=0.8, freeze_epochs=0.1, teacher_warmup_epochs=1, crops=SMALL_CROPS
    ),
    "moco_v3": MoCoV3Config(dim=32, hidden=64, momentum=0.9, temperature=0.2),
    "diet": DIETConfig(),
    "sigreg": SIGRegConfig(dim=8, hidden=64, directions=32),
    "nnclr": NNCLRConfig(dim=32, hidden=64, predictor_hidden=64, queue_size=20, temperature=0.2),
    "interclr": interclr(MoCoConfig(dim=32, queue_size=20, momentum=0.9, temperature=0.2), **CLUSTERED),
    "eir": EIRConfig(base=IRAugConfig(dim=32, temperature=0.2)),
    "eir-teacher": EIRConfig(
        base=MoCoConfig(dim=32, queue_size=20, momentum=0.9, temperature=0.2),
        relation="teacher",
        queue_size=20,
        negatives="base",
        mix="mixup",
    ),
    "amdim": AMDIMConfig(dim=32),
    "amdim-mixture": AMDIMConfig(dim=32, mixtures=3, sharpness=2.0),
    "invp": InvPConfig(dim=32, temperature=0.2, mix_weight=1.0, **KIN),
    "propagation": PropagationConfig(base=MoCoConfig(dim=32, queue_size=20, momentum=0.9, temperature=0.2), **KIN),
    "isif": ISIFConfig(dim=32, temperature=0.2),
    "pcl": PCLConfig(
        base=MoCoConfig(dim=32, queue_size=20, momentum=0.9, temperature=0.2),
        clusters=(3, 5),
        negatives=3,
        warmup_epochs=0,
    ),
    "local_aggregation": LocalAggregationConfig(
        dim=32, background=20, clusterings=2, clusters=3, warmup_epochs=0, temperature=0.2
    ),
    "discovery": NeighbourhoodDiscoveryConfig(dim=32, temperature=0.2),
    "deepcluster": DeepClusterConfig(clusters=3, components=4),
    "odc": ODCConfig(dim=32, hidden=64, clusters=ClusterConfig(number=3, min_size=4)),
    "sela": SeLaConfig(heads=2, classes=4),
    "turned": TurnedConfig(),
    "crops": CropsConfig(),
    "align": align().AlignConfig(dim=32),
}
"""Name to settings. The queue holds 20 keys, which the batch of 8 does not divide, so pushes wrap around.

The last three are not in the catalogue: one without pairs, one with views of three sizes, and that of
``docs/add-a-method.md``.
"""


def shrunk(config: type[MethodConfig]) -> MethodConfig:
    """Settings of a new method of the catalogue, fitted to so few images, until it has a line of its own above."""
    given = config(base=METHODS["moco"]) if issubclass(config, TermConfig) else config()  # type: ignore[call-arg]
    values: dict[str, Any] = {"dim": 32} if "dim" in setting_paths(given) else {}
    known = setting_paths(given)
    for path, limit in given.limits(COUNT, BATCH).items():
        if known[path] is not None and known[path] > limit.largest:
            values[path] = limit.largest
    return with_values(given, values)


METHODS |= {
    kind: shrunk(config)
    for kind, config in METHOD_CONFIGS.items()
    if kind not in {one.kind for one in METHODS.values()}
}

GRID: dict[str, MethodConfig] = {
    "interclr-features": interclr(
        METHODS["simclr"], clustered="features", labels="offline", recluster_epochs=1, **CLUSTERED
    ),
    "interclr-start": interclr(METHODS["simclr"], clustered="start", start_size=24, labels="offline", **CLUSTERED),
    "eir-start": EIRConfig(base=METHODS["simclr"], relation="start", relation_weight=0.5, mixture_weight=0.0),
    "propagation-features": PropagationConfig(base=METHODS["simclr"], edges="features", **KIN),
    "propagation-start": PropagationConfig(base=METHODS["simclr"], edges="start", start_size=24, **KIN),
    "iraug-mean": IRAugConfig(dim=32, temperature=0.2, reading="mean"),
    "iraug-logsum": IRAugConfig(dim=32, temperature=0.2, reading="logsum", bank_view="second"),
    "eir(iraug-logsum)": EIRConfig(
        base=IRAugConfig(dim=32, temperature=0.2, reading="logsum"), negatives="base", partner_view="first"
    ),
    "eir(npid)": EIRConfig(base=METHODS["npid"], relation="symmetric"),
    "eir(simclr)": EIRConfig(base=METHODS["simclr"], detach_mixture=False),
    "eir(simclr)-printed": EIRConfig(base=METHODS["simclr"], mixture_reading="logsum"),
    "eir(moco)": EIRConfig(base=METHODS["moco"]),
    "eir(byol)": EIRConfig(base=METHODS["byol"], detach_target=True),
    "invp-paper": InvPConfig(
        dim=32,
        head="linear",
        denominator="paper",
        candidates=20,
        graph=GraphConfig(neighbours=2, hops=3, positives=3, search="bfs"),
        ramp=RampConfig(shape="gaussian", gate=False),
    ),
    "invp-gated": InvPConfig(dim=32, temperature=0.2, **{**KIN, "ramp": RampConfig(share=0.0, gate=True)}),
    "propagation-gated": PropagationConfig(
        base=METHODS["moco-symmetric"], **{**KIN, "ramp": RampConfig(share=0.0, gate=True)}
    ),
    "propagation(npid)": PropagationConfig(base=METHODS["npid"], **KIN),
    "propagation(simclr)": PropagationConfig(base=METHODS["simclr"], denominator="paper", **KIN),
    "propagation(byol)": PropagationConfig(base=METHODS["byol"], **KIN),
    "propagation(interclr)": PropagationConfig(base=METHODS["interclr"], **KIN),
    "propagation(eir)": PropagationConfig(base=METHODS["eir"], **KIN),
    "isif-augmented": ISIFConfig(dim=32, temperature=0.2, detach_columns=False, synthetic=0.4, extrapolate=0.2),
    "isif-neighbours": ISIFConfig(dim=32, temperature=0.2, neighbour_view=0.5),
    "interclr(npid-infonce)": interclr(METHODS["npid-infonce"], label_rule="euclidean", **CLUSTERED),
    "interclr(simclr)": interclr(METHODS["simclr"], pool_form="candidates", labels="offline", **CLUSTERED),
    "interclr(byol)": interclr(METHODS["byol"], positive_self=False, **CLUSTERED),
    "interclr(moco-symmetric)": interclr(METHODS["moco-symmetric"], head="separate", **CLUSTERED),
    "eir(interclr)": EIRConfig(base=METHODS["interclr"]),
    "interclr(eir)": interclr(METHODS["eir"], sampler="hard", **CLUSTERED),
    **{f"eir({base})": EIRConfig(base=METHODS[base]) for base in ("isif", "invp", "propagation")},
    **{f"propagation({base})": PropagationConfig(base=METHODS[base], **KIN) for base in ("iraug", "isif", "invp")},
    **{
        f"interclr({base})": interclr(METHODS[base], **CLUSTERED)
        for base in ("npid", "npid-nce", "iraug", "isif", "invp", "propagation")
    },
}
"""Wrappers around the other bases, for ``make test-all``."""
METHODS |= GRID
NAMES = [pytest.param(name, marks=pytest.mark.grid) if name in GRID else name for name in METHODS]
"""What a law is tried on; most of the grid only where the whole of it is asked for."""

BACKBONE = BackboneConfig(name="resnet18", stem="small", width=8, init="kaiming")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What BatchNorm may change while it reads."""


class Heard(Reporter):
    """Keeps the sentences that a run says."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, *sentences: str) -> None:
        self.sentences += sentences


def build(config: MethodConfig, *, norm: str = "batch", count: int = COUNT, seed: int = 0) -> Method:
    """Make a method in training mode, its norms all of one kind."""
    torch.manual_seed(seed)
    return convert_norm(config.build(build_backbone(BACKBONE), count=count), norm).train()


def batch_for(
    method: Method, index: Tensor, *, step: int = 0, rows: slice = slice(None), dtype: torch.dtype = torch.float32
) -> Batch:
    """Make the views of the images at ``index`` (the global batch) that a rank with these rows of it sees.

    An image is fixed noise, a view of it has a little noise of its own.
    """
    images = torch.randn(COUNT, 3, SIDE, SIDE, generator=generator_for("images"))
    start, stop, _ = rows.indices(len(index))
    draw = Draw(0, step, len(index), start, stop)
    views: dict[str, Tensor] = {}
    for name, spec in method.view_spec.items():
        view = images[index[rows]] + 0.5 * draw.rows(f"view {name}", _noise)
        view = view if spec.size is None else view[..., : spec.size, : spec.size]
        views[name] = spec.form.apply(view, {}, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).to(dtype)
    return Batch(views=views, index=index[rows], draw=draw)


def _noise(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=generator)


def encode_of(method: Method, dtype: torch.dtype) -> Encode:
    """The loop's ``encode``: every image once, in eval mode."""

    @torch.no_grad()
    def encode(what: str = "embedding", size: int | None = None) -> Tensor:
        average_statistics_(method)
        modes = {module: module.training for module in method.modules()}
        method.eval()
        images = torch.randn(COUNT, 3, SIDE, SIDE, generator=generator_for("images")).to(dtype)
        images = images if size is None else nn.functional.interpolate(images, size=size)
        found = getattr(method, {"embedding": "embed", "target": "target", "features": "backbone"}[what])(images)
        for module, mode in modes.items():
            module.training = mode
        return found

    return encode


def train(config: MethodConfig, *, norm: str, steps: int = 4, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Train by the plainest loop that keeps the contract, on as many ranks as there are; return the state.

    In float64, so that ranks and one process agree far below what any mistake would change.
    """
    method = build(config, norm=norm).to(dtype)
    network = _parallel(method)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    encode, per_epoch = encode_of(method, dtype), COUNT // BATCH
    share = BATCH // distributed.world()
    start = distributed.rank() * share
    at = Progress(steps=steps, epochs=-(-steps // per_epoch))
    method.start(encode, at)
    for step in range(steps):
        at.step, at.epoch = step, step // per_epoch
        if step % per_epoch == 0:
            for name in method.epoch(encode, at):
                optimizer.state.pop(dict(method.named_parameters())[name], None)
        order = torch.randperm(COUNT, generator=generator_for("order", at.epoch))
        index = order[step % per_epoch * BATCH :][:BATCH]
        found = network(batch_for(method, index, step=step, rows=slice(start, start + share), dtype=dtype), at)
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        method.update({name: distributed.gather(value) for name, value in found.record.items()}, at)
    average_statistics_(method)
    return copied(method)


def _parallel(method: nn.Module) -> Any:
    if distributed.world() == 1:
        return method
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(method, **{option: False})


@torch.no_grad()
def shake_(network: nn.Module, *, seed: int) -> None:
    """Move every weight, as a long training would."""
    torch.manual_seed(seed)
    for weight in network.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.3)


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's state."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def memory_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what BatchNorm may change."""
    return {name: value for name, value in state.items() if name.rpartition(".")[2] not in STATISTICS}


def differing(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float | None = None) -> list[str]:
    """Name what differs between two states: in any bit, or by more than ``tolerance`` times the tensor's largest."""
    assert first.keys() == second.keys()
    found = []
    for name, one in first.items():
        other = second[name]
        if tolerance is None or not one.is_floating_point() or not one.numel():
            same = one.dtype == other.dtype and torch.equal(one, other)
        else:
            same = float((one - other).abs().max()) <= tolerance * max(float(one.abs().max()), 1e-3)
        if not same:
            found.append(name)
    return found


def last_layers(method: Method) -> list[nn.Linear]:
    """The linear layers whose outputs the loss normalises: the end of every branch."""
    own: list[nn.Module] = []
    while isinstance(method, Wrapper):
        if isinstance(getattr(method, "head", None), nn.Module):  # InterCLR's separate one
            own.append(method.head)
        method = method.base
    ends = [
        *own,
        getattr(method, "predictor", method.encoder.head),
        *(getattr(method, name).head for name in ("key_encoder", "target_encoder") if hasattr(method, name)),
    ]
    lasts = [[layer for layer in end.modules() if not list(layer.children())][-1] for end in ends]
    return [layer for layer in lasts if isinstance(layer, nn.Linear)]  # behind a norm, another length is no change


# ---------------------------------------------------------------- the loop itself


def noise_source(count: int = COUNT) -> Source:
    """Images of noise with three classes of labels, so that the kNN monitor takes part."""
    pixels = torch.randint(256, (count, 3, SIDE, SIDE), generator=generator_for("pixels"), dtype=torch.uint8)
    ids = [f"{number}.png" for number in range(count)]
    facts = SourceInfo(name="noise", size=SIDE, keys=ids, labels=torch.arange(count) % 3, classes=("a", "b", "c"))
    return ResidentSource(facts, pixels)


def recipe_for(config: MethodConfig, *, accumulate: int = 1, epochs: int = 1, rounds: int = 1) -> Recipe:
    """A recipe for :func:`noise_source`, which logs every step and saves every fifth and at an epoch's end."""
    return Recipe(
        name="law",
        about="a recipe of the tests",
        method=config,
        backbone=BACKBONE,
        augment=AugmentConfig(policy="simclr-cifar", image_size=SIDE),
        optim=OptimConfig(lr=0.05),
        schedule=ScheduleConfig(epochs=epochs, rounds=rounds),
        data=DataConfig(batch_size=BATCH, accumulate=accumulate),
        runtime=RuntimeConfig(accelerator="cpu", precision="32-true", threads=1, log_every=1, checkpoint_steps=5),
    )


def trainer_for(
    recipe: Recipe, source: Source, out: Path, *, norm: str = "batch", seed: int = 0, precision: str = "32-true"
) -> Trainer:
    """A trainer on as many ranks as there are."""
    out.mkdir(exist_ok=True)
    if distributed.world() > 1:  # what torchrun would set; the process group is the pool's
        rank, world = str(distributed.rank()), str(distributed.world())
        os.environ.update(WORLD_SIZE=world, LOCAL_WORLD_SIZE=world, RANK=rank, LOCAL_RANK=rank, NODE_RANK="0")
        os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29500")
    method = build(recipe.method, norm=norm, count=len(source), seed=seed)
    with mock.patch("viewkin.training.fabric.precision_of", return_value=precision):
        fabric = make_fabric(recipe.runtime, method)
    return Trainer(recipe, source, method, recipe.augment.chosen(), fabric, out, {})


def checkpoint_of(out: Path) -> dict[str, Tensor]:
    """Flatten a run's last checkpoint into named tensors: method, optimiser, monitor, progress."""
    found: dict[str, Tensor] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, (dict, list, tuple)):
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                visit(f"{prefix}.{key}", inner)
        elif isinstance(value, (bool, int, float, Tensor)):
            found[prefix] = torch.as_tensor(value)

    visit("", torch.load(out / "last.ckpt", weights_only=True))
    return found


def metrics_of(out: Path) -> list[dict[str, float]]:
    """Read a run's log without what the clock says."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCKED} for line in lines]
