"""Losses of queries and the prototypes of their clusters: PCL's, with a temperature for each prototype."""

from __future__ import annotations

import torch
from torch import Tensor

from viewkin.ops.precision import at_least_float32


def concentration(distance: Tensor, labels: Tensor, clusters: int, mean: float) -> Tensor:
    """PCL's temperature of each cluster: ``phi_c = mean_members(distance) / log(n_c + 10)``, scaled to a mean.

    A cluster of one member gets the largest value. Values are clipped to their 10th and 90th percentile, and scaled.

    Args:
        distance: (N,) Euclidean distance of each image to its centroid.
        labels: (N,) int64.
        clusters: C.
        mean: tau, mean of the result.

    Returns:
        (C,) float32 or wider; all ``mean`` where every distance is 0.

    References:
        Li et al., Prototypical Contrastive Learning, 2021, equation 12, and the released code.
    """
    distance = at_least_float32(distance)
    count = torch.bincount(labels, minlength=clusters)
    total = distance.new_zeros(clusters).index_add_(0, labels, distance)
    phi = total / count.clamp(min=1) / (count + 10.0).log()
    phi = torch.where(count > 1, phi, phi.masked_fill(count <= 1, 0).amax())
    phi = phi.clamp(*phi.quantile(phi.new_tensor([0.1, 0.9])))
    return torch.where(phi.sum() > 0, mean * phi / phi.mean(), mean)


def prototype_nce(
    q: Tensor,
    prototypes: Tensor,
    temperature: Tensor,
    own: Tensor,
    batch: Tensor,
    negatives: Tensor,
    *,
    dedup: bool = False,
) -> Tensor:
    """ProtoNCE: ``-log e^(q.c_own / phi_own) / sum_c e^(q.c / phi_c)``, c over the batch's prototypes and some others.

    Args:
        q: (B, D) unit norm, with gradient.
        prototypes: (C, D) unit norm, constant.
        temperature: (C,) phi.
        own: (B,) int64, cluster of each query.
        batch: (G,) int64, clusters of the images of the global batch, the queries' own among them.
        negatives: (R,) int64, other clusters; those of the batch are left out of them.
        dedup: whether a prototype that several images of the batch share stands in the sum once. In the released code
            it stands there as often as it occurs, and all copies but one are negatives of these images.

    Returns:
        (B,).

    References:
        Li et al., Prototypical Contrastive Learning, 2021, equation 11.
    """
    first = (batch.unsqueeze(1) == batch).int().argmax(1)  # where each cluster of the batch occurs first
    alone = first == torch.arange(len(batch), device=batch.device)
    known = torch.zeros(len(prototypes), dtype=torch.bool, device=batch.device).index_fill(0, batch, True)
    left_out = torch.cat([~alone if dedup else torch.zeros_like(alone), known[negatives]])
    columns = torch.cat([batch, negatives])
    logits = at_least_float32(q @ prototypes[columns].to(q.dtype).T) / temperature[columns]
    positive = (own.unsqueeze(1) == batch).int().argmax(1)
    return logits.masked_fill(left_out, -torch.inf).logsumexp(1) - logits.gather(1, positive.unsqueeze(1)).squeeze(1)
