"""EIR: relations of two views to all images, and relations of mixed images to mixed embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.mix import beta, cutmix, mixup
from viewkin.augment.views import ViewSpec
from viewkin.memory.queue import KeyQueue
from viewkin.memory.storage import Storage
from viewkin.methods.base import Batch, Encode, Group, Step, ViewMethod, feature_dim, queue_limit
from viewkin.methods.wrapper import TermConfig, Wrapper, build_base
from viewkin.nets.heads import recorded_features
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import Count, Fraction, ImageSide, Limit, Momentum, NotNegative, Positive

Relation = Literal["views", "symmetric", "teacher", "start"]
Mix = Literal["cutmix", "mixup"]
Negatives = Literal["batch", "base"]
Reading = Literal["sumlog", "logsum"]
PartnerView = Literal["second", "first"]
WEAK, PARTNER = "eir_weak", "eir_second"
"""Names of the views that EIR adds to those of its base."""


@dataclass(frozen=True, kw_only=True)
class EIRConfig(TermConfig):
    """Settings of EIR: the paper's on IRaug by default; the released code's on MoCo are in the recipe ``eir_moco``."""

    kind: ClassVar[str] = "eir"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "around any view method: views relate alike to all images"

    relation_weight: NotNegative = 15.0
    """lambda_1 of the multi-view relation; 0 leaves the term out."""
    mixture_weight: NotNegative = 2.0
    """lambda_2 of the interpolation relation; 0 leaves the term out."""
    relation: Relation = "views"
    """``views``: KL(P || P^) of two views, gradients to both; ``symmetric``: mean of both directions; ``teacher``: the
    constant, sharpened relation of a weakly augmented view, by the key network, is the target of every query (released
    code); ``start``: the relation of the image to all images, by the backbone's features as they were when the run
    began, is the target of the features of every view (ours, for runs that start from weights)."""
    start_size: ImageSide | None = None
    """Side of the images that the target is computed on (``relation=start``), pixels; None: ``augment.image_size``. A
    larger one costs one pass over the images, and small views then learn what the start sees in enlarged images."""
    detach_target: bool = False
    """Whether P is constant in ``views``, and the first distribution of each direction in ``symmetric``."""
    temperature: Positive = 0.1
    """tau of the relation, dimensionless (with a teacher, tau of the student)."""
    teacher_temperature: Positive = 0.04
    """tau of the teacher, dimensionless; lower is sharper."""
    queue_size: Count | None = None
    """Size of a queue of keys (with a teacher, of weak views) that replaces the bank of all images; None: the bank."""
    mixture_temperature: Positive = 0.1
    """tau of the interpolation relation, dimensionless."""
    mix: Mix = "cutmix"
    """``cutmix`` pastes a box, ``mixup`` blends pixels."""
    mix_alpha: Positive = 1.0
    """The weight rho of an image in its mixture is drawn from Beta(alpha, alpha) once per batch; 1 is uniform."""
    mix_ratio: Fraction | None = None
    """Fixed weight instead, 0 to 1; None: draw it."""
    partner_view: PartnerView = "second"
    """View of the partner that an image's first view is mixed with: ``second`` (released code) or ``first``."""
    negatives: Negatives = "batch"
    """``batch``: the negatives of a target are the other mixtures of the batch; ``base``: the base's own loss compares
    a mixture with its target (released code). If the base has no negatives, it is always ``base``."""
    mixture_reading: Reading = "sumlog"
    """Reading of equation 9: the batch's mean of ``-log p``, or, as printed, ``-log`` of the sum (``batch`` only)."""
    detach_mixture: bool = True
    """Whether the target mixtures of embeddings are constant (released code; the paper does not say). If not, gradient
    flows to those that are queries; keys of an EMA network are always constant."""
    bank_momentum: Momentum = 0.5
    """m, weight of the old row of the bank; used only if the base has no bank."""

    def _check(self) -> None:
        readings = get_args(Reading) if self.negatives == "batch" else ("sumlog",)
        should = f"{' or '.join(readings)} with these negatives"
        require(self.mixture_reading in readings, "mixture_reading", self.mixture_reading, should)
        seen = self.start_size is None or self.relation == "start"
        require(seen, "start_size", self.start_size, "none unless {here}relation is start")

    def sizes(self) -> Mapping[str, int]:
        """The images of the target."""
        return {} if self.start_size is None else {"start_size": self.start_size}

    def passes(self, side: int) -> tuple[float, float]:
        """The base's, the mixture, a second view of a base with one, and the teacher's view."""
        seen, constant = self.base.passes(side)
        more = (self.mixture_weight > 0) + self.innermost().one_view
        return seen + more, constant + (self.relation == "teacher")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit the queue to one key per image; add the base's limits."""
        return {"queue_size": queue_limit(count, batch_size), **super().limits(count, batch_size)}

    def build(self, backbone: nn.Module, *, count: int) -> EIR:
        """Build the method around its base."""
        return EIR(self, build_base(self.base, self.kind, backbone, count), count)


