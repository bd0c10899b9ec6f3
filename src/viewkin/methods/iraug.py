"""IRaug: instance recognition of two views against one bank, the baseline of EIR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.bank import FeatureBank
from viewkin.methods.base import Batch, MethodConfig, Step, ViewMethod, with_projection
from viewkin.schedules import Progress
from viewkin.settings import Dimension, Momentum, Positive


@dataclass(frozen=True, kw_only=True)
class IRAugConfig(MethodConfig):
    """Settings of IRaug."""

    kind: ClassVar[str] = "iraug"
    good_for: ClassVar[str] = "two views against a bank of all images"

    reading: Literal["sumce", "mean", "logsum"] = "sumce"
    """How equations 2-3 are read: sum of two cross-entropies, their mean, or log of the summed probabilities."""
    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "linear"
    """Projection head."""
    temperature: Positive = 0.1
    """tau, dimensionless."""
    bank_momentum: Momentum = 0.5
    """m, weight of the old bank row."""
    bank_init: Literal["normal", "uniform"] = "normal"
    """Random unit rows ("unit random vectors" in the paper), or the uniform entries of the NPID release."""
    bank_view: Literal["first", "second"] = "first"
    """The view that writes the bank ("either" in the paper)."""

    def build(self, backbone: nn.Module, *, count: int) -> IRAug:
        """Make the method for ``count`` images."""
        return IRAug(self, backbone, count)


class IRAug(ViewMethod):
    """Instance discrimination of two views: ``-log P(i) - log P^(i)``; one of the views updates the bank.

    References:
        Exploring Instance Relations, 2021, equations 1-3.
    """

    bank: FeatureBank
    contrastive = True

    def __init__(self, config: IRAugConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.config = config
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        self.temperature = config.temperature
        self.encoder = with_projection(backbone, config.head, config.dim)
        self.bank = FeatureBank(count, config.dim, momentum=config.bank_momentum, init=config.bank_init)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare both views with the bank, in one pass over it."""
        first, second = self.query(torch.cat([batch.views["first"], batch.views["second"]])).chunk(2)
        both = self.bank.log_probability(torch.cat([first, second]), batch.index.repeat(2), self.temperature)
        log_p, log_p_hat = both.chunk(2)
        loss = losses.two_view_instance_loss(log_p, log_p_hat, self.config.reading)
        written = first if self.config.bank_view == "first" else second
        return Step(
            terms={"iraug": loss.mean()},
            pairs=((first, second.detach()), (second, first.detach())),
            record={"index": batch.index, "embedding": written.detach()},
        )

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the bank with the embedding of the configured view."""
        self.bank.write_(record["index"], record["embedding"])

    def key(self, batch: Batch) -> Tensor:
        """The second view, without gradient."""
        return self.target(batch.views["second"])
