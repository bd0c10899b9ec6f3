"""InvP's propagation term around any view method: kin found in a neighbour graph of its bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin.memory.graph import NeighbourGraph, found_by_hop
from viewkin.methods.base import Batch, Limit, MethodConfig, Step, ViewMethod
from viewkin.methods.propagation_config import KinConfig
from viewkin.methods.wrapper import Wrapper, base_limits, build_base
from viewkin.runtime.errors import require
from viewkin.schedules import Progress


@dataclass(frozen=True, kw_only=True)
class PropagationConfig(KinConfig):
    """Settings of the propagation term; tau is the base's."""

    kind: ClassVar[str] = "propagation"

    base: MethodConfig
    """The view method that the term is added to. ``bank_momentum`` is of a bank that it does not bring."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.weight > 0, "method.weight", self.weight, "above 0")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """No more neighbours and candidates than there are images; and the base's."""
        return {**super().limits(count, batch_size), **base_limits(self.base, count, batch_size)}

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
        weight = config.weight * config.ramp.weight_at(at)
        pairs = step.pairs if weight > 0 else step.pairs[:1]  # the first direction keeps the graph up to date
        q = torch.cat([query for query, _ in pairs])
        index = batch.index.repeat(len(pairs))
        hops = self.graph.reached(index, config.graph)
        found = {**step.found, **found_by_hop("propagation", tuple(hop[:b] for hop in hops))}
        term = 0.0 * step.loss  # while the weight is 0
        if weight > 0:
            reached = torch.cat(hops, 1)
            kin = config.kin(q, self.bank, reached, index, others=not self.contrastive)
            chosen = config.chosen(kin)
            if self.contrastive:
                nearest = config.nearest(q, self.bank, index, kin, self.temperature)
                pull = config.pull(nearest, chosen, self.temperature)
                found["propagation/negatives"] = config.strangers(nearest, reached, index)[:b]
            else:
                pull = self._by_base(q, index, chosen.image)
            term, found["propagation/positives"] = weight * pull.mean(), chosen.image[:b]
        _, image = self.bank.nearest(q[:b], config.graph.neighbours + 1)
        record = {**step.record, "propagation/nearest": image}
        return Step(terms={**step.terms, "propagation": term}, pairs=step.pairs, record=record, found=found)

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
