"""What is watched while training: collapse, health, and kNN where labels exist. None of it reaches a loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.probes.knn import KnnConfig, knn
from viewkin.memory.bank import FeatureBank
from viewkin.methods.base import Method, Step
from viewkin.runtime.draws import generator_for

LABELS_NEEDED = 20
"""Labelled images below which the kNN of a tenth of them would say nothing."""


def labelled(labels: Tensor | None) -> int:
    """Count the images that have a label."""
    return 0 if labels is None else int((labels >= 0).sum())


def health(step: Step) -> dict[str, float]:
    """Measure one micro-batch.

    Returns:
        ``spread``: per-dimension standard deviation of the record's embeddings x sqrt(D): 1 when they fill the sphere,
        0 when all are one vector; ``effective_rank``: dimensions in use, 1 to min(B, D); ``pair_accuracy``, for a
        method that compares views: share of queries whose own key is the nearest of the batch's keys, a label-free
        sign of learning.
    """
    z = step.record["embedding"].detach().float()
    values = {
        "spread": float(metrics.per_dimension_std(z).mean() * z.shape[1] ** 0.5),
        "effective_rank": float(metrics.effective_rank(z)),
    }
    if step.pairs:
        q, k = (side.detach().float() for side in step.pairs[0])
        nearest = (q @ k.T).argmax(1)
        values["pair_accuracy"] = float((nearest == torch.arange(len(q), device=q.device)).float().mean())
    return values


def warning_of(values: Mapping[str, float], batch_size: int, *, complete: bool = True) -> str | None:
    """Say in plain words what looks wrong, if something does; ``complete``: no term waits for its ramp."""
    if values["spread"] < 0.1:
        return (
            f"The embeddings are collapsing: all images get nearly the same vector (spread {values['spread']:.3f}, "
            "healthy is near 1). Lower optim.lr, lengthen schedule.warmup_epochs, or use a larger batch."
        )
    if values["effective_rank"] < min(3.0, batch_size / 4):
        return (
            f"The embeddings use only {values['effective_rank']:.1f} dimensions. Features may be poor: "
            "raise method.temperature, strengthen the augmentation, or train longer."
        )
    if values.get("gradient_norm", 1.0) > 1e3:
        return f"The gradient is very large (norm {values['gradient_norm']:.0f}); lower optim.lr if the loss rises."
    idle = [name for name, norm in values.items() if name.startswith("gradient/") and norm == 0]
    if idle and complete:
        terms = " and ".join(name.removeprefix("gradient/") for name in idle)
        return (
            f"Nothing is learnt from {terms}: the norm of its own gradient is 0. Its weight or temperature leaves "
            "nothing of it, or it finds nothing to compare with in its memory."
        )
    return None


def kinship(related: Mapping[str, Tensor], index: Tensor, labels: Tensor) -> dict[str, float]:
    """Check by labels the positives and negatives of inter-image terms; the anchor itself does not count.

    Args:
        related: ``term/what`` to (B, n) int64 images, -1 for none; ``Step.related``.
        index: (B,) int64 anchors.
        labels: (N,) int64, negative for images without a label.

    Returns:
        ``term/what_purity``, the fraction of positives that have the anchor's label; or, if ``what`` begins with
        ``negatives``, ``term/what_false``, the fraction of negatives that have it.
    """
    report: dict[str, float] = {}
    for name, images in related.items():
        own = labels[index].unsqueeze(1)
        theirs = labels[images.clamp(min=0)]
        counts = (images >= 0) & (images != index.unsqueeze(1)) & (theirs >= 0) & (own >= 0)
        if counts.any():
            word = "false" if name.rpartition("/")[2].startswith("negatives") else "purity"
            report[f"{name}_{word}"] = float((theirs == own)[counts].float().mean())
    return report


def term_gradients(step: Step, weight: Tensor) -> dict[str, Tensor]:
    """Norm of each term's own gradient at a weight that all pass through; 0 means that a term teaches nothing.

    Only where there are several terms: of a single one the gradient norm says it.
    """
    if len(step.terms) < 2:
        return {}
    norms: dict[str, Tensor] = {}
    for name, term in step.terms.items():
        gradient = torch.autograd.grad(term, weight, retain_graph=True, materialize_grads=True)[0]
        norms[f"gradient/{name}"] = gradient.detach().norm()
    return norms


class KnnMonitor:
    """kNN accuracy of held-out train images among the other train images, from memory: no image is encoded for it.

    Reads the method's own bank; a method without one gets a bank here, written with what it remembers. Features are of
    augmented views and older weights, so this follows training and is never a result.
    """

    def __init__(self, method: Method, labels: Tensor, dim: int, seed: int) -> None:
        """Hold out a tenth of the labelled images, at most 1,000, as queries whose labels never vote."""
        labels = labels.cpu()
        labelled = (labels >= 0).nonzero().squeeze(1)
        order = labelled[torch.randperm(len(labelled), generator=generator_for(seed, "monitor"))]
        held = max(min(len(order) // 10, 1000), 1)
        self.queries, self.references = order[:held], order[held:]
        self.labels = labels
        own = method.bank
        self.shared = own is not None
        self.bank = own if own is not None else FeatureBank(len(labels), dim)

    def write_(self, record: Mapping[str, Tensor]) -> None:
        """Write what the step remembered, where the method keeps no bank itself."""
        if not self.shared:
            self.bank.write_(record["index"], record["embedding"].float())

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {} if self.shared else self.bank.state_dict()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's state."""
        if state and not self.shared:
            self.bank.load_state_dict(state)

    def accuracy(self) -> float:
        """Top-1 share of the held-out images that a weighted vote of 200 neighbours names rightly."""
        rows = self.bank.everything()
        config = KnnConfig(k=(min(200, len(self.references)),), temperature=0.1)
        queries, references = self.queries.to(rows.device), self.references.to(rows.device)
        labels = self.labels.to(rows.device)
        result = knn(config, rows[references].float(), labels[references], rows[queries].float(), labels[queries])
        return next(iter(result.top1.values()))
