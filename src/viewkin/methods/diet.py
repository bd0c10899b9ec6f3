"""DIET: every image is a class of its own in a linear layer; one view, no projector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Method, MethodConfig, Step, feature_dim
from viewkin.nets.heads import Encoder
from viewkin.schedules import Progress
from viewkin.settings import Momentum


@dataclass(frozen=True, kw_only=True)
class DIETConfig(MethodConfig):
    """Settings of DIET."""

    kind: ClassVar[str] = "diet"
    good_for: ClassVar[str] = "small sets and small batches, many epochs; the head grows with the set"
    one_view: ClassVar[bool] = True

    smoothing: Momentum = 0.8
    """Label smoothing: share of the target that is spread evenly over all images."""

    def build(self, backbone: nn.Module, *, count: int) -> DIET:
        """Make the method, with one class for each of ``count`` images."""
        return DIET(self, backbone, count)


class DIET(Method):
    """Cross-entropy of a linear layer on the raw features, whose class is the image's position in the set.

    It is the parametric twin of instance recognition: the rows of the layer take the place of the bank. It compares no
    views, so its steps have no pairs.

    References:
        Ibrahim et al., Occam's Razor for Self Supervised Learning (DIET), 2024.
    """

    scale_free = False

    def __init__(self, config: DIETConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.config, self.dim = config, feature_dim(backbone)
        self.view_spec = {"view": ViewSpec("first")}
        self.encoder = Encoder(backbone, nn.Linear(self.dim, count, bias=False))

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Tell each image from all others."""
        features = self.backbone(batch.views["view"])
        logits = losses.at_least_float32(self.encoder.head(features))
        loss = nn.functional.cross_entropy(logits, batch.index, label_smoothing=self.config.smoothing)
        record = {"index": batch.index, "embedding": losses.unit(features).detach()}
        return Step(terms={"diet": loss}, record=record)

    def embed(self, x: Tensor) -> Tensor:
        """Unit features of the backbone."""
        return losses.unit(self.backbone(x))
