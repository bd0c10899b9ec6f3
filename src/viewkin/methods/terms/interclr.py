"""InterCLR: in addition to views of one image, compare images of one pseudo-class; pseudo-labels follow training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.bank import FeatureBank
from viewkin.memory.clusters import Clusters, LabelRule
from viewkin.memory.members import Members
from viewkin.memory.negatives import NegativeSampler, PoolForm, Sampler
from viewkin.methods.base import Batch, Choice, Encode, Limit, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.methods.wrapper import Wrapper, base_limits, build_base, has_negatives
from viewkin.nets.heads import HeadConfig, build_head, recorded_features
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import UserError, require
from viewkin.schedules import Progress

EXACT_UP_TO = 10_000
"""Up to this number of images, ``pool_form=auto`` searches the whole bank for each query."""
NEGATIVES = 4096
"""Default number of negatives, if there are enough images: that of the paper's ablations."""
PER_CLUSTER = 128
"""Default number of images per cluster: ImageNet's 1,281,167 in 10,000."""
OPTIONS = {
    "labels": ("online", "offline"),
    "label_rule": get_args(LabelRule),
    "sampler": get_args(Sampler),
    "pool_form": ("auto", *get_args(PoolForm)),
    "margin_kind": ("cosine", "angular"),
    "head": ("shared", "separate"),
    "directions": ("all", "first"),
    "clustered": ("key", "query", "features", "start"),
}
"""Setting -> its allowed values."""


