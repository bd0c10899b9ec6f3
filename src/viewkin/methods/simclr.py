"""SimCLR: each view is matched with the other view of its image, among all views of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, Margin, Positive


@dataclass(frozen=True, kw_only=True)
class SimCLRConfig(MethodConfig):
    """Settings of SimCLR."""

    kind: ClassVar[str] = "simclr"
    good_for: ClassVar[str] = "a folder of one's own, on any machine; no memory to set"

    dim: Dimension = 128
    """D, size of the embedding."""
    hidden: Count | None = None
    """Width of the head's hidden layer; None takes the backbone's feature size (2048 for ResNet-50)."""
    head_norm: bool = True
    """BatchNorm in the head's hidden layer (the official code; equation 1 does not ask for it)."""
    temperature: Positive = 0.5
    """tau, dimensionless: 0.1 on ImageNet, 0.5 on CIFAR-10."""
    norm: str = "batch"
    """BatchNorm of network and head: ``batch``, ``split:8``, or ``gathered`` over ranks (the paper's "global BN")."""
    margin: Margin = 0.0
    """m, cosine margin of the partner: above 0 stricter, below 0 looser (InterCLR's study)."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def build(self, backbone: nn.Module, *, count: int) -> SimCLR:
        """Make the method; it keeps no memory of the images."""
        return SimCLR(self, backbone)


class SimCLR(ViewMethod):
    """NT-Xent over the views of the global batch (gathered with gradients over all ranks).

    References:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020, equation 1.
    """

    contrastive = True

    def __init__(self, config: SimCLRConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.dim, self.margin = config.dim, config.margin
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        self.temperature = config.temperature
        width = feature_dim(backbone)
        head = HeadConfig(layers=(config.hidden or width, config.dim), norm=config.head_norm)
        self.encoder = convert_norm(Encoder(backbone, build_head(head, width)), config.norm)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare every view with all views of the global batch."""
        first, second = self.query(torch.cat([batch.views["first"], batch.views["second"]])).chunk(2)
        start = distributed.rank() * len(first)
        loss = losses.nt_xent(
            distributed.gather_with_grad(first),
            distributed.gather_with_grad(second),
            self.temperature,
            slice(start, start + len(first)),
            margin=self.margin,
        )
        return Step(
            terms={"nt_xent": loss.mean()},
            pairs=((first, second.detach()), (second, first.detach())),
            record={"index": batch.index, "embedding": first.detach()},
        )

    def key(self, batch: Batch) -> Tensor:
        """The second view, without gradient."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy of each query over the batch's keys, with its own key as the positive."""
        keys = distributed.gather(k.detach())
        own = distributed.rank() * len(q) + torch.arange(len(q), device=q.device)
        similarity = losses.at_least_float32(q @ keys.T)
        similarity = similarity - self.margin * nn.functional.one_hot(own, len(keys))
        return nn.functional.cross_entropy(similarity / self.temperature, own, reduction="none")
