"""Multi-label classification: a linear classifier on a feature map of a frozen network, trained by SGD."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viewkin import metrics
from viewkin.augment.policies import Policy
from viewkin.augment.views import ViewMaker
from viewkin.data.source import Source
from viewkin.encode.features import frozen
from viewkin.evaluation.labels import binary_targets, labels_of
from viewkin.evaluation.network import (
    BLOCK,
    Network,
    Precision,
    TrainingBatches,
    autocast,
    check_unchanged,
    train_view_policy,
)
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import progress_bar
from viewkin.settings import Count, Momentum, NotNegative, Positive, Settings, Share, WholeNumber


@dataclass(frozen=True, kw_only=True)
class MultilabelConfig(Settings):
    """VOC07 classification as InvP's authors run it."""

    block: Count = 2
    """Block whose feature map is used, counted from the last block, which is 1."""
    side: Count = 2
    """The map is average-pooled to ``side`` x ``side``."""
    learning_rate: Positive = 3.0
    """Initial learning rate."""
    momentum: Momentum = 0.9
    """Momentum of SGD."""
    weight_decay: NotNegative = 1e-6
    """L2 penalty on weights and biases."""
    batch_size: Count = 16
    """Images per step."""
    steps: Count = 1900
    """Number of steps, independent of the number of images."""
    halve_every: Count = 760
    """The learning rate is halved every so many steps."""
    least_area: Share = 0.2
    """Smallest area of a random crop, fraction of the image."""
    crops: WholeNumber = 10
    """Number of random crops of a test image whose logits are averaged; 0: only the test view."""
    precision: Precision = "32-true"
    """Precision of the frozen network: ``32-true``, or ``bf16-mixed`` if the processor supports it."""
    seed: int = 0
    """Seed of the classifier, the order and the views."""


@dataclass(frozen=True, kw_only=True)
class MultilabelResult:
    """Average precision of the classifier after the last step."""

    precision: dict[int, float]
    """Label or column -> average precision, 0 to 1."""
    head: nn.Linear
    """The classifier of the pooled map: (B, C * side^2) -> (B, classes)."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to percent."""
        return {"mAP": 100 * sum(self.precision.values()) / len(self.precision)}


def multilabel(
    config: MultilabelConfig, network: Network, train: Source, test: Source, *, progress: bool = True
) -> MultilabelResult:
    """Train a linear classifier on a frozen network's map and measure its average precision on test, once.

    The loss is binary cross-entropy, summed over classes and averaged over images. A class that is ignored in an image
    (-1) is left out of the sum, and the test leaves the image out for that class. Average precision is not interpolated
    (as in scikit-learn), unlike that of ``svm``.

    Args:
        config: the protocol.
        network: the frozen network; it stays in evaluation mode, and a check confirms that nothing in it changed.
        train: labelled, with one or several classes per image.
        test: likewise.
        progress: show a bar after two seconds.

    Raises:
        UserError: the network has no blocks or too few, an image has no label, there are fewer than two classes, or the
            classifier diverges.

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation, 2020, and the authors' code
        (voc_linear.py).
    """
    began = time.perf_counter()
    targets, test_targets, classes, notes = binary_targets(labels_of(train), labels_of(test))
    reader = BlockReader(config, network)
    policy = train_view_policy(network.policy, least_area=config.least_area)
    with check_unchanged(network.encoder), frozen(network.encoder):
        head = _train(config, reader, policy, train, targets, progress)
        scores = _scores(config, reader, policy, head, test, progress)
    if not bool(torch.isfinite(scores).all()):
        raise UserError("the classifier diverged: give a smaller learning_rate.")
    precision: dict[int, float] = {}
    for column, label in enumerate(classes):
        counted = test_targets[:, column] >= 0
        positive = test_targets[counted, column] == 1
        precision[label] = metrics.average_precision(scores[counted, column], positive, interpolated=False)
    return MultilabelResult(precision=precision, head=head, seconds=time.perf_counter() - began, notes=notes)


class BlockReader:
    """Computes the pooled feature map of one block of a frozen network."""

    def __init__(self, config: MultilabelConfig, network: Network) -> None:
        """Find the block.

        Raises:
            UserError: the network has no blocks, or too few.
        """
        blocks: Callable[[Tensor], dict[str, Tensor]] | None = getattr(network.encoder, "blocks", None)
        if blocks is None:
            raise UserError("this backbone has no blocks, so multilabel cannot judge it: take a ResNet of viewkin's.")
        self.config, self.network, self.blocks = config, network, blocks
        network.encoder.to(network.device)
        size = network.image_size
        with frozen(network.encoder):
            maps = list(blocks(torch.zeros(1, 3, size, size, device=network.device)).values())
        require(config.block <= len(maps), "block", config.block, f"at most {len(maps)}, all that this network has")
        self.dims = maps[-config.block].shape[1] * config.side**2

    @torch.no_grad()
    def __call__(self, views: Tensor) -> Tensor:
        """(B, 3, h, w) normalised -> (B, dims) float32."""
        with autocast(self.config.precision, self.network.device):
            maps = list(self.blocks(views).values())
        return F.adaptive_avg_pool2d(maps[-self.config.block].float(), self.config.side).flatten(1)


def _train(
    config: MultilabelConfig, reader: BlockReader, policy: Policy, train: Source, targets: Tensor, progress: bool
) -> nn.Linear:
    """Train the classifier; the smaller last batch of an epoch is a step too."""
    network = reader.network
    batches = TrainingBatches(network, train, policy, batch_size=config.batch_size, seed=config.seed)
    targets = targets.to(network.device)
    with own_random(network.device, config.seed, "multilabel"):
        head = nn.Linear(reader.dims, targets.shape[1]).to(network.device)
    optimizer = torch.optim.SGD(
        head.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    with progress_bar("linear classifier", config.steps, shown=progress) as bar, torch.enable_grad():
        for step, (index, views) in zip(range(config.steps), all_epochs(batches)):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * 0.5 ** (step // config.halve_every)
            y = targets[index]
            losses = F.binary_cross_entropy_with_logits(head(reader(views)), y.clamp_min(0).float(), reduction="none")
            optimizer.zero_grad()
            (losses.where(y >= 0, 0.0).sum() / len(index)).backward()
            optimizer.step()
            bar.advance()
    return head.eval()


def all_epochs(batches: TrainingBatches) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of epoch 0, 1, 2, ... without end."""
    for epoch in itertools.count():
        yield from batches.epoch(epoch)


@torch.no_grad()
def _scores(
    config: MultilabelConfig, reader: BlockReader, policy: Policy, head: nn.Linear, test: Source, progress: bool
) -> Tensor:
    """Mean logits (M, C) over the crops of every test image, on the CPU."""
    network = reader.network
    if not config.crops:
        return torch.cat([head(reader(views)).cpu() for views in network.test_views(test)])
    maker = ViewMaker(policy, network.image_size, {"view": "first"})
    scores: list[Tensor] = []
    with progress_bar("crops of test images", len(test), shown=progress) as bar:
        for rows, images in test.blocks(BLOCK):
            generator = generator_for(config.seed, "multilabel crops", len(scores))
            images = images.to(network.device)
            total = torch.zeros(len(images), head.out_features)
            for _ in range(config.crops):
                views = maker(images, maker.sample(len(images), generator, test.size))["view"]
                total += head(reader(views.contiguous())).cpu()
            scores.append(total / config.crops)
            bar.advance(len(rows))
    return torch.cat(scores)
