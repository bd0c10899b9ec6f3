"""SIGReg (LeJEPA): views of one image agree, and embeddings of all images are spread as a standard normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, Fraction, Range


@dataclass(frozen=True, kw_only=True)
class SIGRegConfig(MethodConfig):
    """Settings of SIGReg; the defaults are those of the authors' Imagenette example."""

    kind: ClassVar[str] = "sigreg"
    group: ClassVar[Group] = "redundancy"
    good_for: ClassVar[str] = "one weight to tune, no second network; several views"

    dim: Dimension = 16
    """D, size of the embedding, 16 to 128."""
    hidden: Count = 2048
    """Width of the projector's hidden layers."""
    views: Annotated[int, Range(least=2, most=64)] = 4
    """V, number of views."""
    weight: Fraction = 0.02
    """lambda, weight of SIGReg; the agreement has 1 - lambda. It has to be tuned to the data."""
    directions: Count = 256
    """Random directions of one step, 256 to 1,024."""
    norm: str = "batch"
    """BatchNorm of network and projector: ``batch``, or ``gathered`` over ranks."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def has_negatives(self) -> bool:
        """No image is a negative."""
        return False

    def passes(self, side: int) -> tuple[float, float]:
        """Every view, once."""
        return float(self.views), 0.0

    def build(self, backbone: nn.Module, *, count: int) -> SIGReg:
        """Make the method; it keeps no memory of the images."""
        return SIGReg(self, backbone)


class SIGReg(ViewMethod):
    """``(1 - lambda) mean_v (z_v - mean z)^2 + lambda mean_v SIGReg(z_v)`` of raw embeddings of the global batch.

    References:
        Balestriero and LeCun, LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics, 2025.
    """

    contrastive = False
    temperature = 1.0
    scale_free = False

    def __init__(self, config: SIGRegConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        names = ["first", "second", *(f"view{number}" for number in range(3, config.views + 1))]
        self.view_spec = {name: ViewSpec(("first", "second")[place % 2]) for place, name in enumerate(names)}
        head = HeadConfig(layers=(config.hidden, config.hidden, config.dim), norm=True)
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare the views of each image, and each view's embeddings with a normal distribution."""
        views = torch.cat([batch.views[name] for name in self.view_spec])
        raw = losses.at_least_float32(self.encoder(views)).chunk(len(self.view_spec))
        stacked = torch.stack(raw)
        drawn = torch.randn(self.config.directions, self.dim, generator=batch.draw.generator("directions"))
        directions = losses.unit(onto(drawn, stacked.device))
        spread = torch.stack([losses.gaussian_distance(distributed.gather_with_grad(z), directions) for z in raw])
        unit = [losses.unit(z) for z in raw]
        return Step(
            terms={
                "agreement": (1 - self.config.weight) * (stacked - stacked.mean(0)).square().mean(),
                "sigreg": self.config.weight * spread.mean(),
            },
            pairs=((unit[0], unit[1].detach()), (unit[1], unit[0].detach())),
            record={"index": batch.index, "embedding": unit[0].detach()},
        )

    def key(self, batch: Batch) -> Tensor:
        """The second view, without gradient."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """The agreement of two vectors of length sqrt(D), as a normal distribution has, per row."""
        return (1 - self.config.weight) * losses.regression(q, k) / 4
