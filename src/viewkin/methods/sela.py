"""SeLa: classifiers learn labels of all images, which are assigned to classes of equal size from time to time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Encode, Group, Method, MethodConfig, Step, feature_dim
from viewkin.nets.heads import Encoder, recorded_features
from viewkin.runtime import distributed
from viewkin.runtime.progress import progress_bar
from viewkin.schedules import Progress
from viewkin.settings import Choice, Count, Limit, Positive

PER_CLASS = 50
"""Images per class, where the number of classes is left open."""
LARGEST = 3000
"""Classes on ImageNet."""


@dataclass(frozen=True, kw_only=True)
class SeLaConfig(MethodConfig):
    """Settings of SeLa, by default those for ImageNet."""

    kind: ClassVar[str] = "sela"
    group: ClassVar[Group] = "clustering"
    good_for: ClassVar[str] = "balanced labels, of several heads"
    one_view: ClassVar[bool] = True

    heads: Count = 10
    """H, classifiers, each with labels of its own."""
    classes: Count | None = None
    """K, labels of each; None: 3,000, or one for 50 images if that is less."""
    strength: Positive = 25.0
    """lambda: 25 on ImageNet, 10 on CIFAR."""
    relabel: Literal["early", "epoch"] = "early"
    """``early``: all heads at ``moments`` moments, dense at the beginning (ImageNet); ``epoch``: one head before each
    epoch, in turn (CIFAR)."""
    moments: Count = 100
    """Moments of a round at which labels are assigned (``early``); those of one epoch fall together."""

    def has_negatives(self) -> bool:
        """Tell that images are classified, not told apart."""
        return False

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Leave two images to a class."""
        return {"classes": Limit(max(count // 2, 2), "two images to a class", max(count // PER_CLASS, 2))}

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Choose the number of classes, if it is left open."""
        if self.classes is not None:
            return {}
        return {"classes": Choice(min(max(count // PER_CLASS, 2), LARGEST), "3,000, or one for 50 images")}

    def build(self, backbone: nn.Module, *, count: int) -> SeLa:
        """Make the method for ``count`` images."""
        return SeLa(self, backbone, count)


class SeLa(Method):
    """Mean cross-entropy of H classifiers with their labels, which are as many images in every class.

    The release computes logits for the assignment with training views and the network in training mode, in the middle
    of epochs too; here it uses test views in evaluation mode, before epochs.

    References:
        Asano, Rupprecht and Vedaldi, Self-labelling via Simultaneous Clustering and Representation Learning, 2020.
    """

    scale_free = False
    labels: Tensor
    """(H, N) int64."""

    def __init__(self, config: SeLaConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.config, self.dim = config, feature_dim(backbone)
        self.classes: int = config.classes or config.choices(count)["classes"].value
        self.view_spec = {"view": ViewSpec("first")}
        self.encoder = Encoder(backbone, nn.Sequential(nn.Linear(self.dim, config.heads * self.classes)))
        labels = torch.stack([torch.randperm(count) % self.classes for _ in range(config.heads)])
        self.register_buffer("labels", labels)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Classify one view by every head."""
        with recorded_features(self.encoder) as passed:
            logits = losses.at_least_float32(self.encoder(batch.views["view"])).view(-1, self.classes)
        loss = functional.cross_entropy(logits, self.labels[:, batch.index].T.flatten())
        record = {"index": batch.index, "embedding": losses.unit(passed[0]).detach()}
        return Step(terms={"sela": loss}, record=record)

    def due(self, at: Progress) -> list[int]:
        """Return the heads whose labels are assigned before this epoch."""
        if self.config.relabel == "epoch":
            return [(at.round * at.epochs + at.epoch) % self.config.heads]
        moments = 1.01 * at.epochs * torch.linspace(0, 1, self.config.moments).square()
        now = ((moments >= at.epoch) & (moments < at.epoch + 1)).any()
        return list(range(self.config.heads)) if now else []

    @torch.no_grad()
    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Assign labels anew, where they are due."""
        heads = self.due(at)
        if heads:
            features = encode("features")
            head: Any = next(self.encoder.head.children())
            with progress_bar("labels", len(heads), shown=distributed.rank() == 0) as bar:
                for number in heads:
                    part = slice(number * self.classes, (number + 1) * self.classes)
                    logits = functional.linear(features, head.weight[part].to(features), head.bias[part].to(features))
                    labels = losses.balanced_assignment(logits, self.config.strength).argmax(1)
                    self.labels[number] = distributed.agree(labels)
                    bar.advance()
        return ()

    def embed(self, x: Tensor) -> Tensor:
        """Return the backbone's features, unit norm."""
        return losses.unit(self.backbone(x))

    def gauges(self) -> dict[str, float]:
        """Return the size of the largest class over that of the mean."""
        sizes = torch.bincount(self.labels[0], minlength=self.classes)
        return {"largest_class": float(sizes.max()) * self.classes / self.labels.shape[1]}
