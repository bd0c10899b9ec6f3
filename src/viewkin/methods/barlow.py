"""Barlow Twins: each feature agrees between two views, and different features do not repeat each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class BarlowConfig(MethodConfig):
    """Settings of Barlow Twins."""

    kind: ClassVar[str] = "barlow"
    group: ClassVar[Group] = "redundancy"
    good_for: ClassVar[str] = "features without negatives, memory or second network; wants a wide projector"

    dim: Dimension = 8192
    """D, size of the embedding."""
    hidden: Count = 8192
    """Width of the projector's hidden layers."""
    layers: Count = 3
    """Layers of the projector."""
    weight: NotNegative = 0.0051
    """lambda, weight of the redundancy."""
    bias_lr_scale: Positive = 0.0048 / 0.2
    """Learning rate of biases and norm parameters, as a fraction of that of the weights."""
    scale: Positive = 1.0
    """Factor of the whole loss; solo-learn's CIFAR settings have 0.1."""
    norm: str = "batch"
    """BatchNorm of network and projector: ``batch``, or ``gathered`` over ranks (the release)."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def has_negatives(self) -> bool:
        """No image is a negative."""
        return False

    def build(self, backbone: nn.Module, *, count: int) -> Barlow:
        """Make the method; it keeps no memory of the images."""
        return Barlow(self, backbone)


class Barlow(ViewMethod):
    """``sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2``, C the cross-correlation of two views over the global batch.

    References:
        Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021, equation 1.
    """

    contrastive = False
    temperature = 1.0
    scale_free = False
    """Only nearly: the columns are divided by a deviation to which a constant is added."""

    def __init__(self, config: BarlowConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        widths = (*(config.hidden,) * (config.layers - 1), config.dim)
        head = HeadConfig(layers=widths, norm=True, bias=False, last_bias=False)
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Correlate the features of both views over the global batch."""
        raw = [self.encoder(batch.views[name]) for name in ("first", "second")]
        everyone = [distributed.gather_with_grad(z) for z in raw]
        invariance, redundancy = losses.cross_correlation_loss(everyone[0], everyone[1], self.config.weight)
        first, second = (losses.unit(z) for z in raw)
        return Step(
            terms={"invariance": self.config.scale * invariance, "redundancy": self.config.scale * redundancy},
            pairs=((first, second.detach()), (second, first.detach())),
            record={"index": batch.index, "embedding": first.detach()},
        )

    def key(self, batch: Batch) -> Tensor:
        """The second view, without gradient."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """``2 - 2 cos(q, k)`` per row: what terms use that relate single images, for which C is not defined."""
        return losses.regression(q, k)

    def param_groups(self) -> list[dict[str, Any]]:
        """Weights, and biases with norm parameters at a rate of their own."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        weights, others = ([pair for pair in named if (pair[1].ndim > 1) == of] for of in (True, False))
        return [{"named": weights}, {"named": others, "lr_scale": self.config.bias_lr_scale}]
