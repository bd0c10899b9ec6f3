"""A linear classifier that judges every image without having seen it: cross-validated logistic regression.

The images are dealt into five parts, class by class. A classifier is taught by four parts and judges the fifth. Vectors
are reduced to their 256 main directions, which costs no accuracy here and makes it five times as fast.

Letters: N images, D numbers of a vector, C classes, R numbers of a reduced vector.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from viewkin.runtime.draws import generator_for
from viewkin.runtime.progress import counting

PARTS = 5
"""Parts that the images are dealt into."""
WIDTH = 256
"""R at most."""
ROUNDS = 60
"""Rounds of L-BFGS."""


def held_out_probabilities(vectors: Tensor, labels: Tensor, classes: int, seed: int = 0) -> Tensor:
    """Give the probability of each class for each image, by classifiers that were taught by others: (N, C) float32.

    Args:
        vectors: (N, D) unit norm.
        labels: (N,) int64.
        classes: C.
        seed: of the parts.
    """
    rows = reduced(vectors)
    part = dealt(labels, seed)
    probability = torch.empty(len(rows), classes)
    for (one,) in counting(([number] for number in range(PARTS)), "Judging labels", PARTS):
        mine = part == one
        if bool(mine.any()):
            weight, bias = taught(rows[~mine], labels[~mine], classes)
            probability[mine] = (rows[mine] @ weight + bias).softmax(1)
    return probability


def dealt(labels: Tensor, seed: int) -> Tensor:
    """Deal images into parts, so that each has nearly as many of each class: (N,) int64."""
    order = torch.randperm(len(labels), generator=generator_for(seed, "parts"))
    by_class = order[labels[order].argsort(stable=True)]
    part = torch.empty_like(labels)
    part[by_class] = torch.arange(len(labels)) % PARTS
    return part


def reduced(vectors: Tensor) -> Tensor:
    """Subtract the mean, scale to length 1, and keep the main directions: (N, R)."""
    rows = functional.normalize(vectors - vectors.mean(0), dim=1)
    if rows.shape[1] <= WIDTH:
        return rows
    _, directions = torch.linalg.eigh((rows.T @ rows).double())
    return rows @ directions[:, -WIDTH:].float()


@torch.enable_grad()
def taught(rows: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Minimise the mean cross-entropy plus ``|W|^2 / (2 N)``: weight (R, C) and bias (C,)."""
    weight = torch.zeros(rows.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        value = functional.cross_entropy(rows @ weight + bias, labels) + weight.square().sum() / (2 * len(rows))
        value.backward()
        return value

    optimiser.step(loss)
    return weight.detach(), bias.detach()
