"""ISIF, also called InvaSpread: a view is close to its partner in the batch and far from every other view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Encode, MethodConfig, Step, ViewMethod, with_projection
from viewkin.ops.neighbours import nearest_others
from viewkin.runtime import distributed
from viewkin.runtime.draws import Draw, onto
from viewkin.schedules import Progress
from viewkin.settings import Dimension, Fraction, Momentum, NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class ISIFConfig(MethodConfig):
    """Settings of ISIF and, experimental, of its augmented form aISIF."""

    kind: ClassVar[str] = "isif"
    good_for: ClassVar[str] = "fine-grained images and retrieval; no memory to set"

    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "linear"
    """Projection head."""
    temperature: Positive = 0.1
    """tau, dimensionless."""
    negatives: Positive = 1.0
    """``negM`` of the release: weight of the negatives in the denominator and in the spreading sum."""
    detach_columns: bool = True
    """Whether a view gets a gradient only as anchor, as in the release, and not as partner or negative of another."""
    synthetic: Momentum = 0.0
    """aISIF, experimental: alpha, the anchor's share in synthetic negatives ``l2(a v_i + (1-a) v_k)``; 0: none."""
    extrapolate: NotNegative = 0.0
    """aISIF, experimental: b of extrapolated positives ``l2((1+b) v^_i - b v_i)``; 0: the partner itself."""
    neighbour_view: Fraction = 0.0
    """Probability that the second view shows the image's nearest neighbour by the backbone's features, searched before
    each epoch: 0.5 in the release for CUB."""

    def build(self, backbone: nn.Module, *, count: int) -> ISIF:
        """Make the method for ``count`` images."""
        return ISIF(self, backbone, count)


class ISIF(ViewMethod):
    """Invariance to the partner view and spread of all others, over both views of the global batch.

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, equation 7,
        and the released code.
    """

    contrastive = True
    nearest: Tensor | None
    """(N,) int64, each image's nearest neighbour, if ``neighbour_view`` is above 0; else None."""

    def __init__(self, config: ISIFConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.config = config
        shows: Literal["own", "chosen"] = "chosen" if config.neighbour_view else "own"
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second", shows=shows)}
        self.temperature = config.temperature
        self.encoder = with_projection(backbone, config.head, config.dim)
        self.register_buffer("nearest", torch.arange(count) if config.neighbour_view else None)

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Search every image's nearest neighbour, if ``neighbour_view`` is above 0."""
        if self.nearest is not None:
            features = losses.unit(encode("features"))
            _, index = nearest_others(features, torch.arange(len(features), device=features.device), 1)
            self.nearest.copy_(distributed.agree(index.squeeze(1)))
        return ()

    def shown(self, index: Tensor, draw: Draw) -> Mapping[str, Tensor]:
        """Let some second views show the nearest neighbour."""
        if self.nearest is None:
            return {}
        swapped = draw.rows("isif neighbour", _uniform) < self.config.neighbour_view
        return {"second": torch.where(onto(swapped, index.device), self.nearest[index], index)}

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare every view with all views of the global batch."""
        first, second = self.query(torch.cat([batch.views["first"], batch.views["second"]])).chunk(2)
        # With constant columns only this rank's rows have a gradient, so none has to be communicated.
        gather = distributed.gather if self.config.detach_columns else distributed.gather_with_grad
        everyone = torch.cat([gather(first), gather(second)])
        half, start = len(everyone) // 2, distributed.rank() * len(first)
        place = start + torch.arange(len(first), device=first.device)
        own, partner = torch.cat([place, place + half]), torch.cat([place + half, place])
        loss = self._loss(torch.cat([first, second]), everyone, own, partner)
        return Step(
            terms={"isif": loss.mean()},
            pairs=((first, second.detach()), (second, first.detach())),
            record={"index": batch.index, "embedding": first.detach()},
        )

    def _loss(self, anchors: Tensor, everyone: Tensor, own: Tensor, partner: Tensor) -> Tensor:
        config = self.config
        similarity = losses.at_least_float32(anchors @ everyone.T)
        columns = [similarity]
        if config.extrapolate:
            positive = similarity.gather(1, partner.unsqueeze(1))
            positive = losses.blended_similarity(positive, -config.extrapolate, constant=config.detach_columns)
            columns = [similarity.scatter(1, partner.unsqueeze(1), positive)]
        if config.synthetic:
            blends = losses.blended_similarity(similarity, config.synthetic, constant=config.detach_columns)
            itself = torch.stack([own, partner], 1)
            columns.append(blends.scatter(1, itself, -torch.inf))
        return losses.invariant_spread(torch.cat(columns, 1), own, partner, self.temperature, config.negatives)

    def key(self, batch: Batch) -> Tensor:
        """The second view, without gradient."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """ISIF's loss of each query among the batch's keys, which are not anchors: per row."""
        keys = distributed.gather(k.detach())
        positive = distributed.rank() * len(q) + torch.arange(len(q), device=q.device)
        nobody = torch.full_like(positive, len(keys))  # an extra column: the anchor itself is not among the keys
        similarity = nn.functional.pad(losses.at_least_float32(q @ keys.T), (0, 1))
        return losses.invariant_spread(similarity, nobody, positive, self.temperature, self.config.negatives)


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator)
