"""Protocols that run the network on images: random views for training, the test view for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from viewkin import metrics
from viewkin.augment.operations import ColourJitter, Flip, Lighting, ResizedCrop
from viewkin.augment.policies import Pipeline, Policy
from viewkin.augment.views import ViewMaker, test_view
from viewkin.data.source import Source
from viewkin.encode.features import AUTOCAST
from viewkin.evaluation.labels import number_classes
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError

BLOCK = 256
"""Images classified at once."""
Precision = Literal["32-true", "bf16-mixed"]
"""Lightning Fabric's names."""
Classify = Callable[[Tensor], Tensor]
"""(B, 3, h, w) normalised -> logits (B, C), or (B, L, C) of L classifiers."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A backbone and the preprocessing of its images."""

    encoder: nn.Module
    """(B, 3, h, w) normalised -> (B, F), with ``feature_dim`` F; no protocol changes it."""
    policy: Policy
    """Sets the test view's crop and the normalisation."""
    image_size: int
    """Side of the views, pixels."""
    device: torch.device
    """Device of the computation."""

    def test_views(self, source: Source) -> Iterator[Tensor]:
        """Yield the test views (B, 3, h, w) of a source in index order."""
        for _, images in source.blocks(BLOCK):
            yield test_view(images.to(self.device), self.image_size, self.policy).contiguous()


def train_view_policy(policy: Policy, *, least_area: float, colour: bool = False) -> Policy:
    """Random resized crop and flip, with a policy's normalisation; ``colour`` adds jitter and PCA lighting.

    References:
        InterCLR's linear classification: jitter (.4, .4, .4, 0), lighting of deviation 0.1.
    """
    pipeline: Pipeline = (ResizedCrop(scale=(least_area, 1.0)), Flip())
    if colour:
        pipeline += (ColourJitter(hue=0.0), Lighting())
    return replace(policy, first=pipeline, second=pipeline, weak=pipeline[:2], shared=())


class TrainingBatches:
    """Training batches with a new order each epoch and one random view per image.

    They are a function of (seed, epoch, step). The last batch of an epoch may be smaller. A last batch of one image is
    left out if the epoch has others, since BatchNorm cannot compute statistics from one row.
    """

    def __init__(self, network: Network, source: Source, policy: Policy, *, batch_size: int, seed: int) -> None:
        """Plan batches of ``batch_size`` images, or of all images if there are fewer."""
        self.network, self.source, self.batch_size, self.seed = network, source, batch_size, seed
        self.maker = ViewMaker(policy, network.image_size, {"view": "first"})
        full, rest = divmod(len(source), batch_size)
        self.steps = full + (rest > 1 or not full)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (index (B,), views (B, 3, h, w)) of every step, on the network's device."""
        order = torch.randperm(len(self.source), generator=generator_for(self.seed, "lesson order", epoch))
        parts = order.split(self.batch_size)[: self.steps]
        for step, (index, images) in enumerate(zip(parts, self.source.batches(parts), strict=True)):
            generator = generator_for(self.seed, "lesson views", epoch * self.steps + step)
            draws = self.maker.sample(len(index), generator, self.source.size)
            views = self.maker(images.to(self.network.device), draws)["view"]
            # Views are channels_last, which narrow networks cannot always take.
            yield index.to(self.network.device), views.contiguous()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the autocast context of a precision."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


@torch.no_grad()
def top_classes(network: Network, source: Source, classify: Classify, k: int) -> Tensor:
    """Return the k best classes of every image's test view, best first: (N, k) or (N, L, k), on the CPU."""
    return torch.cat([classify(views).topk(k, dim=-1).indices.cpu() for views in network.test_views(source)])


def number_training_classes(source: Source) -> tuple[Tensor, Tensor]:
    """Number the classes of labelled training images 0..C-1: (labels (N,), positions (N,)).

    Raises:
        UserError: an image has no label, or there is a single class.
    """
    if source.labels is None or int(source.labels.min()) < 0:
        raise UserError(f"some images of {source.name} have no label: take the labelled ones only.")
    classes, positions = torch.unique(source.labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"the training images of {source.name} are all of one class: two at least are needed.")
    return source.labels, positions


def top1_and_top5(best: Tensor, train: Tensor, source: Source) -> tuple[float, float, tuple[str, ...]]:
    """Compare the best classes (N, k) with a test source's labels, which are read only here.

    Args:
        best: (N, k) positions of the classes, best first.
        train: labels of the training images, which define the positions.
        source: the test images.

    Returns:
        Top-1 and top-k accuracy, 0 to 1, and notes.
    """
    if source.labels is None:
        raise UserError(f"{source.name} has no labels.")
    _, _, test_y, notes = number_classes(train, source.labels)
    return metrics.accuracy(best[:, 0], test_y), metrics.accuracy(best, test_y), notes


@contextmanager
def check_unchanged(module: nn.Module) -> Generator[None]:
    """Check that no weight and no buffer of a module changes inside the block.

    Raises:
        RuntimeError: one changed, which is an error in this library.
    """
    before = {name: value.clone() for name, value in module.state_dict().items()}
    yield
    now: dict[str, Any] = module.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    if changed:
        raise RuntimeError(f"a frozen network changed while it was judged: {', '.join(changed[:3])}")
