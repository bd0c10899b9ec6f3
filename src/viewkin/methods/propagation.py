"""InvP's propagation term around any view method: kin found in a neighbour graph of its bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.errors import require
from viewkin.memory.graph import GraphConfig, NeighbourGraph, found_by_hop
from viewkin.methods.base import Batch, Limit, MethodConfig, Step, ViewMethod, Wrapper, base_limits, build_base
from viewkin.schedules import Progress, RampConfig


@dataclass(frozen=True, kw_only=True)
class PropagationConfig:
    """Settings of the propagation term; tau is the base's."""

    kind: ClassVar[str] = "propagation"

    base: MethodConfig
    """The view method that the term is added to."""
    weight: float = 0.6
    """lambda_inv, weight of the term."""
    candidates: int = 4096
    """M, nearest bank rows in the denominator; of no meaning around a method without negatives."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """k, l, P and how kin are found."""
    ramp: RampConfig = field(default_factory=RampConfig)
    """w(t), when the term comes in."""
    denominator: Literal["code", "paper"] = "code"
    """``code`` as released; ``paper`` leaves all kin but the hard ones out of the denominator (METHODS 3.2)."""
    exclusive: bool = True
    """Leave the own bank row out of the denominator (``code``; the paper's never has it)."""
    bank_momentum: float = 0.5
    """m, weight of the old row of a bank that the base does not bring."""

    def __post_init__(self) -> None:
        require(self.denominator in ("code", "paper"), "method.denominator", self.denominator, "code or paper")
        require(self.weight > 0, "method.weight", self.weight, "above 0")
        require(0 <= self.bank_momentum < 1, "method.bank_momentum", self.bank_momentum, "at least 0 and below 1")
        least = self.graph.neighbours + (self.denominator == "code")
        require(self.candidates >= least, "method.candidates", self.candidates, f"{least} at least (graph.neighbours)")
        inside = self.exclusive or self.denominator == "code"
        require(inside, "method.exclusive", self.exclusive, "true with denominator=paper")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """No more neighbours and candidates than there are images; and the base's."""
        others = Limit(count - 1, "the other images of the set")
        every = Limit(count, "the images of the set")
        own = {"graph.neighbours": others, "candidates": every if self.denominator == "code" else others}
        return own | base_limits(self.base, count, batch_size)

    def build(self, backbone: nn.Module, *, count: int) -> Propagation:
        """Make the term around its base for ``count`` images."""
        return Propagation(self, build_base(self.base, self.kind, backbone, count), count)


class Propagation(Wrapper):
    """``L = L_base + lambda w(t) L_inv``, L_inv of every query of the base against the bank.

    A base without negatives is pulled to the hard positives only, each by its own loss: their mean.

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation, 2020, section 3.3. Around other
        methods than instance discrimination it is this library's.
    """

    def __init__(self, config: PropagationConfig, base: ViewMethod, count: int) -> None:
        super().__init__(base, count=count, momentum=config.bank_momentum)
        self.config = config
        self.graph = NeighbourGraph(count, config.graph.neighbours)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Add the term to the base's, and the graph's new rows to its record."""
        step, config, b = self.base(batch, at), self.config, len(batch.index)
        q = torch.cat([query for query, _ in step.pairs])
        index = batch.index.repeat(len(step.pairs))
        weight = config.weight * config.ramp.weight_at(at)
        known, image = self.bank.nearest(q, self._reach(weight))
        hops = self.graph.reached(index, config.graph)
        found = {**step.found, **found_by_hop("propagation", tuple(hop[:b] for hop in hops))}
        term = 0.0 * step.loss  # while the weight is 0
        if weight > 0:
            columns = self._without_anchor(torch.cat(hops, 1), index)
            kin = losses.Kin(columns, losses.bank_similarity(q, self.bank.everything(), columns))
            chosen = losses.chosen_kin(kin, config.graph.positives, easy=config.graph.easy)
            if self.contrastive:
                pull = self._against_bank(q, index, known, image, kin, chosen)
            else:
                pull = self._by_base(q, index, chosen.image)
            term, found["propagation/positives"] = weight * pull.mean(), chosen.image[:b]
        record = {**step.record, "propagation/nearest": image[:b, : config.graph.neighbours + 1]}
        return Step(terms={**step.terms, "propagation": term}, pairs=step.pairs, record=record, found=found)

    def _reach(self, weight: float) -> int:
        """How many of the nearest bank rows this step needs: M in a denominator, k + 1 for the graph alone."""
        config = self.config
        if weight > 0 and self.contrastive:
            return config.candidates + (config.denominator == "paper")
        return config.graph.neighbours + 1

    def _without_anchor(self, image: Tensor, index: Tensor) -> Tensor:
        """The paper's kin never hold the anchor; nor may those that a base without negatives is pulled to."""
        if self.contrastive and self.config.denominator == "code":
            return image
        return image.masked_fill(image == index.unsqueeze(1), -1)

    def _against_bank(
        self, q: Tensor, index: Tensor, known: Tensor, image: Tensor, kin: losses.Kin, chosen: losses.Kin
    ) -> Tensor:
        config, bank = self.config, self.bank
        similarity = losses.bank_similarity(q, bank.everything(), image, known)
        nearest = losses.Nearest(index, (q * bank.read(index)).sum(1), image, similarity)
        return losses.propagation_loss(
            nearest, kin, chosen, self.temperature, config.denominator, exclusive=config.exclusive
        )

    def _by_base(self, q: Tensor, index: Tensor, image: Tensor) -> Tensor:
        """Mean of the base's loss of (B, D) queries against their (B, P) kin, 0 where there is none: (B,)."""
        each = image.shape[1]
        rows = self.bank.read(image.clamp(min=0)).flatten(0, 1)
        loss = self.pair_loss(q.repeat_interleave(each, 0), rows, index.repeat_interleave(each)).view(image.shape)
        some = (image >= 0).to(loss.dtype)
        return (loss * some).sum(1) / some.sum(1).clamp(min=1)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the base's memory and the bank, then the graph's rows."""
        super().update(record, at)
        self.graph.update_(record["index"], record["propagation/nearest"])

    def gauges(self) -> dict[str, float]:
        """The base's, and the share of the graph's edges last written that are new."""
        return {**super().gauges(), "propagation/churn": float(self.graph.churn)}
