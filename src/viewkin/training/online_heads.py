"""Classifiers that learn beside the network, on its detached features: a monitor, as AMDIM's and solo-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from viewkin import losses
from viewkin.evaluation.probes.mlp import MlpConfig, evaluation_heads, heads_optimizer
from viewkin.runtime import distributed
from viewkin.runtime.draws import own_random
from viewkin.schedules import Progress

LEFT_OUT = -100
"""Label of an image that teaches nothing."""
REACH = 6.0
"""Rate x steps of the published run, 300 epochs of CIFAR-10 in batches of 480: about how far Adam can move a weight."""
HIGHEST = 0.01
"""Rate that the shortest runs have."""


class OnlineHeads:
    """AMDIM's linear layer and MLP, taught by the labels of the images whose views the network sees.

    Each optimiser step is one of the heads' too, on the features of the global batch's views, by AMDIM's loss and
    optimiser at the run's own schedule; shorter runs than the published one have a higher rate, so that heads get as
    far. Features are detached: labels reach the heads and nothing else. Images that the kNN monitor holds out teach
    nothing; on them the heads are judged before each step, so that accuracies of an epoch are those of its whole
    length, on augmented views. They follow training and are never a result.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019, the
        released code.
    """

    def __init__(
        self, width: int, labels: Tensor, held: Tensor, *, steps: int, seed: int, device: torch.device
    ) -> None:
        """Draw the heads.

        Args:
            width: F, size of the features.
            labels: (N,) int64, below 0 where there is none.
            held: (H,) int64, images that judge and do not teach.
            steps: optimiser steps of the run.
            seed: run seed.
            device: of the features.
        """
        config = MlpConfig()
        self.seed = seed
        with own_random(device, seed, "online heads"):
            heads = evaluation_heads(config, width, int(labels.max()) + 1)
            self.heads = heads.to(device)
        self.optimizer = heads_optimizer(config, self.heads)
        self.rate = min(max(config.learning_rate, REACH / steps), HIGHEST)
        teaching, judging = labels.cpu().clone(), torch.full((len(labels),), LEFT_OUT)
        judging[held] = teaching[held]
        teaching[held] = LEFT_OUT
        teaching[teaching < 0] = LEFT_OUT
        self.teaching, self.judging = teaching.to(device), judging.to(device)
        self.right = torch.zeros(len(self.heads), device=device)
        self.judged = torch.zeros((), device=device)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def see_(self, features: Sequence[Tensor], index: Tensor, views: int) -> None:
        """Keep what a micro-batch shows for :meth:`learn_`.

        Args:
            features: (..., F) of each of the encoder's passes. The first are of the views, in their order; what
                follows are mixtures.
            index: (b,) int64 images.
            views: of each image.
        """
        rows = torch.cat([one.detach() for one in features])[: views * len(index)]
        # Views of an image beside each other, so that ranks and micro-batches join to the order of the whole batch.
        rows = rows.view(views, len(index), -1).transpose(0, 1).flatten(0, 1)
        self._seen.append((rows, index.repeat_interleave(views)))

    def learn_(self, factor: float, at: Progress) -> None:
        """Judge the heads on what was seen since the last call, then teach them one step.

        Args:
            factor: the learning rate, as a share of its highest.
            at: the step.
        """
        x, index = (distributed.gather(torch.cat(parts)) for parts in zip(*self._seen))
        self._seen.clear()
        x = x.float()
        self._judge_(x, self.judging[index])
        self.heads.train()
        with torch.enable_grad(), own_random(x.device, self.seed, "online heads", at.total_step):
            logits = [head(x) for head in self.heads.values()]
            loss = torch.stack([losses.clipped_cross_entropy(z, self.teaching[index]) for z in logits]).sum()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def _judge_(self, x: Tensor, labels: Tensor) -> None:
        self.heads.eval()
        right = torch.stack([head(x).argmax(1) == labels for head in self.heads.values()])
        self.right += right.sum(1)
        self.judged += (labels >= 0).sum()

    def accuracies_(self) -> dict[str, float]:
        """Give ``linear_monitor`` and ``mlp_monitor``, shares of the judged that were right; count anew."""
        shares = (self.right / self.judged.clamp(min=1)).tolist()
        self.right.zero_()
        self.judged.zero_()
        return {f"{name}_monitor": share for name, share in zip(self.heads, shares)}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        counts = {"right": self.right, "judged": self.judged}
        return {"heads": self.heads.state_dict(), "optimizer": self.optimizer.state_dict(), **counts}

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state; heads that it has not begin as they were drawn."""
        if not state:
            return
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.right.copy_(state["right"])
        self.judged.copy_(state["judged"])
