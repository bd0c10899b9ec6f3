"""MoCo: a query against its key from a slowly moving encoder, with a queue of earlier keys as negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.queue import KeyQueue
from viewkin.methods.base import Batch, MethodConfig, Step, ViewMethod, queue_limit, with_projection
from viewkin.nets.ema import ema_update_, make_target
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.schedules import Progress, cosine
from viewkin.settings import Count, Dimension, Limit, Margin, Momentum, Positive, Share


@dataclass(frozen=True, kw_only=True)
class MoCoConfig(MethodConfig):
    """Settings of MoCo v2 (and, with a linear head and tau 0.07, v1)."""

    kind: ClassVar[str] = "moco"
    good_for: ClassVar[str] = "small batches, by its queue; asymmetric: two thirds of the cost"

    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "mlp"
    """``mlp`` is F -> F -> ReLU -> D (v2); ``linear`` is v1 and the CIFAR demo."""
    queue_size: Count = 65536
    """K, keys kept as negatives."""
    momentum: Momentum = 0.999
    """m, weight of the old key encoder."""
    last_momentum: Share | None = None
    """m at the end, to which it rises along a cosine; null: it stays."""
    temperature: Positive = 0.2
    """tau, dimensionless."""
    margin: Margin = 0.0
    """m, cosine margin of the key: above 0 stricter, below 0 looser (InterCLR's study)."""
    symmetric: bool = False
    """Use both views as queries (the loss is the sum of both directions, as in the CIFAR demo)."""
    norm: str = "batch"
    """BatchNorm of both encoders: ``batch``, ``split:8`` (statistics over eighths of the batch, as eight devices have
    them), or ``gathered`` over ranks."""
    shuffle: bool = True
    """Shuffle the keys over ranks and sub-batches before the key encoder, so that BatchNorm does not leak the pairs."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def passes(self, side: int) -> tuple[float, float]:
        """The query and its key, or both views through both networks."""
        return (2.0, 2.0) if self.symmetric else (1.0, 1.0)

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit the queue to one key per image."""
        return {"queue_size": queue_limit(count, batch_size)}

    def build(self, backbone: nn.Module, *, count: int) -> MoCo:
        """Make the method; the queue does not depend on ``count``."""
        return MoCo(self, backbone)


class MoCo(ViewMethod):
    """InfoNCE of a query against its key and a queue of earlier keys.

    The key encoder is updated after the optimiser step, ``theta_k <- m theta_k + (1 - m) theta_q``. This gives the same
    sequence as the released code, which updates it at the beginning of the next step.

    References:
        He et al., Momentum Contrast for Unsupervised Visual Representation Learning, 2020, equations 1-2, algorithm 1;
        Chen et al., Improved Baselines with Momentum Contrastive Learning, 2020.
    """

    contrastive = True

    def __init__(self, config: MoCoConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.dim = config.dim
        self.config = config
        self.view_spec = {"query": ViewSpec("first"), "key": ViewSpec("second")}
        self.temperature = config.temperature
        self.encoder = convert_norm(with_projection(backbone, config.head, config.dim), config.norm)
        self.key_encoder = make_target(self.encoder)
        self.queue = KeyQueue(config.queue_size, config.dim)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare queries with keys and queue, in one direction or both."""
        names = [("query", "key"), ("key", "query")] if self.config.symmetric else [("query", "key")]
        pairs = tuple((self.query(batch.views[q]), self._key_of(batch, k)) for q, k in names)
        loss = torch.stack([self.pair_loss(q, k, batch.index).mean() for q, k in pairs]).sum()
        record = {"index": batch.index, "embedding": pairs[0][1]}
        if self.config.symmetric:
            record["second_key"] = pairs[1][1]
        return Step(terms={"moco": loss}, pairs=pairs, record=record)

    @torch.no_grad()
    def _key_of(self, batch: Batch, name: str) -> Tensor:
        """Shuffle over ranks, encode this rank's share, unshuffle (MoCo, section 3.3, "Shuffling BN")."""
        x = batch.views[name]
        if not self.config.shuffle:
            return self.target(x)
        everyone, rows = distributed.gather(x), distributed.rows(len(x))
        order = onto(torch.randperm(len(everyone), generator=batch.draw.generator(f"shuffle {name}")), x.device)
        keys = distributed.gather(self.target(everyone[order[rows]]))
        return keys[order.argsort()[rows]]

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Push the keys into the queue, then update the key encoder."""
        self.queue.push_(record["embedding"])
        if "second_key" in record:
            self.queue.push_(record["second_key"])
        config = self.config
        last = config.momentum if config.last_momentum is None else config.last_momentum
        momentum = last + (config.momentum - last) * cosine(at.fraction)
        ema_update_(self.key_encoder, self.encoder, momentum)

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Unit embedding of the key encoder."""
        return losses.unit(self.key_encoder(x))

    def key(self, batch: Batch) -> Tensor:
        """Encode the batch's key view."""
        return self._key_of(batch, "key")

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """InfoNCE per row against the queue."""
        return self.queue.info_nce(q, k, self.temperature, self.config.margin)