@dataclass(frozen=True, kw_only=True)
class InterCLRConfig:
    """Settings of InterCLR around a base.

    If the base has no negatives (BYOL), the settings of negatives, pool and margin are ignored. The margin of the intra
    branch is the base's: ``method.base.margin``.
    """

    kind: ClassVar[str] = "interclr"
    renamed: ClassVar[Mapping[str, str]] = {"lambda_": "base_weight"}

    base: MethodConfig
    """The method that compares the views of one image: the intra branch."""
    base_weight: float = 0.75
    """lambda, weight of the base's terms; the inter term has weight 1 - lambda. 1 gives the base alone."""
    clusters: int | None = None
    """K_c, number of pseudo-classes; None: one per 128 images."""
    min_size: int = 20
    """Clusters with fewer images are dissolved."""
    labels: Literal["online", "offline"] = "online"
    """``online``: label the batch after every step; ``offline``: label all images by k-means every
    ``recluster_epochs``."""
    label_rule: LabelRule = "dot"
    """``dot``: the centroid with the largest dot product (released code); ``euclidean``: the nearest (the paper)."""
    refresh_steps: int = 10
    """All centroids are recomputed every so many optimiser steps (``online``)."""
    recluster_epochs: int = 1
    """k-means runs every so many epochs (``offline``)."""
    positive_self: bool = True
    """Whether an image may be drawn as its own positive (released code)."""
    sampler: Sampler = "semihard"
    """Negatives are random members of the nearest pool (``semihard``), the nearest images (``hard``), random images
    (``random``), or random members of the farthest pool (``semieasy``)."""
    negatives: int | None = None
    """K, negatives per query; None: 4,096, or, on small sets, as many as the pool has besides a large cluster."""
    pool: float = 0.1
    """N_pool / N, size of the pool as a fraction of all images."""
    pool_form: Literal["auto", "exact", "candidates"] = "auto"
    """``exact``: search all images; ``candidates``: search K / pool random images; ``auto``: exact up to 10,000."""
    shared_candidates: bool = True
    """Draw candidates once for the global batch instead of for each query (``candidates``)."""
    margin: float = -0.5
    """m of the inter branch, a cosine or radians: above 0 stricter, below 0 looser."""
    margin_kind: Literal["cosine", "angular"] = "cosine"
    """``cosine``: subtract the margin from the positive's cosine; ``angular``: add it to the positive's angle."""
    temperature: float | None = None
    """tau of the inter branch, dimensionless; None: the base's."""
    head: Literal["shared", "separate"] = "shared"
    """Whether both branches share one projection head."""
    directions: Literal["all", "first"] = "all"
    """Directions of a symmetric base that have an inter term: all (averaged), or only the first."""
    clustered: Literal["key", "query", "features", "start"] = "key"
    """What k-means sees of all images: the embedding by one side of the base, or the backbone's ``features``, which
    mean something from the first step on where training starts from weights. At the start of a run the two sides differ
    only for BYOL, whose query is a prediction. Before later epochs (``offline``) they differ if the key network is an
    EMA copy. ``start``: the features when the run begins, less their mean; the labels then stay (``offline``)."""
    start_size: int | None = None
    """Side of the images whose features are clustered (``clustered=start``), pixels; None: ``augment.image_size``. In
    enlarged images of small side the start finds better kin, for one pass over them."""
    warmup_epochs: int = 0
    """Number of epochs without the inter term; pseudo-labels are already updated."""
    bank_momentum: float = 0.0
    """Weight of the old row of the bank, 1 - omega (0 overwrites); used only if the base has no bank."""

    def __post_init__(self) -> None:
        require(0 <= self.base_weight <= 1, "method.base_weight", self.base_weight, "0 to 1")
        require(self.clusters is None or self.clusters >= 2, "method.clusters", self.clusters, "at least 2, or none")
        for name in ("min_size", "refresh_steps", "recluster_epochs"):
            require(getattr(self, name) >= 1, f"method.{name}", getattr(self, name), "at least 1")
        some = self.negatives is None or self.negatives >= 1
        require(some, "method.negatives", self.negatives, "at least 1, or none")
        for name, options in OPTIONS.items():
            require(
                getattr(self, name) in options, f"method.{name}", getattr(self, name), f"one of {', '.join(options)}"
            )
        kept = self.clustered == "start"
        fitting = not kept or self.labels == "offline"
        require(fitting, "method.labels", self.labels, "offline where method.clustered is start")
        side = self.start_size
        require(side is None or 8 <= side <= 1024, "method.start_size", side, "8 to 1024 pixels, or none")
        require(side is None or kept, "method.start_size", side, "none unless method.clustered is start")
        require(0 < self.pool <= 1, "method.pool", self.pool, "above 0 and at most 1, a share of the images")
        require(-2 <= self.margin <= 2, "method.margin", self.margin, "-2 to 2")
        positive = self.temperature is None or 0 < self.temperature < math.inf
        require(positive, "method.temperature", self.temperature, "above 0 and finite, or none")
        trained = self.head == "shared" or self.base_weight < 1
        require(trained, "method.head", self.head, "shared where method.base_weight is 1, as nothing would train it")
        require(self.warmup_epochs >= 0, "method.warmup_epochs", self.warmup_epochs, "at least 0")
        require(0 <= self.bank_momentum < 1, "method.bank_momentum", self.bank_momentum, "at least 0 and below 1")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit clusters by the number of images, and negatives by the pool without the query's own cluster."""
        least = min(self.min_size, max(count // 5, 1))
        clusters = self._most_clusters(count)
        return {
            **base_limits(self.base, count, batch_size),
            "min_size": Limit(least, f"{count} images, in two clusters at least,"),
            "clusters": Limit(clusters, f"{count} images, {5 * least / 2:g} to a cluster of at least {least},"),
            "negatives": self._most_negatives(count),
        }

    def lasting(self, epochs: int, rounds: int) -> Mapping[str, Limit]:
        """Limits by the length of training: an epoch with the inter term, and one new clustering of offline labels."""
        limits: dict[str, Limit] = {}
        if rounds == 1:
            limits["warmup_epochs"] = Limit(epochs - 1, f"{epochs} epochs, one of them with the inter term,")
        if self.labels == "offline" and self.clustered != "start":
            total = epochs * rounds
            limits["recluster_epochs"] = Limit(max(total - 1, 1), f"{total} epochs, with one clustering between them,")
        return limits

    def _most_clusters(self, count: int) -> int:
        return max(2 * count // (5 * min(self.min_size, max(count // 5, 1))), 2)

    def _most_negatives(self, count: int) -> Limit:
        """The pool without a cluster of twice the mean size, but at least half of the pool."""
        if self.sampler not in ("semihard", "semieasy"):
            return Limit(count - 1, "the other images")
        size = self.pool_size(count)
        own = 2 * count // min(self.clusters or count // PER_CLUSTER or 1, self._most_clusters(count))
        return Limit(max(size - own, size // 2, 1), f"the {size} images of the pool, less a large cluster,")

    def pool_size(self, count: int) -> int:
        """N_pool, number of images in a query's pool, at least one."""
        return max(round(self.pool * count), 1)

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Settings that are chosen by the number of images; those of negatives only if the base has negatives."""
        chosen: dict[str, Choice] = {}
        if self.clusters is None:
            chosen["clusters"] = Choice(max(count // PER_CLUSTER, 2), f"one for {PER_CLUSTER} images")
        if not has_negatives(self.base):
            return chosen
        if self.negatives is None:
            most, why, _ = self._most_negatives(count)
            fits = most >= NEGATIVES
            reason = "in the paper's ablations" if fits else f"{why} allow no more"
            chosen["negatives"] = Choice(NEGATIVES if fits else most, reason)
        if self.pool_form == "auto":
            chosen["pool_form"] = self._pool_form(count)
        return chosen

    def _pool_form(self, count: int) -> Choice:
        if self.sampler == "hard":
            return Choice("exact", "the nearest are sought among all images")
        if count <= EXACT_UP_TO:
            return Choice("exact", f"there are no more than {EXACT_UP_TO:,} images")
        return Choice("candidates", f"there are more than {EXACT_UP_TO:,} images")

    def build(self, backbone: nn.Module, *, count: int) -> InterCLR:
        """Build the method for ``count`` images.

        Raises:
            UserError: the base is not a view method, or a size is too large for the number of images.
        """
        return InterCLR(self, build_base(self.base, self.kind, backbone, count), count)


class InterCLR(Wrapper):
    """``lambda L_intra + (1 - lambda) L_inter``; L_inter is MarginNCE with another image of the pseudo-class.

    For a query v of image i with pseudo-label y_i: ``v+`` is a bank row drawn from the images labelled y_i, ``v-`` are
    K rows of other labels, and ``L_inter = -log e^((v.v+ - m)/tau) / (e^((v.v+ - m)/tau) + sum e^(v.v-/tau))``,
    averaged over the base's directions. If the base has no negatives, L_inter is the base's own loss of v and v+.
    The labels are those before the step; bank, labels and centroids are updated after it.

    References:
        Xie, Zhan, Liu, Ong, Loy, Delving into Inter-Image Invariance for Unsupervised Visual Representations, 2022,
        equations 5-7 and algorithm 1; METHODS 6.
    """

    clusters: Clusters | None
    """Pseudo-labels; None if lambda is 1."""

    def __init__(self, config: InterCLRConfig, base: ViewMethod, count: int) -> None:
        needs_bank = config.base_weight < 1 and config.head == "shared"
        super().__init__(base, count=count, momentum=config.bank_momentum if needs_bank else None)
        self.config = config
        self.inter_temperature = config.temperature or base.temperature
        chosen = {name: choice.value for name, choice in config.choices(count).items()}
        number: int = chosen.get("clusters", config.clusters)
        require(number <= count, "method.clusters", number, f"at most the number of images, {count}")
        self.draw_negatives = _sampler(config, chosen, count) if base.contrastive else None
        self.head: nn.Module | None = None
        self.inter_bank: FeatureBank | None = None
        if config.head == "separate":
            self._add_head(base, count)
        self.clusters = None
        if config.base_weight < 1:
            everything = self.memory.everything()
            self.clusters = Clusters(
                everything, number, min_size=config.min_size, rule=config.label_rule, refresh=config.refresh_steps
            )

    def _add_head(self, base: ViewMethod, count: int) -> None:
        """Add a head F -> F -> ReLU -> D for the inter branch and, since its space is a different one, a bank."""
        if not base.contrastive:
            raise UserError("method.head is 'separate'; it must be shared around a base without negatives.")
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
            q, batch.index, self.memory.everything(), members, draw, purpose, self.inter_temperature
        )
        similarity, margin = (q * positive).sum(1), config.margin
        if config.margin_kind == "angular":
            similarity, margin = losses.angular_margin(similarity, margin), 0.0
        return losses.nce_of_sum(similarity, log_sum, self.inter_temperature, margin), positives, negatives

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the base's memory and the bank; then update labels and centroids by the new bank."""
        index = record["index"]
        before = None if self.clusters is None else self.memory.read(index)
        super().update(record, at)
        if self.inter_bank is not None:
            self.inter_bank.write_(index, record["interclr/embedding"])
        if self.clusters is not None and before is not None and self.config.labels == "online":
            self.clusters.update_(index, before, self.memory.everything(), at)

    def start(self, encode: Encode, at: Progress) -> None:
        """Fill the bank with embeddings of all images and cluster them."""
        super().start(encode, at)
        if self.clusters is not None:
            self.memory.fill_(self._encoded(encode))
            self.clusters.fit_(self.memory.everything(), at, space=self._space(encode))

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Reset the label churn; if labels are offline, cluster all images again."""
        names = super().epoch(encode, at)
        if self.clusters is not None:
            self.clusters.begin_epoch_()
            done = at.round * at.epochs + at.epoch
            anew = self.config.labels == "offline" and self.config.clustered != "start"
            if anew and done > 0 and done % self.config.recluster_epochs == 0:
                self.clusters.fit_(self._encoded(encode), at, again=True, space=self._space(encode))
            if self.config.labels == "online":
                # Steps on a GPU dissolve only few small clusters, to avoid waiting for it; the rest is done here.
                self.clusters.dissolve_small_(self.memory.everything(), at)
        return names

    def _space(self, encode: Encode) -> Tensor | None:
        """What k-means sees if that is not the embedding: the features (N, F), unit norm."""
        if self.config.clustered not in ("features", "start"):
            return None
        rows = losses.unit(encode("features", self.config.start_size))
        return rows if self.config.clustered == "features" else losses.unit(rows - rows.mean(0))

    @torch.no_grad()
    def _encoded(self, encode: Encode) -> Tensor:
        """Embed every image in the space of the inter branch: (N, D), unit norm."""
        if self.head is None:
            return encode("embedding" if self.config.clustered == "query" else "target")
        dtype = next(self.head.parameters()).dtype
        blocks = encode("features").split(losses.BLOCK)
        return torch.cat([losses.unit(self.head(part.to(dtype))) for part in blocks])

    def gauges(self) -> dict[str, float]:
        """The base's values, and the state of the pseudo-labels."""
        own = {} if self.clusters is None else self.clusters.gauges()
        return {**super().gauges(), **{f"interclr/{name}": value for name, value in own.items()}}


def _sampler(config: InterCLRConfig, chosen: Mapping[str, Any], count: int) -> NegativeSampler:
    """Build the sampler of negatives, with the choices for ``count`` images."""
    form: PoolForm = chosen.get("pool_form", config.pool_form)
    negatives: int = chosen.get("negatives", config.negatives)
    size, pooled = config.pool_size(count), config.sampler in ("semihard", "semieasy")
    require(not pooled or negatives <= size, "method.negatives", negatives, f"at most the pool's {size} images")
    return NegativeSampler(config.sampler, negatives, config.pool, form, config.shared_candidates)


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 1, generator=generator, dtype=torch.float64)
