"""A few labels passed on to the images nearest to them, with a confidence.

The k nearest labelled images vote. A vote has the weight ``exp(s / T)``, where s is the cosine after the mean of all
vectors was subtracted: without that all images are alike, and far votes weigh as much as near ones. The confidence is
the share of the winner.

References:
    Wu, Xiong, Yu and Lin, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, section 3.4
    (weighted kNN).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from viewkin.ops.neighbours import top_k

K = 10
"""Labelled images that vote."""
TEMPERATURE = 0.1
"""T, dimensionless."""


def propagated(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], k: int = K
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give each image without a label that of those nearest to it; labelled ones keep theirs, with confidence 1.

    Args:
        vectors: (N, D) unit norm.
        labels: (N,) from 0 to C - 1, -1 where an image has none; one at least has one.
        k: votes.

    Returns:
        label (N,) and confidence (N,), 0 to 1.
    """
    rows = torch.from_numpy(vectors)
    rows = functional.normalize(rows - rows.mean(0), dim=1)
    given = torch.from_numpy(labels)
    known, unknown = (given >= 0).nonzero().squeeze(1), (given < 0).nonzero().squeeze(1)
    result, confidence = given.clone(), torch.ones(len(given))
    similarity, index = top_k(rows[unknown], rows[known], k)
    weight = ((similarity - similarity[:, :1]) / TEMPERATURE).exp()
    votes = torch.zeros(len(unknown), int(given.max()) + 1)
    votes.scatter_add_(1, given[known][index], weight)
    best, winner = votes.max(1)
    result[unknown], confidence[unknown] = winner, best / votes.sum(1)
    return result.numpy(), confidence.numpy()
