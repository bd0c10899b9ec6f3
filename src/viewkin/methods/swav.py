"""SwAV: each view is told the cluster code of another view; the codes use all prototypes alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.multi_crop import LARGE, MultiCropConfig
from viewkin.memory.queue import KeyQueue
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim, per_size, queue_limit
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, Limit, NotNegative, Positive, WholeNumber


@dataclass(frozen=True, kw_only=True)
class SwAVConfig(MethodConfig):
    """Settings of SwAV."""

    kind: ClassVar[str] = "swav"
    group: ClassVar[Group] = "clustering"
    good_for: ClassVar[str] = "multi-crop on large sets, small batches by its queue"

    dim: Dimension = 128
    """D, size of the embedding."""
    hidden: Count = 2048
    """Width of the head's hidden layer."""
    prototypes: Count = 3000
    """K, number of prototypes."""
    temperature: Positive = 0.1
    """tau, dimensionless."""
    epsilon: Positive = 0.05
    """Entropy weight of the codes, dimensionless; smaller is harder."""
    iterations: Count = 3
    """Rounds of Sinkhorn-Knopp."""
    queue_size: Count | None = None
    """Embeddings of earlier images that take part in the assignment, each of both large crops; null: no queue. For
    batches of 256 the release has 3,840."""
    queue_epochs: NotNegative = 15.0
    """Epochs after which the queue is used."""
    freeze_steps: WholeNumber = 313
    """Steps at the start in which the prototypes do not move."""
    crops: MultiCropConfig = field(default_factory=MultiCropConfig)
    """Multi-crop."""
    norm: str = "batch"
    """BatchNorm of network and head: ``batch``, or ``gathered`` over ranks (the release)."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def has_negatives(self) -> bool:
        """No image is a negative."""
        return False

    def passes(self, side: int) -> tuple[float, float]:
        """Every crop, once."""
        return self.crops.passes(side), 0.0

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit the queue to one embedding per image."""
        return {"queue_size": queue_limit(count, batch_size)}

    def build(self, backbone: nn.Module, *, count: int) -> SwAV:
        """Make the method; the queue does not depend on ``count``."""
        return SwAV(self, backbone)


class SwAV(ViewMethod):
    """Cross-entropy of each view's softmax over the prototypes with the codes of the large crops of the other views.

    The codes are of the global batch and the queue. The prototypes have unit norm: they are normalised after each step,
    which equals the release's normalisation before each forward pass.

    References:
        Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, 2020, equations 1-6.
    """

    contrastive = False

    def __init__(self, config: SwAVConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim, self.temperature = config, config.dim, config.temperature
        self.view_spec = config.crops.views()
        head = HeadConfig(layers=(config.hidden, config.dim), norm=True)
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)
        self.prototypes = nn.Linear(config.dim, config.prototypes, bias=False)
        self._normalise_()
        self.queues = nn.ModuleList(KeyQueue(config.queue_size, config.dim) for _ in LARGE if config.queue_size)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare every crop with the codes of the large ones."""
        z = per_size(self.query, [batch.views[name] for name in self.view_spec])
        prototypes = self.prototypes.weight
        if at.total_step < self.config.freeze_steps:
            prototypes = prototypes.detach() + 0 * prototypes  # a gradient of zero, as every parameter needs one
        scores = [losses.at_least_float32(one @ prototypes.T) for one in z]
        codes = [self._codes(one, self._queued(place, len(one), at)) for place, one in enumerate(scores[:2])]
        loss = losses.swapped_cross_entropy(codes, [one / self.temperature for one in scores])
        first, second = (one.detach() for one in z[:2])
        record = {"index": batch.index, "embedding": first}
        if self.config.queue_size:
            record["second"] = second
        return Step(terms={"swav": loss.mean()}, pairs=((z[0], second), (z[1], first)), record=record)

    def _queued(self, place: int, images: int, at: Progress) -> Tensor | None:
        """Scores of the queue of a large crop, once it is full of images and its epoch has come."""
        size, pushed = self.config.queue_size, at.total_step * images * distributed.world()
        if size is None or at.epochs_done < self.config.queue_epochs or pushed < size:
            return None
        queue: KeyQueue = self.queues[place]  # pyright: ignore[reportAssignmentType]
        return queue.products(self.prototypes.weight)

    def _codes(self, scores: Tensor, queued: Tensor | None) -> Tensor:
        """Codes of this rank's rows (B, K), assigned together with all ranks' and the queue's."""
        everyone = distributed.gather(scores)
        joined = everyone if queued is None else torch.cat([everyone, queued.to(everyone.dtype)])
        codes = losses.balanced_codes(joined, self.config.epsilon, self.config.iterations)
        return codes[distributed.rows(len(scores))]

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Push the embeddings of both large crops, and normalise the prototypes."""
        for queue, name in zip(self.queues, ("embedding", "second")):
            queue.push_(record[name])  # pyright: ignore[reportCallIssue]
        self._normalise_()

    @torch.no_grad()
    def _normalise_(self) -> None:
        self.prototypes.weight.copy_(losses.unit(self.prototypes.weight))

    def key(self, batch: Batch) -> Tensor:
        """The second large crop, without gradient."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy of each query with its key's code, which is assigned among all keys of the global batch."""
        code = self._codes(losses.at_least_float32(self.prototypes(k)).detach(), None)
        return losses.code_cross_entropy(code, losses.at_least_float32(self.prototypes(q)) / self.temperature)
