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
from viewkin.memory.negatives import every_nth
from viewkin.methods.base import Limit
from viewkin.runtime.errors import require
from viewkin.schedules import RampConfig


@dataclass(frozen=True, kw_only=True)
class KinConfig:
    """Where positives come from, how they are used, and from when on ("kin": images of the same kind of thing)."""

    weight: float = 0.6
    """lambda_inv, weight of the propagation term."""
    candidates: int = 4096
    """M, nearest bank rows in a denominator; ignored around a method without negatives."""
    edge: int = losses.EDGE
    """Accuracy of the search for the M nearest: their threshold is read from a sample of the bank that holds about this
    many of them; M or more: search exactly."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """k, l, P and how the graph is searched for positives."""
    ramp: RampConfig = field(default_factory=RampConfig)
    """w(t), when the propagation term starts: T is 30 epochs of 200 or 800 in the paper."""
    denominator: Literal["code", "paper"] = "code"
    """``code`` as released; ``paper`` leaves all positives except the hard ones out of it (METHODS 3.2)."""
    exclusive: bool = True
    """Leave the query's own bank row out of the propagation term's denominator (``code``; ``paper`` never has it)."""
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
        """Limit neighbours and candidates to the number of images."""
        others = Limit(count - 1, "the other images of the set")
        every = Limit(count, "the images of the set")
        return {"graph.neighbours": others, "candidates": every if self.denominator == "code" else others}

    def with_similarity(
        self, q: Tensor, bank: FeatureBank, image: Tensor, index: Tensor, *, exclude_self: bool = False
    ) -> losses.Positives:
        """Compute the similarity of queries (B, D) to the images (B, R) that the graph led to, -1 for none.

        The anchor itself is removed with ``exclude_self`` or ``denominator=paper``.
        """
        if exclude_self or self.denominator == "paper":
            image = image.masked_fill(image == index.unsqueeze(1), -1)
        return losses.Positives(image, losses.bank_similarity(q, bank.everything(), image))

    def nearest_sums(
        self, q: Tensor, bank: FeatureBank, index: Tensor, positives: losses.Positives | None, temperature: float
    ) -> losses.Nearest:
        """Sums over the M nearest bank rows of queries (B, D), with the graph's positives apart."""
        return losses.nearest_sums(
            q,
            bank.everything(),
            index,
            self.candidates,
            temperature,
            positives=positives,
            denominator=self.denominator,
            edge=self.edge,
        )

    def monitored_negatives(self, nearest: losses.Nearest, reached: Tensor, index: Tensor) -> Tensor:
        """Some of the nearest bank rows of images (B,), for monitors: (B, m).

        Images that the graph reached (B, C), and the anchor, are replaced by -1.
        """
        images = every_nth(nearest.images).contiguous()
        known = torch.cat([index.unsqueeze(1), reached], 1).sort(1).values
        place = torch.searchsorted(known, images).clamp(max=known.shape[1] - 1)
        return images.masked_fill(known.gather(1, place) == images, -1)

    def choose(self, positives: losses.Positives) -> losses.Positives:
        """Choose the positives that enter the loss."""
        return losses.choose_positives(positives, self.graph.positives, easy=self.graph.easy)

    def propagation_loss(self, nearest: losses.Nearest, chosen: losses.Positives, temperature: float) -> Tensor:
        """L_inv of the nearest bank rows and the chosen positives: (B,)."""
        return losses.propagation_loss(nearest, chosen, temperature, self.denominator, exclusive=self.exclusive)
