"""A network that sees images while it is judged: random views to teach it, the test view to measure it."""

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
from viewkin.evaluation.labels import to_positions
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError

BLOCK = 256
"""Images classified at once."""
Precision = Literal["32-true", "bf16-mixed"]
"""As Lightning Fabric spells it."""
Classify = Callable[[Tensor], Tensor]
"""(B, 3, h, w) normalised -> logits (B, C), or (B, L, C) of L classifiers."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A backbone and how it wants to see images."""

    encoder: nn.Module
    """(B, 3, h, w) normalised -> (B, F), with ``feature_dim`` F; no protocol changes it."""
    policy: Policy
    """Where the test view's crop and the normalisation come from."""
    image_size: int
    """Side of the views, pixels."""
    device: torch.device
    """Where the work is done."""

    def test_views(self, source: Source) -> Iterator[Tensor]:
        """Go through a source in index order by the test view: (B, 3, h, w)."""
        for _, images in source.blocks(BLOCK):
            yield test_view(images.to(self.device), self.image_size, self.policy).contiguous()


def teaching_policy(policy: Policy, *, least_area: float, colour: bool = False) -> Policy:
    """Random resized crop and flip, with a policy's statistics; ``colour`` adds jitter and PCA lighting.

    References:
        InterCLR's linear classification, METHODS 8.2: jitter (.4, .4, .4, 0), lighting of deviation 0.1.
    """
    pipeline: Pipeline = (ResizedCrop(scale=(least_area, 1.0)), Flip())
    if colour:
        pipeline += (ColourJitter(hue=0.0), Lighting())
    return replace(policy, first=pipeline, second=pipeline, weak=pipeline[:2], shared=())


class Lessons:
    """The batches that teach: a new order each epoch, one random view an image, all a function of (seed, epoch, step).

    The last batch of an epoch may be smaller; a single row is left out where there are others, since BatchNorm has no
    statistics of one.
    """

    def __init__(self, network: Network, source: Source, policy: Policy, *, batch_size: int, seed: int) -> None:
        """Plan batches of ``batch_size`` images, or of all where there are fewer."""
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
            # Views come in channels_last, which narrow networks cannot always take.
            yield index.to(self.network.device), views.contiguous()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Do matrix products in a precision."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


@torch.no_grad()
def ranked(network: Network, source: Source, classify: Classify, k: int) -> Tensor:
    """Give the k best classes of every image by the test view, best first: (N, k) or (N, L, k), on the CPU."""
    return torch.cat([classify(views).topk(k, dim=-1).indices.cpu() for views in network.test_views(source)])


def class_positions(source: Source) -> tuple[Tensor, Tensor]:
    """Number the classes of labelled training images 0..C-1: (labels (N,), positions (N,)).

    Raises:
        UserError: no labels, or a single class.
    """
    if source.labels is None or int(source.labels.min()) < 0:
        raise UserError(f"some images of {source.name} have no label: take the labelled ones only.")
    classes, positions = torch.unique(source.labels, return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"the training images of {source.name} are all of one class: two at least are needed.")
    return source.labels, positions


def shares_right(best: Tensor, train: Tensor, source: Source) -> tuple[float, float, tuple[str, ...]]:
    """Compare ranked classes (N, k) with a test source's labels, read here for the first time: top-1, top-5, notes."""
    if source.labels is None:
        raise UserError(f"{source.name} has no labels.")
    _, _, wanted, notes = to_positions(train, source.labels)
    return metrics.accuracy(best[:, 0], wanted), metrics.accuracy(best, wanted), notes


@contextmanager
def unchanged(module: nn.Module) -> Generator[None]:
    """Check that not a bit of a module's weights and buffers changes meanwhile.

    Raises:
        RuntimeError: it did, which is a fault of this library.
    """
    before = {name: value.clone() for name, value in module.state_dict().items()}
    yield
    now: dict[str, Any] = module.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    if changed:
        raise RuntimeError(f"a frozen network changed while it was judged: {', '.join(changed[:3])}")
