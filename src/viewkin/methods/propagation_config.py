"""Settings of InvP's propagation term, which InvP and the term around other methods share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.bank import FeatureBank
from viewkin.memory.graph import GraphConfig
from viewkin.memory.negatives import some_of
from viewkin.methods.base import Limit
from viewkin.runtime.errors import require
from viewkin.schedules import RampConfig


@dataclass(frozen=True, kw_only=True)
class KinConfig:
    """How kin are found and pulled, and when."""

    weight: float = 0.6
    """lambda_inv, weight of the propagation term."""
    candidates: int = 4096
    """M, nearest bank rows in a denominator; of no meaning around a method without negatives."""
    edge: int = losses.EDGE
    """Of the M nearest, how many a sample of the bank holds that says where they end; M or more: search exactly."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """k, l, P and how kin are found."""
    ramp: RampConfig = field(default_factory=RampConfig)
    """w(t), when the propagation term comes in: T is 30 epochs of 200 or 800 in the paper."""
    denominator: Literal["code", "paper"] = "code"
    """``code`` as released; ``paper`` leaves all kin but the hard ones out of the denominator (METHODS 3.2)."""
    exclusive: bool = True
    """Leave the own bank row out of the propagation term's denominator (``code``; the paper's never has it)."""
    bank_momentum: float = 0.5
    """m, weight of the old bank row."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "method.weight", self.weight, "at least 0")
        require(self.denominator in ("code", "paper"), "method.denominator", self.denominator, "code or paper")
        require(0 <= self.bank_momentum < 1, "method.bank_momentum", self.bank_momentum, "at least 0 and below 1")
        require(self.edge >= 1, "method.edge", self.edge, "at least 1")
        least = self.graph.neighbours + (self.denominator == "code")
        require(self.candidates >= least, "method.candidates", self.candidates, f"{least} at least (graph.neighbours)")
        inside = self.exclusive or self.denominator == "code"
        require(inside, "method.exclusive", self.exclusive, "true with denominator=paper")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """No more neighbours and candidates than there are images."""
        others = Limit(count - 1, "the other images of the set")
        every = Limit(count, "the images of the set")
        return {"graph.neighbours": others, "candidates": every if self.denominator == "code" else others}

    def kin(self, q: Tensor, bank: FeatureBank, image: Tensor, index: Tensor, *, others: bool = False) -> losses.Kin:
        """The kin found of queries (B, D), (B, R) images, -1 where there is none, with their similarity.

        The anchor is not among those of ``paper``, nor, with ``others``, among any.
        """
        if others or self.denominator == "paper":
            image = image.masked_fill(image == index.unsqueeze(1), -1)
        return losses.Kin(image, losses.bank_similarity(q, bank.everything(), image))

    def nearest(
        self, q: Tensor, bank: FeatureBank, index: Tensor, kin: losses.Kin | None, temperature: float
    ) -> losses.Nearest:
        """Sums over the M nearest bank rows of queries (B, D), what the graph found apart."""
        return losses.nearest_of(
            q,
            bank.everything(),
            index,
            self.candidates,
            temperature,
            kin=kin,
            denominator=self.denominator,
            edge=self.edge,
        )

    def strangers(self, nearest: losses.Nearest, kin: Tensor, index: Tensor) -> Tensor:
        """Some of the nearest bank rows of images (B,) that are not among the (B, C) found, for monitors: (B, m).

        -1 where one is.
        """
        images = some_of(nearest.images).contiguous()
        known = torch.cat([index.unsqueeze(1), kin], 1).sort(1).values
        place = torch.searchsorted(known, images).clamp(max=known.shape[1] - 1)
        return images.masked_fill(known.gather(1, place) == images, -1)

    def chosen(self, kin: losses.Kin) -> losses.Kin:
        """The positives among the kin found."""
        return losses.chosen_kin(kin, self.graph.positives, easy=self.graph.easy)

    def pull(self, nearest: losses.Nearest, chosen: losses.Kin, temperature: float) -> Tensor:
        """L_inv of the nearest bank rows and the positives chosen: (B,)."""
        return losses.propagation_loss(nearest, chosen, temperature, self.denominator, exclusive=self.exclusive)
