"""Settings of InvP's propagation term, which InvP and the term around other methods share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.gate import Gate
from viewkin.memory.graph import GraphConfig
from viewkin.memory.negatives import every_nth
from viewkin.memory.storage import Storage
from viewkin.methods.base import MethodConfig
from viewkin.runtime.errors import require
from viewkin.schedules import Progress, RampConfig
from viewkin.settings import Count, Limit, Momentum, NotNegative


@dataclass(frozen=True, kw_only=True)
class KinConfig(MethodConfig):
    """Where positives come from, how they are used, and from when on ("kin": images of the same kind of thing)."""

    weight: NotNegative = 0.6
    """lambda_inv, weight of the propagation term."""
    candidates: Count = 4096
    """M, nearest bank rows in a denominator; ignored around a method without negatives."""
    edge: Count = losses.EDGE
    """Accuracy of the search for the M nearest: their threshold is read from a sample of the bank that holds about this
    many of them; M or more: search exactly. With a gap of similarities at the threshold, a gradient was 16 % off."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """k, l, P and how the graph is searched for positives."""
    ramp: RampConfig = field(default_factory=RampConfig)
    """w(t), when the propagation term starts: T is 30 epochs of 200 or 800 in the paper."""
    denominator: Literal["code", "paper"] = "code"
    """``code`` as released; ``paper`` leaves all positives except the hard ones out of it."""
    exclusive: bool = True
    """Leave the query's own bank row out of the propagation term's denominator (``code``; ``paper`` never has it)."""
    bank_momentum: Momentum = 0.5
    """m, weight of the old bank row."""

    def _check(self) -> None:
        least = self.graph.neighbours + (self.denominator == "code")
        should = f"at least {least}, for {{here}}graph.neighbours"
        require(self.candidates >= least, "candidates", self.candidates, should)
        inside = self.exclusive or self.denominator == "code"
        require(inside, "exclusive", self.exclusive, "true with {here}denominator=paper")

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit neighbours and candidates to the number of images."""
        others = Limit(count - 1, "the other images of the set")
        every = Limit(count, "the images of the set")
        return {"graph.neighbours": others, "candidates": every if self.denominator == "code" else others}

    def delays(self, at: Progress) -> Mapping[str, float]:
        """The ramp keeps the term out, if it switches it on at once."""
        if self.ramp.shape != "binary":
            return {}
        return {f"ramp.{'share' if self.ramp.epochs is None else 'epochs'}": self.ramp.length(at.epochs)}

    def with_similarity(
        self, q: Tensor, bank: Storage, image: Tensor, index: Tensor, *, exclude_self: bool = False
    ) -> losses.Positives:
        """Compute the similarity of queries (B, D) to the images (B, R) that the graph led to, -1 for none.

        The anchor itself is removed with ``exclude_self`` or ``denominator=paper``.
        """
        if exclude_self or self.denominator == "paper":
            image = image.masked_fill(image == index.unsqueeze(1), -1)
        return losses.Positives(image, bank.similarity(q, image))

    def nearest_sums(
        self, q: Tensor, bank: Storage, index: Tensor, positives: losses.Positives | None, temperature: float
    ) -> losses.Nearest:
        """Sums over the M nearest bank rows of queries (B, D), with the graph's positives apart."""
        return bank.nearest_sums(
            q,
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

    def limit(self, count: int) -> float:
        """Return ln M, the instance loss of ``count`` images that are all equally similar."""
        return math.log(min(self.candidates, count))

    def gate(self, count: int) -> Gate | None:
        """Build the gate that the ramp waits for; None if it waits for none."""
        return Gate(self.limit(count)) if self.weight > 0 and self.ramp.gated else None

    def weight_now(self, gate: Gate | None, at: Progress) -> float:
        """Return ``lambda w(t)``."""
        return self.weight * self.ramp.weight_at(at, 0 if gate is None else gate.opened_at(at))

    def waits(self, gate: Gate | None, at: Progress) -> bool:
        """Tell whether the term would have begun and is kept out by its gate."""
        return gate is not None and self.ramp.weight_at(at) > 0 and self.weight_now(gate, at) == 0

    def concern(self, gate: Gate | None, losses: Tensor | None, count: int, at: Progress) -> str | None:
        """Say what is wrong with the time at which the term begins, if something is.

        Args:
            gate: the gate, if the ramp waits for one.
            losses: instance losses (B,) of the last batch, if they were measured.
            count: N, number of images.
            at: progress after the last step.
        """
        limit = self.limit(count)
        if gate is not None:
            mean = gate.measured
            if mean is None or int(gate.opened) >= 0 or self.ramp.weight_at(at) == 0:
                return None
            return (
                f"The propagation term waits: the mean instance loss of the last epoch is {mean:.2f}. The "
                f"term begins after an epoch with less than {limit:.2f} (ln M), the loss of images that are all alike. "
                "Train longer, or start it regardless with ramp.gate=false."
            )
        if losses is None or self.weight * self.ramp.weight_at(at) == 0 or float(losses.mean()) <= limit:
            return None
        return (
            f"The propagation term began too early: the instance loss is {float(losses.mean()):.2f}, above "
            f"{limit:.2f} (ln M), the loss of images that are all alike. Both losses can now fall by making all "
            "embeddings alike. Let the term wait (ramp.gate=true), or begin it later (ramp.epochs)."
        )