class EIR(Wrapper):
    """``L = L_base + lambda_1 KL(P || P^) + lambda_2 L_inter`` around any view method.

    P and P^ are the softmax similarities of two views to all images in memory. L_inter trains the embedding of a
    mixture of two images to be the same mixture of their embeddings. A mixture consists of the first view of an image
    and the second (or first) view of its partner; the target is the mixture of their keys. Partners are given by one
    permutation of the global batch.

    References:
        Exploring Instance Relations, 2021, equations 4-10 and the released MoCo variant.
    """

    start_features: Tensor | None
    """(N, F) float16, unit norm: the backbone's features of all images at the start (``relation=start``)."""

    def __init__(self, config: EIRConfig, base: ViewMethod, count: int) -> None:
        of_start = config.relation == "start" and config.relation_weight > 0
        with_bank = config.relation_weight > 0 and config.queue_size is None and not of_start
        super().__init__(base, count=count, momentum=config.bank_momentum if with_bank else None)
        self.config = config
        roles = {spec.role: name for name, spec in reversed(list(base.view_spec.items()))}  # the first of each
        self.first = roles["first"]
        self.second = roles.get("second", PARTNER)
        views = dict(base.view_spec)
        views.setdefault(self.second, ViewSpec("second"))
        self.view_spec = views | {WEAK: ViewSpec("weak")} if self._has_teacher else views
        queued = config.queue_size and config.relation_weight and not of_start
        self.queue = KeyQueue(config.queue_size or 0, base.dim) if queued else None
        kept = torch.zeros(count, feature_dim(base.backbone), dtype=torch.float16) if of_start else None
        self.register_buffer("start_features", kept)

    @property
    def _has_teacher(self) -> bool:
        return self.config.relation == "teacher" and self.config.relation_weight > 0

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Add the two relations to the base's step."""
        of_start = self.start_features is not None
        with recorded_features(self.encoder) if of_start else nullcontext([]) as features:
            step: Step = self.base(batch, at)
        terms, record, related = dict(step.terms), dict(step.record), dict(step.related)
        config = self.config
        queries, keys = self._queries_and_keys(step, batch)
        if config.relation_weight:
            if of_start:
                relation = self._start_relation(torch.cat(features), len(step.pairs), batch)
            elif self._has_teacher:
                relation = self._teacher_relation(queries, batch, record)
            else:
                relation = self._view_relation(queries, keys[1])
            terms["eir/relation"] = config.relation_weight * relation.mean()
        if config.mixture_weight:
            sides = keys if config.detach_mixture else (queries[0], queries[1] if len(queries) == 2 else keys[1])
            terms["eir/mixture"] = config.mixture_weight * self._mixture(sides, batch, related).mean()
        return replace(step, terms=terms, record=record, related=related)

    def _queries_and_keys(self, step: Step, batch: Batch) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """Return the queries, with gradient, and the constant keys of both views.

        A base with two directions has a query and a key of each view. A base with one direction has a query of the
        first view and a key of the second. For a base with a single view, a second view is embedded here.
        """
        (q, k), *others = step.pairs
        if others:
            return [q, others[0][0]], (others[0][1], k)
        if self.second == PARTNER:
            second = self.query(batch.views[PARTNER])
            return [q, second], (q.detach(), second.detach())
        return [q], (q.detach(), k)

    def _view_relation(self, queries: list[Tensor], second_key: Tensor) -> Tensor:
        """Compare two views by their similarities to the memory: per row, (B,)."""
        config, memory = self.config, self._memory()
        # With a single query, the constant key is the target.
        first, second = queries if len(queries) == 2 else (second_key, queries[0])
        orders = [(first, second), (second, first)] if config.relation == "symmetric" else [(first, second)]
        divergences = [
            memory.relation_divergence(p.detach() if config.detach_target else p, p_hat, config.temperature)
            for p, p_hat in orders
        ]
        return torch.stack(divergences).mean(0)

    def _teacher_relation(self, queries: list[Tensor], batch: Batch, record: dict[str, Tensor]) -> Tensor:
        """Compare every query with the weak view's sharpened similarities: per row, (B,)."""
        teacher = record["eir/weak"] = self._weak_key(batch)
        temperatures = (self.config.teacher_temperature, self.config.temperature)
        entropies = [self._memory().relation_cross_entropy(teacher, q, temperatures) for q in queries]
        return torch.stack(entropies).mean(0)

    def _start_relation(self, features: Tensor, directions: int, batch: Batch) -> Tensor:
        """Compare the features of every view with what its image was like at the start: per row, (B,).

        Args:
            features: (at least directions * B, F) of the base's pass, queries first.
            directions: number of the base's queries of an image.
            batch: the micro-batch.
        """
        assert self.start_features is not None
        memory = losses.at_least_float32(self.start_features)
        teacher = memory[batch.index].repeat(directions, 1)
        student = losses.unit(features[: len(teacher)])
        temperatures = (self.config.teacher_temperature, self.config.temperature)
        entropies = losses.relation_cross_entropy(teacher, student, memory, temperatures)
        return entropies.view(directions, -1).mean(0)

    def start(self, encode: Encode, at: Progress) -> None:
        """Keep the features of all images as they are at the start, where these are the target."""
        super().start(encode, at)
        if self.start_features is not None:
            self.start_features.copy_(losses.unit(encode("features", self.config.start_size)))

    def _memory(self) -> Storage:
        """Embeddings that views are compared with: of the bank or of the queue."""
        return self.bank if self.queue is None else self.queue

    @torch.no_grad()
    def _weak_key(self, batch: Batch) -> Tensor:
        """Encode the weak view in the way the base encodes keys (MoCo shuffles them)."""
        weak = batch.views[WEAK]
        if self.second == PARTNER:
            return self.base.target(weak)
        return self.base.key(replace(batch, views={**batch.views, self.second: weak}))

    def _mixture(self, sides: tuple[Tensor, Tensor], batch: Batch, related: dict[str, Tensor]) -> Tensor:
        """Compare mixtures of images with mixtures of the views' embeddings: per row, (B,)."""
        config = self.config
        gather = distributed.gather if config.detach_mixture else distributed.gather_with_grad
        generator = batch.draw.generator("eir/mix")
        count = len(batch.index) * distributed.world()
        rows = distributed.rows(len(batch.index))
        partner = onto(torch.randperm(count, generator=generator)[rows], batch.index.device)
        if self.training:  # figures leave random partners out
            related["eir/partners"] = distributed.gather(batch.index)[partner].unsqueeze(1)
        ratio = config.mix_ratio
        if ratio is None:
            ratio = float(beta(config.mix_alpha, 1, generator))
        # The partner may be on another rank, so that the mixtures do not depend on the number of ranks.
        from_first = config.partner_view == "first"
        images = batch.views[self.first]
        others = distributed.gather(images if from_first else batch.views[self.second])[partner]
        if config.mix == "cutmix":
            mixed, share = cutmix(images, others, ratio, generator)
        else:
            mixed, share = mixup(images, others, ratio), ratio
        embedded = self.query(mixed)
        target = losses.mixed_target(sides[0], gather(sides[0 if from_first else 1])[partner], share)
        if config.negatives == "base" or not self.contrastive:
            return self.base.pair_loss(embedded, target, batch.index)
        everyone, targets = distributed.gather_with_grad(embedded), gather(target)
        if config.mixture_reading == "logsum":  # one number for the whole global batch, the same on every rank
            return losses.interpolation_of_sum(everyone, targets, config.mixture_temperature).expand(len(embedded))
        return losses.interpolation(everyone, targets, config.mixture_temperature, rows)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the base's memory and the bank, then push the relation's keys."""
        super().update(record, at)
        if self.queue is not None:
            self.queue.push_(record["eir/weak"] if self._has_teacher else record["embedding"])
