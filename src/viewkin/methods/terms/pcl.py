"""PCL: a query against the prototypes of its clusters, beside the base's loss of a query and its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.prototypes import Prototypes
from viewkin.methods.base import Batch, Encode, Group, Step, ViewMethod
from viewkin.methods.wrapper import TermConfig, Wrapper, build_base
from viewkin.runtime import distributed
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import Choice, Count, Filled, Limit, NotNegative, Positive, WholeNumber

PER_CLUSTER = (51, 26, 13)
"""Images per cluster in the three clusterings of ImageNet: 25,000, 50,000 and 100,000 clusters."""


def numbers_for(count: int) -> tuple[int, ...]:
    """Numbers of clusters for ``count`` images."""
    return tuple(max(count // images, 2) for images in PER_CLUSTER)


@dataclass(frozen=True, kw_only=True)
class PCLConfig(TermConfig):
    """Settings of PCL: around MoCo as published, v1 with a linear head, v2 with an MLP."""

    kind: ClassVar[str] = "pcl"
    group: ClassVar[Group] = "clustering"
    good_for: ClassVar[str] = "around any view method: prototypes of several clusterings"

    weight: NotNegative = 1.0
    """Weight of the term."""
    clusters: Annotated[tuple[Count, ...], Filled()] | None = None
    """Number of clusters of each clustering; None: one for 51, 26 and 13 images, as on ImageNet."""
    negatives: Count = 16384
    """r, prototypes of no image of the batch that a query is compared with; all, where there are fewer."""
    temperature: Positive = 0.2
    """Mean temperature of the prototypes, dimensionless."""
    dedup: bool = False
    """Whether a prototype that images of a batch share is compared with once; the released code repeats it."""
    warmup_epochs: WholeNumber = 20
    """Epochs without the term, in the first round."""

    def lasting(self, epochs: int, rounds: int) -> Mapping[str, Limit]:
        """Leave an epoch with the term."""
        own = {"warmup_epochs": Limit(epochs - 1, f"{epochs} epochs, one of them with prototypes,", epochs // 10)}
        return {**super().lasting(epochs, rounds), **(own if rounds == 1 else {})}

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit clusters to half of the images; add the base's limits."""
        own = {"clusters": Limit(max(count // 2, 2), "two images to a cluster", numbers_for(count))}
        return {**super().limits(count, batch_size), **own}

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Choose the numbers of clusters, if they are left open."""
        if self.clusters is not None:
            return {}
        return {"clusters": Choice(numbers_for(count), "one for 51, 26 and 13 images")}

    def delays(self, at: Progress) -> Mapping[str, float]:
        """The warm-up keeps the term out, in the first round."""
        return {"warmup_epochs": float(self.warmup_epochs)} if at.round == 0 else {}

    def build(self, backbone: nn.Module, *, count: int) -> PCL:
        """Make the term around its base for ``count`` images.

        Raises:
            UserError: the base is not a view method, or there are more clusters than half the images.
        """
        numbers = self.clusters or numbers_for(count)
        should = f"at most half the images of the set ({count // 2}) each"
        require(max(numbers) <= max(count // 2, 2), "clusters", numbers, should)
        return PCL(self, build_base(self.base, self.kind, backbone, count), count, numbers)


class PCL(Wrapper):
    """``L = L_base + weight mean_m L_proto^m``: ProtoNCE of the first query of each image in M clusterings.

    Before each epoch, k-means clusters the embeddings of all images by the key side. In the released code k-means has
    five starts and the batch is that of one device; here it has one start, and the batch is the global one.

    References:
        Li, Zhou, Xiong and Hoi, Prototypical Contrastive Learning of Unsupervised Representations, 2021, algorithm 1.
        The paper has it around MoCo only; around other methods it is this library's extension.
    """

    def __init__(self, config: PCLConfig, base: ViewMethod, count: int, numbers: tuple[int, ...]) -> None:
        super().__init__(base, count=count, momentum=None)
        self.config = config
        self.prototypes = nn.ModuleList(Prototypes(count, number, base.dim) for number in numbers)

    def begun(self, at: Progress) -> bool:
        """Tell whether the warm-up is over."""
        return at.round > 0 or at.epoch >= self.config.warmup_epochs

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Add the term to the base's terms."""
        step = self.base(batch, at)
        term = 0.0 * step.loss
        if self.begun(at):
            q, index = step.pairs[0][0], distributed.gather(batch.index)
            each = [self._loss(q, batch, index, turn) for turn in range(len(self.prototypes))]
            term = self.config.weight * torch.stack(each).mean()
        return Step({**step.terms, "pcl": term}, step.pairs, step.record, step.related)

    def _loss(self, q: Tensor, batch: Batch, index: Tensor, turn: int) -> Tensor:
        """Mean ProtoNCE of queries (B, D) in one clustering; ``index`` (G,) are the images of the global batch."""
        held = self.prototypes[turn]
        assert isinstance(held, Prototypes)
        drawn = torch.randperm(len(held), generator=batch.draw.generator(f"prototypes/{turn}"))
        known = torch.zeros(len(held), device=q.device).index_fill(0, held.labels[index], 1)
        order = onto(drawn, q.device)
        free = order[known[order].argsort(stable=True)][: self.config.negatives]  # those of the batch come last
        return losses.prototype_nce(
            q,
            held.centroids,
            held.temperature,
            held.labels[batch.index],
            held.labels[index],
            free,
            dedup=self.config.dedup,
        ).mean()

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Cluster all images, once the warm-up is over."""
        names = super().epoch(encode, at)
        if self.begun(at):
            rows = losses.unit(encode("target"))
            for turn, held in enumerate(self.prototypes):
                assert isinstance(held, Prototypes)
                held.fit_(rows, at, turn, self.config.temperature)
        return names
