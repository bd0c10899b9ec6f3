"""Settings of the protocols that run the network on images, and published presets by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from viewkin.evaluation.network import Precision
from viewkin.runtime.errors import require
from viewkin.settings import (
    BatchSize,
    Count,
    Epochs,
    LearningRates,
    Milestones,
    Momentum,
    NotNegative,
    Positive,
    Proportion,
    Settings,
    Share,
)

Rates = tuple[float, float]
"""Learning rate of the backbone, and the head's as a multiple of it."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Settings):
    """SGD on the whole network, by default as InvP is fine-tuned on small sets (Cars, CUB, Flowers, ...)."""

    learning_rates: LearningRates = (0.001,)
    """Learning rates of the backbone to try, absolute."""
    head_factors: LearningRates = (5.0,)
    """The head's rate is the backbone's times this; of several pairs, the best on held-out *train* images is used."""
    head_constant: bool = False
    """Whether the head's rate stays constant while the backbone's falls (InvP's released semi-supervised code)."""
    scale_lr: bool = False
    """Whether rates are given per 256 images of a step (at most the size of the training set)."""
    momentum: Momentum = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Whether to use Nesterov's momentum."""
    weight_decay: NotNegative = 1e-6
    """L2 penalty on every parameter."""
    batch_size: BatchSize = 128
    """Images per step."""
    epochs: Epochs = 81
    """Passes over the training images."""
    schedule: Literal["step", "cosine"] = "step"
    """``step``: times ``factor`` at each milestone; ``cosine``: half a cosine to 0 over all steps."""
    milestones: Milestones = (50, 70, 80)
    """Epochs after which the step schedule falls."""
    factor: Positive = 0.1
    """Factor of the learning rate at each milestone."""
    least_area: Share = 0.08
    """Smallest area of a random crop, fraction of the image."""
    init_std: NotNegative = 0.01
    """Standard deviation of the head's initial weights; biases start at 0."""
    holdout: Proportion = 0.1
    """Fraction of each class in *train* that is held out to choose the rates."""
    precision: Precision = "32-true"
    """``32-true``, or ``bf16-mixed`` if the processor supports it."""
    seed: int = 0
    """Seed of the head, the order, the views, the held-out part and the few labels."""

    def _check(self) -> None:
        require(not self.nesterov or self.momentum > 0, "nesterov", self.nesterov, "false without momentum")


@dataclass(frozen=True, kw_only=True)
class SemiConfig(FinetuneConfig):
    """Fine-tuning on a few labels, by default as InterCLR's authors do it with 1 % of them."""

    share: Share = 0.01
    """Fraction of the training images whose labels are used, the same number of each class."""
    names: str = ""
    """Text file that names these images instead, one per line; empty: ``share`` decides."""
    learning_rates: LearningRates = (0.01,)
    """Learning rates of the backbone to try, absolute."""
    head_factors: LearningRates = (100.0,)
    """The head's rate is the backbone's times this; of several pairs, the best on held-out *train* images is used."""
    weight_decay: NotNegative = 5e-4
    """L2 penalty on every parameter."""
    batch_size: BatchSize = 256
    """Images per step."""
    epochs: Epochs = 20
    """Passes over the training images."""
    milestones: Milestones = (12, 16)
    """Epochs after which the learning rate falls."""
    factor: Positive = 0.2
    """Factor of the learning rate at each milestone."""


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
rate, epochs and zero weight decay follow what is usual; Nesterov's momentum, the cosine without
warm-up and the zero-initialised head follow the released code's linear evaluation (model_util.py, README)."""


@dataclass(frozen=True, kw_only=True)
class StagesConfig(Settings):
    """SGD on linear classifiers, by default InterCLR's on ImageNet (feat1 to feat5)."""

    maps: Literal["stages", "blocks", "pooled"] = "stages"
    """Where the classifiers are: the stem and each stage, the stem and each block, or the pooled features only."""
    pooling: Literal["published", "dims"] = "published"
    """``published``: the authors' pooling (InterCLR's windows for stages of 224 pixels, InvP's squares for blocks), or
    ``dims`` if these do not fit. ``dims``: average pooling to squares with about ``dims`` numbers."""
    dims: Count = 9216
    """Target size of a pooled map, in numbers."""
    norm: Literal["channel", "number", "none"] = "channel"
    """BatchNorm before the classifier: per ``channel`` without scale and shift, per ``number`` with them, or none."""
    learning_rates: LearningRates = (0.01,)
    """Learning rates to try, absolute; of several, each map's best on held-out *train* images is used."""
    momentum: Momentum = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Whether to use Nesterov's momentum."""
    weight_decay: NotNegative = 1e-4
    """L2 penalty on weights and biases of the classifiers."""
    batch_size: BatchSize = 256
    """Images per step."""
    epochs: Epochs = 90
    """Passes over the training images."""
    milestones: Milestones = (30, 60)
    """Epochs after which the learning rate falls."""
    factor: Positive = 0.1
    """Factor of the learning rate at each milestone."""
    least_area: Share = 0.08
    """Smallest area of a random crop, fraction of the image."""
    colour: bool = True
    """Whether to add colour jitter (0.4, 0.4, 0.4, no hue) and PCA lighting to crop and flip."""
    init_std: NotNegative = 0.01
    """Standard deviation of the initial weights; biases start at 0."""
    holdout: Proportion = 0.1
    """Fraction of each class in *train* that is held out to choose the rates."""
    precision: Precision = "32-true"
    """Precision of the frozen network: ``32-true``, or ``bf16-mixed`` if the processor supports it."""
    seed: int = 0
    """Seed of the classifiers, the order, the views and the held-out part."""

    def _check(self) -> None:
        require(not self.nesterov or self.momentum > 0, "nesterov", self.nesterov, "false without momentum")


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
"""Name to published settings: InterCLR on ImageNet and on Places205, InvP on both, MoCo on ImageNet, EIR's
released code on ImageNet-100."""
