"""Losses of methods that cluster or label: aggregation, neighbourhoods, weights of classes, balanced labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from viewkin.ops.precision import at_least_float32

LEAST = 1e-7
"""Added to a probability before its logarithm, as in the release of Local Aggregation."""


def aggregation_loss(similarity: Tensor, close: Tensor, temperature: float) -> Tensor:
    """``-log( sum_close e^(s/tau) / sum_background e^(s/tau) + 1e-7 )``: (B,).

    Args:
        similarity: (B, M) of a query to the M nearest images, its background.
        close: (B, M) bool, which of these share a cluster with the query's image.
        temperature: tau, dimensionless.

    References:
        Zhuang, Zhai, Yamins, Local Aggregation for Unsupervised Learning of Visual Embeddings, 2019, equation 3.
    """
    logits = at_least_float32(similarity) / temperature
    none = ~close.any(1)
    near = logits.masked_fill(~close & ~none.unsqueeze(1), -torch.inf).logsumexp(1)
    ratio = (near - logits.logsumexp(1)).exp().masked_fill(none, 0)
    return -(ratio + LEAST).log()


def neighbourhood_loss(log_probability: Tensor, own: Tensor, neighbour: Tensor, anchor: Tensor) -> Tensor:
    """``-log(P(i) + P(j))`` of anchors with their neighbour j, ``-log P(i)`` of all others: (B,).

    Args:
        log_probability: (B,) log P(i) of the own row in the softmax over all rows.
        own: (B,) logit of the own row.
        neighbour: (B,) logit of the neighbour's row; without meaning where there is none.
        anchor: (B,) bool, whether the image is an anchor.

    References:
        Huang, Dong, Gong and Zhu, Unsupervised Deep Learning by Neighbourhood Discovery, 2019, equation 4.
    """
    together = log_probability + functional.softplus(neighbour - own)
    return -torch.where(anchor, together, log_probability)


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Weights of classes by their sizes, ``n_c^-power`` scaled to sum 1: (C,) -> (C,) float64; an empty class weighs 0.

    References:
        Zhan et al., Online Deep Clustering, 2020, section 3.3: power 1/2. Power 1 weighs images as DeepCluster's
        sampler, uniform over clusters, draws them.
    """
    weights = torch.where(counts > 0, counts.double().clamp(min=1) ** -power, 0)
    return weights / weights.sum()


def balanced_assignment(logits: Tensor, strength: float, tolerance: float = 0.1, rounds: int = 2000) -> Tensor:
    """Assign N images to K classes of equal size, near the classifier's opinion: Sinkhorn and Knopp's algorithm.

    Rows and columns of ``P^lambda`` are scaled in turn until each class holds N / K images. Ten rounds at a time are
    products with a matrix whose sums are already near to what they have to be, so that nothing that matters underflows;
    between them factors are added to the scores in the log domain. A round of logarithms would take many times as long.

    Args:
        logits: (N, K) of the classifier.
        strength: lambda; larger is nearer to the exact transport.
        tolerance: ends when the images' scaling factors change by less than this, summed; tried every ten rounds.
        rounds: largest number of rounds, ten at least.

    Returns:
        (N, K) float64, log Q; an image's label is its largest entry.

    References:
        Asano, Rupprecht and Vedaldi, Self-labelling via Simultaneous Clustering and Representation Learning, 2020,
        section 3.1.
    """
    scores = strength * logits.double()
    images, classes = scores.shape
    scores -= scores.logsumexp(0)
    scores -= scores.logsumexp(1, keepdim=True)
    for _ in range(rounds // 10):
        near = scores.exp()
        before = row = scores.new_ones(images)
        column = scores.new_ones(classes)
        for _ in range(10):
            column = 1 / (classes * (row @ near))
            before, row = row, 1 / (images * (near @ column))
        scores.add_(row.log().unsqueeze(1)).add_(column.log())
        if float((before / row - 1).abs().sum()) < tolerance:
            break
    return scores
