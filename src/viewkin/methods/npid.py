"""NPID, also called IR: instance discrimination of one view against a memory of all images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.bank import FeatureBank
from viewkin.methods.base import Batch, Encode, MethodConfig, Step, ViewMethod, with_projection
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, Limit, Margin, Momentum, NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class NPIDConfig(MethodConfig):
    """Settings of NPID / IR and, with an MLP head and sampled negatives, NPIDv2."""

    kind: ClassVar[str] = "npid"
    good_for: ClassVar[str] = "one view a step and a bank of all images; the cheapest"
    one_view: ClassVar[bool] = True

    loss: Literal["softmax", "infonce", "nce"] = "softmax"
    """``softmax`` over the whole bank (CIFAR), ``infonce`` over sampled negatives (NPIDv2), or the original ``nce``."""
    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "linear"
    """``mlp`` is F -> F -> ReLU -> D (NPIDv2)."""
    temperature: Positive = 0.1
    """tau, dimensionless."""
    margin: Margin = 0.0
    """m, cosine margin of the own row (``infonce``): above 0 stricter, below 0 looser (InterCLR's study)."""
    negatives: Count = 4096
    """K, bank rows drawn uniformly with replacement (``infonce``, ``nce``)."""
    shared_negatives: bool = True
    """Draw K rows once for the global batch instead of for each query: 40 times cheaper, slightly different."""
    bank_momentum: Momentum = 0.5
    """m, weight of the old bank row."""
    bank_init: Literal["normal", "uniform", "encoded"] = "normal"
    """Random unit rows, the uniform entries of the NPID release, or the embeddings by the untrained network."""
    sqrt_kl: NotNegative = 0.0
    """Weight of the divergence between P and its normalised root, which is P at twice the temperature (``softmax``)."""
    sqrt_kl_of: Literal["softmax", "root"] = "softmax"
    """Which of the two is the constant first argument: ``softmax`` is KL(P || root), ``root`` KL(root || P)."""

    def _check(self) -> None:
        require(not self.sqrt_kl or self.loss == "softmax", "sqrt_kl", self.sqrt_kl, "0 unless {here}loss is softmax")
        only = self.margin == 0 or self.loss == "infonce"
        require(only, "margin", self.margin, "0 unless {here}loss is infonce")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit the negatives to the number of other images."""
        return {} if self.loss == "softmax" else {"negatives": Limit(count - 1, "the other images of the set")}

    def build(self, backbone: nn.Module, *, count: int) -> NPID:
        """Make the method for ``count`` images."""
        return NPID(self, backbone, count)


class NPID(ViewMethod):
    """Instance discrimination with a feature bank: ``-log softmax_j(q.V_j / tau)[i]`` or its sampled forms.

    References:
        Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, equations 2-8.
        As in the released code there is no proximal term; the bank momentum replaces it.
    """

    bank: FeatureBank
    partition: Tensor
    """() NCE's constant Z; 0 until the first update sets it."""
    contrastive = True

    def __init__(self, config: NPIDConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.config = config
        self.view_spec = {"view": ViewSpec("first")}
        self.temperature = config.temperature
        self.encoder = with_projection(backbone, config.head, config.dim)
        init = "normal" if config.bank_init == "encoded" else config.bank_init
        self.bank = FeatureBank(count, config.dim, momentum=config.bank_momentum, init=init)
        self.register_buffer("partition", torch.zeros(()))

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare one view with the bank."""
        q = self.query(batch.views["view"])
        own = self.bank.read(batch.index)
        record = {"index": batch.index, "embedding": q.detach()}
        if self.config.loss == "softmax":
            loss = -self.bank.log_probability(q, batch.index, self.temperature)
        else:
            loss = self._sampled(q, own, batch, record)
        terms = {self.config.kind: loss.mean()}
        if self.config.sqrt_kl:
            terms["sqrt_kl"] = self.config.sqrt_kl * self.root_divergence(q).mean()
        return Step(terms=terms, pairs=((q, own),), record=record)

    def start(self, encode: Encode, at: Progress) -> None:
        """Fill the bank with the embeddings by the untrained network, if configured."""
        if self.config.bank_init == "encoded":
            self.bank.fill_(encode("embedding"))

    def root_divergence(self, q: Tensor) -> Tensor:
        """Divergence between P over the bank and its normalised root, per row (B,); the first argument is constant.

        References:
            Cao and Wu, instance recognition with SqrtKL, 2024; direction and constant side are our reading.
        """
        flat, sharp = 2 * self.temperature, self.temperature
        first, second = (sharp, flat) if self.config.sqrt_kl_of == "softmax" else (flat, sharp)
        entropy = self.bank.relation_cross_entropy(q.detach(), q.detach(), (first, first))
        return self.bank.relation_cross_entropy(q, q, (first, second)) - entropy

    def _sampled(self, q: Tensor, own: Tensor, batch: Batch, record: dict[str, Tensor]) -> Tensor:
        positive = (q * own).sum(1)
        drawn = onto(self._draw(batch), q.device)
        rows = self.bank.read(drawn)
        negative = q @ rows.T if drawn.ndim == 1 else torch.einsum("bd,bkd->bk", q, rows)
        if self.config.loss == "infonce":
            # The query's own row is not a negative if it is drawn by chance (NCE, below, keeps it by its derivation).
            negative = negative.masked_fill(drawn == batch.index.unsqueeze(1), -torch.inf)
            return losses.info_nce_of(positive, negative, self.temperature, self.config.margin)
        estimate = losses.partition_estimate(positive, negative, self.temperature, len(self.bank)).detach()
        record["partition"] = estimate.expand(len(q)).clone()
        estimate = distributed.mean(estimate)  # all ranks fix the same constant
        partition = torch.where(self.partition > 0, self.partition, estimate)
        return losses.binary_nce(positive, negative, self.temperature, len(self.bank), partition)

    def _draw(self, batch: Batch) -> Tensor:
        k, n = self.config.negatives, len(self.bank)
        if self.config.shared_negatives:
            return torch.randint(n, (k,), generator=batch.draw.generator("negatives"))
        return batch.draw.rows("negatives", lambda total, g: torch.randint(n, (total, k), generator=g))

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the bank; fix NCE's constant at the first batch."""
        self.bank.write_(record["index"], record["embedding"])
        if "partition" in record:
            self.partition.copy_(torch.where(self.partition > 0, self.partition, record["partition"].mean()))

    def key(self, batch: Batch) -> Tensor:
        """The bank row of each image."""
        return self.bank.read(batch.index)
