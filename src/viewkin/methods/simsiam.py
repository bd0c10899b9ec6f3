"""SimSiam and FastSiam: predict the projection of a view from the others; no negatives and no second network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, Range


@dataclass(frozen=True, kw_only=True)
class SimSiamConfig(MethodConfig):
    """Settings of SimSiam and, with more than two views, FastSiam."""

    kind: ClassVar[str] = "simsiam"
    group: ClassVar[Group] = "distillation"
    good_for: ClassVar[str] = "batches of 256 and less, with one network and no memory"

    dim: Dimension = 2048
    """D, size of projection and prediction, and width of the projector."""
    projector_layers: Count = 3
    """Layers of the projector: 3 on ImageNet, 2 on CIFAR-10."""
    predictor_hidden: Count = 512
    """Width of the predictor's hidden layer."""
    views: Annotated[int, Range(least=2, most=64)] = 2
    """V: 2 is SimSiam, 4 is FastSiam."""
    constant_predictor_rate: bool = True
    """Whether the predictor's learning rate stays at its base (the release's command for ImageNet)."""
    norm: str = "batch"
    """BatchNorm of all networks: ``batch``, or ``gathered`` over ranks."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def has_negatives(self) -> bool:
        """SimSiam has none."""
        return False

    def passes(self, side: int) -> tuple[float, float]:
        """Every view, once."""
        return float(self.views), 0.0

    def build(self, backbone: nn.Module, *, count: int) -> SimSiam:
        """Make the method; it keeps no memory of the images."""
        return SimSiam(self, backbone)


class SimSiam(ViewMethod):
    """``L = mean_i -cos(p_i, mean_{j != i} z_j)``: z_i projections without gradient, p_i the prediction from z_i.

    With two views this is SimSiam's ``-(cos(p_1, z_2) + cos(p_2, z_1)) / 2``. The mean is of raw projections.

    References:
        Chen and He, Exploring Simple Siamese Representation Learning, 2021, equations 1-4; Pototzky et al., FastSiam,
        2022.
    """

    contrastive = False
    temperature = 1.0

    def __init__(self, config: SimSiamConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        names = ["first", "second", *(f"view{number}" for number in range(3, config.views + 1))]
        self.view_spec = {name: ViewSpec(("first", "second")[place % 2]) for place, name in enumerate(names)}
        widths = (config.dim,) * config.projector_layers
        head = HeadConfig(layers=widths, norm=True, bias=False, last_bias=False, last_norm="plain")
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)
        predictor = HeadConfig(layers=(config.predictor_hidden, config.dim), norm=True, bias=False)
        self.predictor = convert_norm(build_head(predictor, config.dim), config.norm)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Predict from each view the mean projection of the others."""
        projected = [self.encoder(batch.views[name]) for name in self.view_spec]
        keys = [losses.at_least_float32(z.detach()) for z in projected]
        pairs = tuple(
            (losses.unit(self.predictor(z)), losses.unit(torch.stack([*keys[:i], *keys[i + 1 :]]).mean(0)))
            for i, z in enumerate(projected)
        )
        loss = torch.stack([self.pair_loss(q, k, batch.index) for q, k in pairs]).mean()
        record = {"index": batch.index, "embedding": losses.unit(keys[0])}
        return Step(terms={"simsiam": loss}, pairs=pairs, record=record)

    def query(self, x: Tensor) -> Tensor:
        """Unit prediction, with gradient."""
        return losses.unit(self.predictor(self.encoder(x)))

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Unit projection."""
        return losses.unit(self.encoder(x))

    def key(self, batch: Batch) -> Tensor:
        """Projection of the second view."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """``-cos(q, k)`` per row."""
        return losses.regression(q, k) / 2 - 1

    def param_groups(self) -> list[dict[str, Any]]:
        """Encoder and predictor; the predictor's rate may be left out of the schedule."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        own = [pair for pair in named if pair[0].startswith("predictor.")]
        rest = [pair for pair in named if not pair[0].startswith("predictor.")]
        return [{"named": rest}, {"named": own, "constant_lr": self.config.constant_predictor_rate}]
