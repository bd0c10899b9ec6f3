"""VICReg: views of one image agree, and features vary over images without repeating each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, NotNegative


@dataclass(frozen=True, kw_only=True)
class VICRegConfig(MethodConfig):
    """Settings of VICReg."""

    kind: ClassVar[str] = "vicreg"
    group: ClassVar[Group] = "redundancy"
    good_for: ClassVar[str] = "features without negatives, memory or second network; three terms to balance"

    dim: Dimension = 8192
    """D, size of the embedding."""
    hidden: Count = 8192
    """Width of the expander's hidden layers."""
    layers: Count = 3
    """Layers of the expander."""
    invariance: NotNegative = 25.0
    """lambda, weight of the invariance."""
    variance: NotNegative = 25.0
    """mu, weight of the variance, of which the mean over both views is taken (solo-learn takes the sum)."""
    covariance: NotNegative = 1.0
    """nu, weight of the covariance, of which the sum over both views is taken."""
    norm: str = "batch"
    """BatchNorm of network and expander: ``batch``, or ``gathered`` over ranks (the release)."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def has_negatives(self) -> bool:
        """No image is a negative."""
        return False

    def build(self, backbone: nn.Module, *, count: int) -> VICReg:
        """Make the method; it keeps no memory of the images."""
        return VICReg(self, backbone)


class VICReg(ViewMethod):
    """``lambda mean (z1 - z2)^2 + mu (v(z1) + v(z2)) / 2 + nu (c(z1) + c(z2))`` of raw embeddings.

    Variance v and covariance c are of the global batch (gathered with gradients over all ranks).

    References:
        Bardes, Ponce and LeCun, VICReg, 2022, equations 1-6; the halved variance is the authors' code.
    """

    contrastive = False
    temperature = 1.0
    scale_free = False

    def __init__(self, config: VICRegConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        widths = (*(config.hidden,) * (config.layers - 1), config.dim)
        head = HeadConfig(layers=widths, norm=True, last_bias=False)
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare the views of each image, and the features over the global batch."""
        config = self.config
        raw = [losses.at_least_float32(self.encoder(batch.views[name])) for name in ("first", "second")]
        everyone = [distributed.gather_with_grad(z) for z in raw]
        variance = torch.stack([losses.hinged_deviation(z) for z in everyone]).mean()
        covariance = torch.stack([losses.off_diagonal_covariance(z) for z in everyone]).sum()
        first, second = (losses.unit(z) for z in raw)
        return Step(
            terms={
                "invariance": config.invariance * (raw[0] - raw[1]).square().mean(),
                "variance": config.variance * variance,
                "covariance": config.covariance * covariance,
            },
            pairs=((first, second.detach()), (second, first.detach())),
            record={"index": batch.index, "embedding": first.detach()},
        )

    def key(self, batch: Batch) -> Tensor:
        """The second view, without gradient."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """The invariance per row, of vectors of length sqrt(D), which the variance aims at: ``lambda (2 - 2 cos)``."""
        return self.config.invariance * losses.regression(q, k)
