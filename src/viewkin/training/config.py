"""The settings of a run: what may change results, and apart from it the runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from torch import nn

from viewkin.augment.policies import Policy, policy, with_least_area
from viewkin.data.reading import Reading
from viewkin.methods.base import MethodConfig
from viewkin.nets.backbone import BackboneConfig
from viewkin.nets.held import hold_start
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import BatchSize, Count, ImageSide, Momentum, Positive, Range, Settings, Share, WholeNumber, below


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Settings):
    """How views are made."""

    policy: str = "moco-v2"
    """Name in the augmentation catalogue."""
    image_size: ImageSide = 224
    """Side of the images that the backbone is used on, pixels."""
    view_size: ImageSide | None = None
    """Side of the views that it trains on; None: ``image_size``. Crops show objects enlarged, so that smaller views
    train faster and match the objects' size at test (Touvron et al., FixRes, 2019)."""
    least_area: Share | None = None
    """Least area of a random crop, fraction of the image; None: the policy's."""
    squash: bool | None = None
    """Squash whole images to a square instead of cropping their central square; None: as the policy does."""
    mean: tuple[float, float, float] | None = None
    """Mean of each channel by which images are normalised, for values in 0 to 1; None: the policy's, or that of the
    weights that training starts from."""
    std: tuple[Positive, Positive, Positive] | None = None
    """Standard deviation of each channel, likewise."""

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
class InitConfig(Settings):
    """Weights to start from instead of random ones, and what training leaves of them."""

    source: str | None = None
    """A run, a backbone file, ``timm/NAME``, ``timm/NAME:FILE``, a state dict of torchvision, or
    ``efficientnet_lite0``; None: random weights."""
    weights: str | None = None
    """Hash of these weights, which a run keeps: its recipe is not run again from others."""
    statistics: Literal["held", "trained", "recalibrated"] = "held"
    """BatchNorm's statistics in the backbone: ``held`` as they come; ``trained`` with the batches, as ever;
    ``recalibrated``: computed anew on the images before training, then held."""
    frozen: WholeNumber = 0
    """Number of the backbone's stages, from the input on, that are not trained."""
    lr_scale: Share = 1.0
    """Rate of the backbone as a fraction of the rate of what is new."""
    average: Momentum = 0.0
    """Share of the start in the backbone that is kept: its weights are averaged with those of the end (Wortsman et al.,
    Robust fine-tuning of zero-shot models, 2022)."""

    def hold(self, backbone: nn.Module) -> None:
        """Mark what training leaves as it is, in a network that starts from weights.

        Raises:
            UserError: ``frozen`` is more than the network's stages.
        """
        if self.source is not None:
            hold_start(backbone, self.frozen, statistics=self.statistics != "trained")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """How images are read."""

    batch_size: BatchSize = 256
    """Images of one optimiser step, over all processes and micro-batches."""
    accumulate: Count = 1
    """Micro-batches of one optimiser step."""
    split: str = "train"
    """Split of the images; STL-10 also has ``unlabeled`` and ``train+unlabeled``. Where a recipe's is not there, it is
    ``train``."""
    classes: str | None = None
    """Classes whose images are used, such as ``0:98``, where retrieval on the others is to follow; None: all. Labels
    choose the images and never reach a loss."""
    stored_size: ImageSide | None = None
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

    def _check(self) -> None:
        low, high = self.value_range or (0.0, 1.0)
        require(low < high, "value_range", self.value_range, "a lower and a higher number, or none")

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
class RuntimeConfig(Settings):
    """How fast and where, not what: none of these may change a result beyond rounding."""

    devices: Count = 1
    """Devices of this node, when not started by torchrun (which decides itself)."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """``cpu``, ``cuda`` or ``auto``."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """``auto``: bf16 autocast where the processor has it and the network gains by it, else float32."""
    channels_last: bool = True
    """Keep images and weights channels-last."""
    compile: bool = False
    """Compile the networks with torch.compile: a minute at the start; pays on a GPU, hardly on a CPU."""
    workers: Annotated[int, Range(least=0, most=1024)] = 2
    """Decoding processes, for image sets that are streamed."""
    threads: Count | None = None
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
    log_every: Count = 20
    """Optimiser steps between two lines of metrics.jsonl."""
    checkpoint_minutes: Positive = 5.0
    """Longest time between two checkpoints."""
    checkpoint_steps: Count | None = None
    """Optimiser steps between two checkpoints, beside the clock."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """Everything that defines a run but the images."""

    name: str = ""
    """Name on the command line."""
    about: str = ""
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
    seed: Annotated[int, Range(above=-(2**63), below=2**63)] = 0
    """Run seed: every random number follows from it."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Everything that may not change a result."""

    def _check(self) -> None:
        # Gradients of float16 are scaled until the optimiser's step, so that their norm means nothing before.
        suits = self.optim.clip is None or self.runtime.precision != "16-mixed"
        require(suits, "optim.clip", self.optim.clip, "null with runtime.precision=16-mixed")


def nested(method: MethodConfig) -> Iterator[tuple[str, MethodConfig]]:
    """Go through the settings of a recipe's method and of each that it wraps, with their paths."""
    path, inner = "method", method
    while inner is not None:
        yield path, inner
        path, inner = f"{path}.base", inner.wrapped()


def delays(method: MethodConfig, at: Progress) -> dict[str, float]:
    """Settings of a method, and of all that it wraps, that keep a term out: path to epochs of this round."""
    return {name: length for path, one in nested(method) for name, length in below(path, one.delays(at)).items()}
