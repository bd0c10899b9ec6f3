"""Settings of the protocols that run the network on images, and published presets by name."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from viewkin.evaluation.network import Precision
from viewkin.runtime.errors import require

Rates = tuple[float, float]
"""Learning rate of the backbone, and the head's as a multiple of it."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """SGD on the whole network, by default as InvP is fine-tuned on small sets (Cars, CUB, Flowers, ...)."""

    learning_rates: tuple[float, ...] = (0.001,)
    """Learning rates of the backbone to try, absolute."""
    head_factors: tuple[float, ...] = (5.0,)
    """The head's rate is the backbone's times this; of several pairs, the best on held-out *train* images is used."""
    head_constant: bool = False
    """Whether the head's rate stays constant while the backbone's falls (InvP's released semi-supervised code)."""
    scale_lr: bool = False
    """Whether rates are given per 256 images of a step (at most the size of the training set)."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Whether to use Nesterov's momentum."""
    weight_decay: float = 1e-6
    """L2 penalty on every parameter."""
    batch_size: int = 128
    """Images per step."""
    epochs: int = 81
    """Passes over the training images."""
    schedule: Literal["step", "cosine"] = "step"
    """``step``: times ``factor`` at each milestone; ``cosine``: half a cosine to 0 over all steps."""
    milestones: tuple[int, ...] = (50, 70, 80)
    """Epochs after which the step schedule falls."""
    factor: float = 0.1
    """Factor of the learning rate at each milestone."""
    least_area: float = 0.08
    """Smallest area of a random crop, fraction of the image."""
    init_std: float = 0.01
    """Standard deviation of the head's initial weights; biases start at 0."""
    holdout: float = 0.1
    """Fraction of each class in *train* that is held out to choose the rates."""
    precision: Precision = "32-true"
    """``32-true``, or ``bf16-mixed`` if the processor supports it."""
    seed: int = 0
    """Seed of the head, the order, the views, the held-out part and the few labels."""

    def __post_init__(self) -> None:
        for name in ("learning_rates", "head_factors"):
            values = getattr(self, name)
            require(bool(values) and all(0 < v < math.inf for v in values), name, values, "one or more, all above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(not self.nesterov or self.momentum > 0, "nesterov", self.nesterov, "false without momentum")
        require(self.schedule in ("step", "cosine"), "schedule", self.schedule, "step or cosine")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        require(1 <= self.epochs <= 10**6, "epochs", self.epochs, "at least 1, at most 1,000,000")
        rising = all(one < other for one, other in itertools.pairwise((0, *self.milestones)))
        require(rising, "milestones", self.milestones, "rising epochs above 0")
        require(self.factor > 0, "factor", self.factor, "above 0")
        require(0 < self.least_area <= 1, "least_area", self.least_area, "above 0 and at most 1")
        require(self.init_std >= 0, "init_std", self.init_std, "at least 0")
        require(0 < self.holdout < 1, "holdout", self.holdout, "between 0 and 1")
        require(self.precision in get_args(Precision), "precision", self.precision, "32-true or bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class SemiConfig(FinetuneConfig):
    """Fine-tuning on a few labels, by default as InterCLR's authors do it with 1 % of them."""

    share: float = 0.01
    """Fraction of the training images whose labels are used, the same number of each class."""
    names: str = ""
    """Text file that names these images instead, one per line; empty: ``share`` decides."""
    learning_rates: tuple[float, ...] = (0.01,)
    """Learning rates of the backbone to try, absolute."""
    head_factors: tuple[float, ...] = (100.0,)
    """The head's rate is the backbone's times this; of several pairs, the best on held-out *train* images is used."""
    weight_decay: float = 5e-4
    """L2 penalty on every parameter."""
    batch_size: int = 256
    """Images per step."""
    epochs: int = 20
    """Passes over the training images."""
    milestones: tuple[int, ...] = (12, 16)
    """Epochs after which the learning rate falls."""
    factor: float = 0.2
    """Factor of the learning rate at each milestone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, "share", self.share, "above 0 and at most 1")


FINETUNE_PRESETS = {"invp": FinetuneConfig()}
"""Name to published settings of ``finetune``."""

_INVP = SemiConfig(
    learning_rates=(0.0012,),
    head_factors=(50.0,),
    head_constant=True,
    weight_decay=1e-5,
    batch_size=128,
    epochs=30,
    milestones=(15, 20, 25),
    factor=0.1,
)
_SEARCH = replace(SemiConfig(), learning_rates=(0.001, 0.01, 0.1), head_factors=(1.0, 10.0, 100.0))
_SIMCLR = SemiConfig(
    learning_rates=(0.05,),
    scale_lr=True,
    head_factors=(1.0,),
    nesterov=True,
    weight_decay=0.0,
    batch_size=4096,
    epochs=60,
    schedule="cosine",
    init_std=0.0,
)

SEMI_PRESETS = {
    "interclr-1": SemiConfig(),
    "interclr-10": SemiConfig(share=0.1, weight_decay=1e-4),
    "search-1": _SEARCH,
    "search-10": replace(_SEARCH, share=0.1, weight_decay=1e-4),
    "invp-1": _INVP,
    "invp-10": replace(_INVP, share=0.1),
    "simclr-1": _SIMCLR,
    "simclr-10": replace(_SIMCLR, share=0.1, epochs=30),
}
"""Name to published settings of ``semi``. ``search`` is InterCLR's grid for the methods it compares with. For SimCLR,
rate, epochs and zero weight decay follow METHODS 8.5 (from general knowledge); Nesterov's momentum, the cosine without
warm-up and the zero-initialised head follow the released code's linear evaluation (model_util.py, README)."""


@dataclass(frozen=True, kw_only=True)
class StagesConfig:
    """SGD on linear classifiers, by default InterCLR's on ImageNet (feat1 to feat5)."""

    maps: Literal["stages", "blocks", "pooled"] = "stages"
    """Where the classifiers are: the stem and each stage, the stem and each block, or the pooled features only."""
    pooling: Literal["published", "dims"] = "published"
    """``published``: the authors' pooling (InterCLR's windows for stages of 224 pixels, InvP's squares for blocks), or
    ``dims`` if these do not fit. ``dims``: average pooling to squares with about ``dims`` numbers."""
    dims: int = 9216
    """Target size of a pooled map, in numbers."""
    norm: Literal["channel", "number", "none"] = "channel"
    """BatchNorm before the classifier: per ``channel`` without scale and shift, per ``number`` with them, or none."""
    learning_rates: tuple[float, ...] = (0.01,)
    """Learning rates to try, absolute; of several, each map's best on held-out *train* images is used."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Whether to use Nesterov's momentum."""
    weight_decay: float = 1e-4
    """L2 penalty on weights and biases of the classifiers."""
    batch_size: int = 256
    """Images per step."""
    epochs: int = 90
    """Passes over the training images."""
    milestones: tuple[int, ...] = (30, 60)
    """Epochs after which the learning rate falls."""
    factor: float = 0.1
    """Factor of the learning rate at each milestone."""
    least_area: float = 0.08
    """Smallest area of a random crop, fraction of the image."""
    colour: bool = True
    """Whether to add colour jitter (0.4, 0.4, 0.4, no hue) and PCA lighting to crop and flip."""
    init_std: float = 0.01
    """Standard deviation of the initial weights; biases start at 0."""
    holdout: float = 0.1
    """Fraction of each class in *train* that is held out to choose the rates."""
    precision: Precision = "32-true"
    """Precision of the frozen network: ``32-true``, or ``bf16-mixed`` if the processor supports it."""
    seed: int = 0
    """Seed of the classifiers, the order, the views and the held-out part."""

    def __post_init__(self) -> None:
        for name, kinds in (
            ("maps", ("stages", "blocks", "pooled")),
            ("pooling", ("published", "dims")),
            ("norm", ("channel", "number", "none")),
        ):
            require(getattr(self, name) in kinds, name, getattr(self, name), f"one of {', '.join(kinds)}")
        require(self.precision in get_args(Precision), "precision", self.precision, "32-true or bf16-mixed")
        good = bool(self.learning_rates) and all(0 < rate < math.inf for rate in self.learning_rates)
        require(good, "learning_rates", self.learning_rates, "one or more, all above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(not self.nesterov or self.momentum > 0, "nesterov", self.nesterov, "false without momentum")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        rising = all(one < other for one, other in itertools.pairwise((0, *self.milestones)))
        require(rising, "milestones", self.milestones, "rising epochs above 0")
        for name in ("dims", "epochs"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("weight_decay", "init_std"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(self.factor > 0, "factor", self.factor, "above 0")
        require(0 < self.least_area <= 1, "least_area", self.least_area, "above 0 and at most 1")
        require(0 < self.holdout < 1, "holdout", self.holdout, "between 0 and 1")


_MOCO = StagesConfig(
    maps="pooled",
    norm="none",
    learning_rates=(30.0,),
    nesterov=False,
    weight_decay=0.0,
    epochs=100,
    milestones=(60, 80),
    colour=False,
)

STAGES_PRESETS = {
    "interclr": StagesConfig(),
    "places": StagesConfig(epochs=14, milestones=(4, 8, 12), colour=False),
    "invp": StagesConfig(
        maps="blocks",
        norm="number",
        learning_rates=(1.0,),
        nesterov=False,
        weight_decay=0.0,
        epochs=120,
        milestones=(50, 80, 100),
        colour=False,
    ),
    "moco": _MOCO,
    "eir-moco": replace(_MOCO, learning_rates=(10.0,)),
}
"""Name to published settings: InterCLR on ImageNet and on Places205, InvP on both, MoCo on ImageNet (METHODS 8.2 and
3.6), EIR's released code on ImageNet-100 (METHODS 5.2)."""
