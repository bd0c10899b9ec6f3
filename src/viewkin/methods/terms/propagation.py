"""InvP's propagation term around any view method: positives from a nearest-neighbour graph of its bank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.losses import Nearest, nearest_instance_loss
from viewkin.memory.graph import NeighbourGraph, name_hops
from viewkin.methods.base import Batch, Encode, Group, Step, ViewMethod, centred_features
from viewkin.methods.propagation_config import KinConfig
from viewkin.methods.wrapper import TermConfig, Wrapper, build_base
from viewkin.ops.neighbours import top_k
from viewkin.runtime import distributed
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import ImageSide, Limit


@dataclass(frozen=True, kw_only=True)
class PropagationConfig(KinConfig, TermConfig):
    """Settings of the propagation term; tau is the base's. ``bank_momentum`` is used only if the base has no bank."""

    kind: ClassVar[str] = "propagation"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "around any view method: kin by a neighbour graph"

    edges: Literal["embedding", "features", "start"] = "embedding"
    """What neighbours are found by: ``embedding``, at every step for the batch (the paper); or the backbone's
    ``features``, before every epoch for all images. These mean something from the first step on where training starts
    from weights; the term's own bank is then filled at the start. ``start``: the features when the run begins, less
    their mean; the graph then stays."""
    start_size: ImageSide | None = None
    """Side of the images by whose features neighbours are found (``edges=start``), pixels; None, or less
    than it: ``augment.image_size``. In enlarged images of small side the start finds better kin, for one pass over
    them."""

    def _check(self) -> None:
        super()._check()
        require(self.weight > 0, "weight", self.weight, "above 0")
        kept = self.edges == "start"
        require(self.start_size is None or kept, "start_size", self.start_size, "none unless {here}edges is start")

    def sizes(self) -> Mapping[str, int]:
        """The images of the edges."""
        return {} if self.start_size is None else {"start_size": self.start_size}

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit neighbours and candidates to the number of images; add the base's limits."""
        return {**KinConfig.limits(self, count, batch_size), **TermConfig.limits(self, count, batch_size)}

    def build(self, backbone: nn.Module, *, count: int) -> Propagation:
        """Make the term around its base for ``count`` images."""
        return Propagation(self, build_base(self.base, self.kind, backbone, count), count)


class Propagation(Wrapper):
    """``L = L_base + lambda w(t) L_inv``, L_inv of every query of the base against the bank.

    If the base has no negatives, L_inv is the mean of the base's own loss over the hard positives. If it has, the ramp
    may wait for a gate: L_ins, InvP's instance loss of the base's queries against the bank, is measured for it and is
    not trained.

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation, 2020, section 3.3. The paper has it
        around instance discrimination only; around other methods it is this library's extension.
    """

    def __init__(self, config: PropagationConfig, base: ViewMethod, count: int) -> None:
        super().__init__(base, count=count, momentum=config.bank_momentum)
        self.config = config
        self.graph = NeighbourGraph(count, config.graph.neighbours)
        self.gate = config.gate(count) if base.contrastive else None

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Add the term to the base's terms, and the graph's new rows to its record."""
        step, config, b = self.base(batch, at), self.config, len(batch.index)
        weight = config.weight_now(self.gate, at)
        pairs = step.pairs if weight > 0 else step.pairs[:1]  # the first direction suffices to update the graph
        q = torch.cat([query for query, _ in pairs])
        index = batch.index.repeat(len(pairs))
        hops = self.graph.related_by_hop(index, config.graph)
        related = {**step.related, **name_hops("propagation", tuple(hop[:b] for hop in hops))}
        record = dict(step.record)
        term = 0.0 * step.loss  # while the weight is 0
        if weight > 0:
            reached = torch.cat(hops, 1)
            positives = config.with_similarity(q, self.bank, reached, index, exclude_self=not self.contrastive)
            chosen = config.choose(positives)
            if self.contrastive:
                nearest = config.nearest_sums(q, self.bank, index, positives, self.temperature)
                loss = config.propagation_loss(nearest, chosen, self.temperature)
                record["propagation/instance"] = self._instance_loss(nearest)[:b]
                related["propagation/negatives"] = config.monitored_negatives(nearest, reached, index)[:b]
            else:
                loss = self._base_loss(q, index, chosen.image)
            term, related["propagation/positives"] = weight * loss.mean(), chosen.image[:b]
        elif self.gate is not None:
            nearest = config.nearest_sums(q.detach(), self.bank, index, None, self.temperature)
            record["propagation/instance"] = self._instance_loss(nearest)
        if config.edges == "embedding":
            record["propagation/nearest"] = self.bank.nearest(q[:b], config.graph.neighbours + 1)[1]
        return Step(terms={**step.terms, "propagation": term}, pairs=step.pairs, record=record, related=related)

    def _instance_loss(self, nearest: Nearest) -> Tensor:
        """L_ins of the base's queries, constant: (B,)."""
        return nearest_instance_loss(nearest, self.config.denominator).detach()

    def _base_loss(self, q: Tensor, index: Tensor, image: Tensor) -> Tensor:
        """Mean of the base's loss of queries (B, D) against positives (B, P), -1 for none: (B,), 0 without any."""
        count = image.shape[1]
        rows = self.bank.read(image.clamp(min=0)).flatten(0, 1)
        loss = self.pair_loss(q.repeat_interleave(count, 0), rows, index.repeat_interleave(count)).view(image.shape)
        mask = (image >= 0).to(loss.dtype)
        return (loss * mask).sum(1) / mask.sum(1).clamp(min=1)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the base's memory and the bank, then the graph's rows."""
        super().update(record, at)
        if self.config.edges == "embedding":
            self.graph.update_(record["index"], record["propagation/nearest"])
        if self.gate is not None:
            self.gate.update_(record["propagation/instance"], at)

    def start(self, encode: Encode, at: Progress) -> None:
        """Fill the term's own bank, where neighbours are found by features; find them by those of the start."""
        super().start(encode, at)
        if self.config.edges != "embedding" and self.own_bank is not None:
            self.own_bank.fill_(encode("target"))
        if self.config.edges == "start":
            self._find_neighbours(centred_features(encode, self.config.start_size))

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Find the neighbours of all images anew, where these are found by features."""
        names = super().epoch(encode, at)
        if self.config.edges == "features":
            self._find_neighbours(losses.unit(encode("features")))
        return names

    def _find_neighbours(self, rows: Tensor) -> None:
        """Give every image its nearest by rows (N, F) of unit norm."""
        nearest = top_k(rows, rows, self.config.graph.neighbours + 1)[1]
        self.graph.update_(torch.arange(len(rows), device=nearest.device), distributed.agree(nearest))

    def waits(self, at: Progress) -> bool:
        """Tell whether a term of the base, or this one, is kept out by its gate."""
        return super().waits(at) or self.config.waits(self.gate, at)

    def concern(self, record: Mapping[str, Tensor], at: Progress) -> str | None:
        """The base's concern, or that the term waits for its gate, or that it began too early without one.

        Neighbours that the start finds are kin from the first step on, so that a term of theirs is never too early.
        """
        if self.config.edges == "start" and self.gate is None:
            return super().concern(record, at)
        own = self.config.concern(self.gate, record.get("propagation/instance"), len(self.bank), at)
        return super().concern(record, at) or own

    def gauges(self) -> dict[str, float]:
        """The base's values, the fraction of new edges of the last graph update, and what the gate measured last."""
        own = {"propagation/churn": float(self.graph.churn)}
        mean = None if self.gate is None else self.gate.measured
        if mean is not None:
            own["propagation/instance"] = mean
        return {**super().gauges(), **own}
