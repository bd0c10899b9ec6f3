"""The settings of a run: what may change results, and apart from it the runtime."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import nn

from viewkin.augment.policies import Policy, policy, with_least_area
from viewkin.data.reading import Reading
from viewkin.methods.base import MethodConfig
from viewkin.nets.backbone import BackboneConfig
from viewkin.nets.held import hold_start
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.runtime.errors import require
from viewkin.schedules import Progress, RampConfig
from viewkin.settings import setting_paths


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How views are made."""

    policy: str = "moco-v2"
    """Name in the augmentation catalogue."""
    image_size: int = 224
    """Side of the images that the backbone is used on, pixels."""
    view_size: int | None = None
    """Side of the views that it trains on; None: ``image_size``. Crops show objects enlarged, so that smaller views
    train faster and match the objects' size at test (Touvron et al., FixRes, 2019)."""
    least_area: float | None = None
    """Least area of a random crop, fraction of the image; None: the policy's."""
    squash: bool | None = None
    """Squash whole images to a square instead of cropping their central square; None: as the policy does."""
    mean: tuple[float, float, float] | None = None
    """Mean of each channel by which images are normalised, for values in 0 to 1; None: the policy's, or that of the
    weights that training starts from."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of each channel, likewise."""

    def __post_init__(self) -> None:
        require(8 <= self.image_size <= 1024, "augment.image_size", self.image_size, "8 to 1024 pixels")
        view = self.view_size
        require(view is None or 8 <= view <= 1024, "augment.view_size", view, "8 to 1024 pixels, or none")
        require(self.std is None or min(self.std) > 0, "augment.std", self.std, "above 0, or none")
        area = 1.0 if self.least_area is None else self.least_area
        require(0 < area <= 1, "augment.least_area", self.least_area, "above 0 and at most 1")

    @property
    def side(self) -> int:
        """Side of the training views, pixels."""
        return self.view_size or self.image_size

    def chosen(self) -> Policy:
        """Take the policy from the catalogue, with what is set here.

        Raises:
            UserError: the catalogue has no such policy.
        """
        chosen = policy(self.policy)
        chosen = chosen if self.least_area is None else with_least_area(chosen, self.least_area)
        given = {name: getattr(self, name) for name in ("squash", "mean", "std")}
        return replace(chosen, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Weights to start from instead of random ones, and what training leaves of them."""

    source: str | None = None
    """A run, a backbone file, ``timm/NAME``, ``timm/NAME:FILE``, a state dict of torchvision, or
    ``efficientnet_lite0``; None: random weights."""
    weights: str | None = None
    """Hash of these weights, which a run keeps: its recipe is not run again from others."""
    statistics: Literal["held", "trained", "recalibrated"] = "held"
    """BatchNorm's statistics in the backbone: ``held`` as they come; ``trained`` with the batches, as ever;
    ``recalibrated``: computed anew on the images before training, then held."""
    frozen: int = 0
    """Number of the backbone's stages, from the input on, that are not trained."""
    lr_scale: float = 1.0
    """Rate of the backbone as a fraction of the rate of what is new."""
    average: float = 0.0
    """Share of the start in the backbone that is kept: its weights are averaged with those of the end (Wortsman et al.,
    Robust fine-tuning of zero-shot models, 2022)."""

    def __post_init__(self) -> None:
        require(self.frozen >= 0, "init.frozen", self.frozen, "at least 0")
        require(0 < self.lr_scale <= 1, "init.lr_scale", self.lr_scale, "above 0 and at most 1")
        require(0 <= self.average < 1, "init.average", self.average, "at least 0 and below 1")

    def hold(self, backbone: nn.Module) -> None:
        """Mark what training leaves as it is, in a network that starts from weights.

        Raises:
            UserError: ``frozen`` is more than the network's stages.
        """
        if self.source is not None:
            hold_start(backbone, self.frozen, statistics=self.statistics != "trained")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How images are read."""

    batch_size: int = 256
    """Images of one optimiser step, over all processes and micro-batches."""
    accumulate: int = 1
    """Micro-batches of one optimiser step."""
    split: str = "train"
    """Split of the images; STL-10 also has ``unlabeled`` and ``train+unlabeled``. Where a recipe's is not there, it is
    ``train``."""
    classes: str | None = None
    """Classes whose images are used, such as ``0:98``, where retrieval on the others is to follow; None: all. Labels
    choose the images and never reach a loss."""
    stored_size: int | None = None
    """Side at which photographs are kept, pixels; None: image_size * 256/224, or their own size when uniform."""
    image_column: str | None = None
    """Column of Parquet files that holds the images; None: ``image`` or another usual name, or the only one."""
    label_column: str | None = None
    """Column of Parquet files that holds the labels; None: ``label`` or another usual name, or the only one."""
    labels: bool = True
    """Take labels from folders, columns and annotations; they are used for monitoring alone."""
    value_range: tuple[float, float] | None = None
    """Values that become black and white in images of more than 8 bits, such as ``0,4095``; None: the range that their
    type documents where they use it, else the 0.1st to 99.9th percentile of a sample. A run stores what it used."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 2, "data.batch_size", self.batch_size, "at least 2")
        require(self.accumulate >= 1, "data.accumulate", self.accumulate, "at least 1")
        side = self.stored_size
        require(side is None or 8 <= side <= 1024, "data.stored_size", side, "8 to 1024 pixels, or none")
        low, high = self.value_range or (0.0, 1.0)
        finite = math.isfinite(low) and math.isfinite(high)
        require(low < high and finite, "data.value_range", self.value_range, "a lower and a higher number, or none")

    @property
    def reading(self) -> Reading:
        """What these settings say of how a set is read."""
        return Reading(
            image_column=self.image_column,
            label_column=self.label_column,
            labels=self.labels,
            value_range=self.value_range,
        )


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """How fast and where, not what: none of these may change a result beyond rounding."""

    devices: int = 1
    """Devices of this node, when not started by torchrun (which decides itself)."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """``cpu``, ``cuda`` or ``auto``."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """``auto``: bf16 autocast where the processor has it and the network gains by it, else float32."""
    channels_last: bool = True
    """Keep images and weights channels-last."""
    compile: bool = False
    """Compile the networks with torch.compile: a minute at the start; pays on a GPU, hardly on a CPU."""
    workers: int = 2
    """Decoding processes, for image sets that are streamed."""
    threads: int | None = None
    """CPU threads of each process; None leaves the library's choice."""
    keep_memory: bool = True
    """Keep freed memory for the next step instead of giving it back to the system: 1.1 to 1.25 times faster, for a
    tenth more memory (CPU, GNU C library)."""
    bank_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the rows of a method's banks; half precision halves their memory and rounds the rows."""
    bank_folder: str | None = None
    """Folder on a disk with room: banks are mapped from files there instead of held in memory (CPU only); none:
    memory. The files have no names and go with the process; checkpoints hold the banks as ever."""
    online_heads: bool = False
    """Teach a linear layer and AMDIM's MLP by labels beside the network, on detached features, and log the share of
    held-out images that they name rightly at each epoch: ``linear_monitor``, ``mlp_monitor``."""
    log_every: int = 20
    """Optimiser steps between two lines of metrics.jsonl."""
    checkpoint_minutes: float = 5.0
    """Longest time between two checkpoints."""
    checkpoint_steps: int | None = None
    """Optimiser steps between two checkpoints, beside the clock."""

    def __post_init__(self) -> None:
        require(self.devices >= 1, "runtime.devices", self.devices, "at least 1")
        require(self.threads is None or self.threads >= 1, "runtime.threads", self.threads, "at least 1, or none")
        steps = self.checkpoint_steps
        require(steps is None or steps >= 1, "runtime.checkpoint_steps", steps, "at least 1, or none")
        require(self.log_every >= 1, "runtime.log_every", self.log_every, "at least 1")
        require(self.checkpoint_minutes > 0, "runtime.checkpoint_minutes", self.checkpoint_minutes, "above 0")
        require(0 <= self.workers <= 1024, "runtime.workers", self.workers, "0 to 1024")
        known = self.bank_dtype in ("float32", "float16", "bfloat16")
        require(known, "runtime.bank_dtype", self.bank_dtype, "float32, float16 or bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a run but the images."""

    name: str
    """Name on the command line."""
    about: str
    """One line: what it is and where its settings come from."""
    method: MethodConfig
    """Settings of the learner."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The network that is trained and kept."""
    init: InitConfig = field(default_factory=InitConfig)
    """Weights to start from."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Views."""
    optim: OptimConfig
    """Optimiser."""
    schedule: ScheduleConfig
    """Epochs and learning-rate schedule."""
    data: DataConfig = field(default_factory=DataConfig)
    """Batches."""
    seed: int = 0
    """Run seed: every random number follows from it."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Everything that may not change a result."""

    def __post_init__(self) -> None:
        for path, value in setting_paths(self.method, "method.").items():
            require(not isinstance(value, float) or math.isfinite(value), path, value, "a finite number")
        require(abs(self.seed) < 2**63, "seed", self.seed, "a whole number of 64 bits")


def nested(method: Any) -> Iterator[tuple[str, Any]]:
    """Go through the settings of a recipe's method and of each that it wraps, with their paths."""
    path = "method"
    while method is not None:
        yield path, method
        path, method = f"{path}.base", getattr(method, "base", None)


def delays(method: Any, at: Progress) -> dict[str, float]:
    """Settings of a method, and of all that it wraps, that keep a term out: path to epochs of this round."""
    epochs_of: dict[str, float] = {}
    for path, one in nested(method):
        ramp: RampConfig | None = getattr(one, "ramp", None)
        if ramp is not None and ramp.shape == "binary":
            epochs_of[f"{path}.ramp.{'share' if ramp.epochs is None else 'epochs'}"] = ramp.length(at.epochs)
        if at.round == 0 and hasattr(one, "warmup_epochs"):
            epochs_of[f"{path}.warmup_epochs"] = float(one.warmup_epochs)
    return epochs_of
