"""InterCLR: in addition to views of one image, compare images of one pseudo-class; pseudo-labels follow training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.bank import FeatureBank
from viewkin.memory.cluster_config import ClusterConfig
from viewkin.memory.clusters import Clusters
from viewkin.memory.members import Members
from viewkin.memory.negatives import NegativeSampler
from viewkin.memory.negatives_config import NegativesConfig
from viewkin.methods.base import Batch, Encode, Group, Step, ViewMethod, centred_features, feature_dim
from viewkin.methods.wrapper import TermConfig, Wrapper, build_base
from viewkin.nets.heads import HeadConfig, build_head, recorded_features
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import inside, require
from viewkin.schedules import Progress
from viewkin.settings import (
    Choice,
    Fraction,
    Limit,
    Margin,
    Momentum,
    Positive,
    Settings,
    WholeNumber,
    below,
    with_values,
)


@dataclass(frozen=True, kw_only=True)
class MarginConfig(Settings):
    """Margin of a positive."""

    value: Margin = -0.5
    """m, a cosine or radians: above 0 stricter, below 0 looser."""
    kind: Literal["cosine", "angular"] = "cosine"
    """``cosine``: subtract the margin from the positive's cosine; ``angular``: add it to the positive's angle."""


@dataclass(frozen=True, kw_only=True)
class InterCLRConfig(TermConfig):
    """Settings of InterCLR around a base.

    If the base has no negatives (BYOL), the settings of negatives and margin are ignored. The margin of the intra
    branch is the base's own.
    """

    kind: ClassVar[str] = "interclr"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "around any view method: kin by pseudo-labels"
    renamed: ClassVar[Mapping[str, str]] = {
        "lambda_": "base_weight",
        "clusters": "clusters.number",
        "min_size": "clusters.min_size",
        "labels": "clusters.labels",
        "label_rule": "clusters.rule",
        "refresh_steps": "clusters.refresh_steps",
        "recluster_epochs": "clusters.recluster_epochs",
        "clustered": "clusters.of",
        "start_size": "clusters.start_size",
        "sampler": "negatives.sampler",
        "negatives": "negatives.number",
        "pool": "negatives.pool",
        "pool_form": "negatives.form",
        "shared_candidates": "negatives.shared_candidates",
        "margin": "margin.value",
        "margin_kind": "margin.kind",
    }

    base_weight: Fraction = 0.75
    """lambda, weight of the base's terms; the inter term has weight 1 - lambda. 1 gives the base alone."""
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    """Pseudo-classes."""
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    """Images of other pseudo-classes that a query is compared with."""
    margin: MarginConfig = field(default_factory=MarginConfig)
    """Margin of the inter branch."""
    positive_self: bool = True
    """Whether an image may be drawn as its own positive (released code)."""
    temperature: Positive | None = None
    """tau of the inter branch, dimensionless; None: the base's."""
    head: Literal["shared", "separate"] = "shared"
    """Whether both branches share one projection head."""
    directions: Literal["all", "first"] = "all"
    """Directions of a symmetric base that have an inter term: all (averaged), or only the first."""
    warmup_epochs: WholeNumber = 0
    """Number of epochs without the inter term; pseudo-labels are already updated."""
    bank_momentum: Momentum = 0.0
    """Weight of the old row of the bank, 1 - omega (0 overwrites); used only if the base has no bank."""

    def _check(self) -> None:
        trained = self.head == "shared" or self.base_weight < 1
        require(trained, "head", self.head, "shared where {here}base_weight is 1, as nothing would train it")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit clusters by the number of images, and negatives by the pool without the query's own cluster."""
        return {
            **super().limits(count, batch_size),
            **below("clusters", self.clusters.limits(count)),
            "negatives.number": self.negatives.most(count, self.clusters.large(count)),
        }

    def lasting(self, epochs: int, rounds: int) -> Mapping[str, Limit]:
        """Limits by the length of training: an epoch with the inter term, and one new clustering of offline labels."""
        limits = dict(below("clusters", self.clusters.lasting(epochs * rounds)))
        if rounds == 1:
            limits["warmup_epochs"] = Limit(epochs - 1, f"{epochs} epochs, one of them with the inter term,")
        return limits

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Settings that are chosen by the number of images; those of negatives only if the base has negatives."""
        chosen = below("clusters", self.clusters.choices(count))
        if self.has_negatives():
            chosen |= below("negatives", self.negatives.choices(count, self.clusters.large(count)))
        return chosen

    def sizes(self) -> Mapping[str, int]:
        """The images of the clusters."""
        side = self.clusters.start_size
        return {} if side is None else {"clusters.start_size": side}

    def delays(self, at: Progress) -> Mapping[str, float]:
        """The warm-up keeps the inter term out, in the first round."""
        return {"warmup_epochs": float(self.warmup_epochs)} if at.round == 0 else {}

    def build(self, backbone: nn.Module, *, count: int) -> InterCLR:
        """Build the method for ``count`` images.

        Raises:
            UserError: the base is not a view method, or a size is too large for the number of images.
        """
        base = build_base(self.base, self.kind, backbone, count)
        values = {name: value for name, (value, _) in self.choices(count).items()}
        return InterCLR(with_values(self, values), base, count)


class InterCLR(Wrapper):
    """``lambda L_intra + (1 - lambda) L_inter``; L_inter is MarginNCE with another image of the pseudo-class.

    For a query v of image i with pseudo-label y_i: ``v+`` is a bank row drawn from the images labelled y_i, ``v-`` are
    K rows of other labels, and ``L_inter = -log e^((v.v+ - m)/tau) / (e^((v.v+ - m)/tau) + sum e^(v.v-/tau))``,
    averaged over the base's directions. If the base has no negatives, L_inter is the base's own loss of v and v+.
    The labels are those before the step; bank, labels and centroids are updated after it.

    References:
        Xie, Zhan, Liu, Ong, Loy, Delving into Inter-Image Invariance for Unsupervised Visual Representations, 2022,
        equations 5-7 and algorithm 1.
    """

    clusters: Clusters | None
    """Pseudo-labels; None if lambda is 1."""

    def __init__(self, config: InterCLRConfig, base: ViewMethod, count: int) -> None:
        """Add the term to a base.

        Args:
            config: settings; nothing in them is left open.
            base: the method that compares the views of one image.
            count: N, number of images.
        """
        needs_bank = config.base_weight < 1 and config.head == "shared"
        super().__init__(base, count=count, momentum=config.bank_momentum if needs_bank else None)
        self.config = config
        self.inter_temperature = config.temperature or base.temperature
        self.draw_negatives = None
        if base.contrastive:
            with inside("negatives"):
                config.negatives.check_number(count)
            self.draw_negatives = NegativeSampler.of(config.negatives)
        self.head: nn.Module | None = None
        self.inter_bank: FeatureBank | None = None
        if config.head == "separate":
            self._add_head(base, count)
        self.clusters = None
        if config.base_weight < 1:
            with inside("clusters"):
                self.clusters = Clusters.of(config.clusters, self.memory)

    def _add_head(self, base: ViewMethod, count: int) -> None:
        """Add a head F -> F -> ReLU -> D for the inter branch and, since its space is a different one, a bank."""
        require(base.contrastive, "head", "separate", "shared around a base without negatives")
        width = feature_dim(base.backbone)
        self.head = build_head(HeadConfig(layers=(width, base.dim)), width)
        self.inter_bank = FeatureBank(count, base.dim, momentum=self.config.bank_momentum)

    @property
    def memory(self) -> FeatureBank:
        """The bank that the inter branch reads."""
        bank = self.bank if self.inter_bank is None else self.inter_bank
        assert bank is not None
        return bank

    @property
    def last_weight(self) -> Tensor:
        """The base's last weight; with two heads, the backbone's."""
        if self.head is None:
            return self.base.last_weight
        return [p for p in self.backbone.parameters() if p.ndim > 1][-1]

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Add the inter term to the base's step."""
        if self.clusters is None:
            return self.base(batch, at)
        with nullcontext([]) if self.head is None else recorded_features(self.encoder) as features:
            step: Step = self.base(batch, at)
        if at.round == 0 and at.epoch < self.config.warmup_epochs:
            return self._step_of_warmup(step, features)
        pairs = step.pairs if self.config.directions == "all" else step.pairs[:1]
        queries = [q for q, _ in pairs]
        record = dict(step.record)
        if self.head is not None:
            first = torch.cat(features)[: len(queries) * len(batch.index)]
            queries = list(losses.unit(self.head(first)).chunk(len(queries)))
            record["interclr/embedding"] = queries[0].detach()
        members = self.clusters.members()
        results = [self._inter(q, batch, members, number) for number, q in enumerate(queries)]
        inter = torch.stack([loss.mean() for loss, _, _ in results]).mean()
        terms = {name: self.config.base_weight * term for name, term in step.terms.items()}
        terms["interclr"] = (1 - self.config.base_weight) * inter
        related = {**step.related, "interclr/positives": torch.cat([positives for _, positives, _ in results], 1)}
        if self.contrastive:
            related["interclr/negatives"] = torch.cat([negatives for _, _, negatives in results], 1)
        return Step(terms=terms, pairs=step.pairs, record=record, related=related)

    def _step_of_warmup(self, step: Step, features: list[Tensor]) -> Step:
        """Return the base's step; the inter branch's own head, if any, gets a gradient of zero."""
        if self.head is None:
            return step
        z = losses.unit(self.head(torch.cat(features)[: len(step.record["index"])]))
        record = {**step.record, "interclr/embedding": z.detach()}
        return Step({**step.terms, "interclr": 0 * z.sum()}, step.pairs, record, step.related)

    def _inter(self, q: Tensor, batch: Batch, members: Members, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (B,) of one direction's queries, their positives (B, 1) and some of their negatives (B, m)."""
        config, draw = self.config, batch.draw
        chance = onto(draw.rows(f"interclr positive {number}", _uniform), q.device)
        positives = members.draw_positives(batch.index, chance, itself=config.positive_self)
        positive = self.memory.read(positives.squeeze(1)).to(q.dtype)
        if self.draw_negatives is None:
            return self.base.pair_loss(q, positive, batch.index), positives, positives[:, :0]
        purpose = f"interclr negatives {number}"
        log_sum, negatives = self.draw_negatives.log_sum(
            q, batch.index, self.memory, members, draw, purpose, self.inter_temperature
        )
        similarity, margin = (q * positive).sum(1), config.margin.value
        if config.margin.kind == "angular":
            similarity, margin = losses.angular_margin(similarity, margin), 0.0
        return losses.nce_of_sum(similarity, log_sum, self.inter_temperature, margin), positives, negatives

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the base's memory and the bank; then update labels and centroids by the new bank."""
        index = record["index"]
        before = None if self.clusters is None else self.memory.read(index)
        super().update(record, at)
        if self.inter_bank is not None:
            self.inter_bank.write_(index, record["interclr/embedding"])
        if self.clusters is not None and before is not None and self.config.clusters.labels == "online":
            self.clusters.update_(index, before, self.memory, at)

    def start(self, encode: Encode, at: Progress) -> None:
        """Fill the bank with embeddings of all images and cluster them."""
        super().start(encode, at)
        if self.clusters is not None:
            self.memory.fill_(self._encoded(encode))
            self.clusters.fit_(self.memory, at, space=self._space(encode))

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Reset the label churn; if labels are offline, cluster all images again."""
        names = super().epoch(encode, at)
        if self.clusters is not None:
            self.clusters.begin_epoch_()
            config, done = self.config.clusters, at.round * at.epochs + at.epoch
            if config.renewed and done > 0 and done % config.recluster_epochs == 0:
                self.clusters.fit_(self._encoded(encode), at, again=True, space=self._space(encode))
            if config.labels == "online":
                # Steps on a GPU dissolve only few small clusters, to avoid waiting for it; the rest is done here.
                self.clusters.dissolve_small_(self.memory, at)
        return names

    def _space(self, encode: Encode) -> Tensor | None:
        """What k-means sees if that is not the embedding: the features (N, F), unit norm."""
        config = self.config.clusters
        if config.of == "start":
            return centred_features(encode, config.start_size)
        return losses.unit(encode("features")) if config.of == "features" else None

    @torch.no_grad()
    def _encoded(self, encode: Encode) -> Tensor:
        """Embed every image in the space of the inter branch: (N, D), unit norm."""
        if self.head is None:
            return encode("embedding" if self.config.clusters.of == "query" else "target")
        dtype = next(self.head.parameters()).dtype
        blocks = encode("features").split(losses.BLOCK)
        return torch.cat([losses.unit(self.head(part.to(dtype))) for part in blocks])

    def gauges(self) -> dict[str, float]:
        """The base's values, and the state of the pseudo-labels."""
        own = {} if self.clusters is None else self.clusters.gauges()
        return {**super().gauges(), **{f"interclr/{name}": value for name, value in own.items()}}


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 1, generator=generator, dtype=torch.float64)
