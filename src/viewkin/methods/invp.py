"""InvP: instance discrimination, and attraction to the images within a few hops of a nearest-neighbour graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.mix import beta
from viewkin.augment.views import ViewSpec
from viewkin.memory.bank import FeatureBank
from viewkin.memory.graph import NeighbourGraph, name_hops
from viewkin.methods.base import Batch, Group, Step, ViewMethod, with_projection
from viewkin.methods.propagation_config import KinConfig
from viewkin.nets.init import Init
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.schedules import Progress
from viewkin.settings import Dimension, NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class InvPConfig(KinConfig):
    """Settings of InvP; ``weight=0`` gives its instance discrimination alone."""

    kind: ClassVar[str] = "invp"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "kin by a neighbour graph, with hard positives"
    one_view: ClassVar[bool] = True

    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "mlp"
    """``mlp`` is F -> F -> ReLU -> D."""
    head_init: Init = "kaiming"
    """The head's start: ``kaiming`` (Xavier uniform, as released) or PyTorch's ``default``."""
    temperature: Positive = 0.2
    """tau, dimensionless: 0.2 with an MLP head, 0.07 (ImageNet) or 0.1 (CIFAR) with a linear one."""
    mix_weight: NotNegative = 0.0
    """Weight of MixContrast, an extra pass over mixed images: 1 in the older release on CIFAR, 0 switches it off."""
    mix_alpha: Positive = 0.75
    """Both parameters of the Beta distribution of MixContrast's shares."""
    bank_init: Literal["normal", "uniform"] = "normal"
    """Random unit rows, or the uniform entries of the NPID release."""

    def passes(self, side: int) -> tuple[float, float]:
        """One view, and its mixture."""
        return 1.0 + (self.mix_weight > 0), 0.0

    def build(self, backbone: nn.Module, *, count: int) -> InvP:
        """Make the method for ``count`` images."""
        return InvP(self, backbone, count)


class InvP(ViewMethod):
    """``L = L_ins + lambda w(t) L_inv``: one view against a bank of all images, and against positives from a graph.

    A search of the whole bank rewrites the graph row of an image each time a view of it is seen.

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation, 2020, sections 3.1-3.3; the
        released code where it differs.
    """

    bank: FeatureBank
    contrastive = True

    def __init__(self, config: InvPConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.config = config
        self.view_spec = {"view": ViewSpec("first")}
        self.temperature = config.temperature
        self.encoder = with_projection(backbone, config.head, config.dim, config.head_init)
        self.bank = FeatureBank(count, config.dim, momentum=config.bank_momentum, init=config.bank_init)
        self.graph = NeighbourGraph(count, config.graph.neighbours)
        self.gate = config.gate(count)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare one view with its nearest bank rows, and with its positives in the graph."""
        q, config = self.query(batch.views["view"]), self.config
        hops = self.graph.related_by_hop(batch.index, config.graph)
        related = name_hops("invp", hops)
        weight = config.weight_now(self.gate, at)
        reached = torch.cat(hops, 1)
        positives = config.with_similarity(q, self.bank, reached, batch.index) if weight > 0 else None
        nearest = config.nearest_sums(q, self.bank, batch.index, positives, self.temperature)
        related["invp/negatives"] = config.monitored_negatives(nearest, reached, batch.index)
        loss = losses.nearest_instance_loss(nearest, config.denominator)
        terms = {"invp/instance": loss.mean()}
        if positives is not None:
            chosen = config.choose(positives)
            related["invp/positives"] = chosen.image
            terms["invp/propagation"] = weight * config.propagation_loss(nearest, chosen, self.temperature).mean()
        elif config.weight > 0:
            terms["invp/propagation"] = 0.0 * loss.mean()  # so that every step of a logged mean has the term
        if config.mix_weight > 0:
            terms["invp/mix"] = config.mix_weight * self._mixed(batch).mean()
        record = {"index": batch.index, "embedding": q.detach()}
        record["nearest"] = self.bank.nearest(q, config.graph.neighbours + 1)[1]
        record["invp/instance"] = loss.detach()
        return Step(terms=terms, pairs=((q, self.bank.read(batch.index)),), record=record, related=related)

    def _mixed(self, batch: Batch) -> Tensor:
        """MixContrast: mix each image with another of the batch, and recognise it as both."""
        x, b = batch.views["view"], len(batch.index)
        everyone, images = distributed.gather(x), distributed.gather(batch.index)
        order = onto(torch.randperm(len(everyone), generator=batch.draw.generator("mix partner")), x.device)
        partner = order[distributed.rows(b)]
        alpha = self.config.mix_alpha
        share = onto(batch.draw.rows("mix share", lambda total, g: beta(alpha, total, g)).to(x.dtype), x.device)
        weight = share.view(-1, 1, 1, 1)
        mixed = self.query(weight * x + (1 - weight) * everyone[partner])
        both = torch.cat([batch.index, images[partner]])
        log_p, log_p_partner = self.bank.log_probability(mixed.repeat(2, 1), both, self.temperature).chunk(2)
        return losses.mixed_instance_loss(log_p, log_p_partner, share)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the bank, and rewrite the graph's rows from the search of this step."""
        self.bank.write_(record["index"], record["embedding"])
        self.graph.update_(record["index"], record["nearest"])
        if self.gate is not None:
            self.gate.update_(record["invp/instance"], at)

    def waits(self, at: Progress) -> bool:
        """Tell whether the gate keeps the propagation term out."""
        return self.config.waits(self.gate, at)

    def concern(self, record: Mapping[str, Tensor], at: Progress) -> str | None:
        """Say that the propagation term waits for its gate, or that it began too early without one."""
        return self.config.concern(self.gate, record["invp/instance"], len(self.bank), at)

    def key(self, batch: Batch) -> Tensor:
        """The bank row of each image."""
        return self.bank.read(batch.index)

    def gauges(self) -> dict[str, float]:
        """Fraction of new edges among those of the last graph update."""
        return {"invp/churn": float(self.graph.churn)}
