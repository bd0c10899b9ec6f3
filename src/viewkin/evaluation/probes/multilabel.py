"""One linear classifier for images that show several classes, on a map of a frozen network, by SGD."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viewkin import metrics
from viewkin.augment.policies import Policy
from viewkin.augment.views import ViewMaker
from viewkin.data.source import Source
from viewkin.encode.features import frozen
from viewkin.evaluation.labels import labels_of, targets_of
from viewkin.evaluation.network import BLOCK, Lessons, Network, Precision, autocast, teaching_policy, unchanged
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import LateBar


@dataclass(frozen=True, kw_only=True)
class MultilabelConfig:
    """VOC07 classification as InvP's authors run it."""

    block: int = 2
    """Which block's map is read, counted from the last, which is 1."""
    side: int = 2
    """Side of the squares that it is pooled to."""
    learning_rate: float = 3.0
    """Rate of the first steps."""
    momentum: float = 0.9
    """Weight of the old velocity."""
    weight_decay: float = 1e-6
    """L2 penalty on weights and biases."""
    batch_size: int = 16
    """Images a step."""
    steps: int = 1900
    """Steps, however many images there are."""
    halve_every: int = 760
    """Steps after which the rate is halved, each time."""
    least_area: float = 0.2
    """Least area of a random crop, fraction of the image."""
    crops: int = 10
    """Random crops of a test image whose logits are averaged; 0: the test view alone."""
    precision: Precision = "32-true"
    """Of the frozen network: ``32-true``, or ``bf16-mixed`` where the processor has it."""
    seed: int = 0
    """Seed of the classifier, the order and the views."""

    def __post_init__(self) -> None:
        for name in ("block", "side", "batch_size", "steps", "halve_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        require(0 < self.least_area <= 1, "least_area", self.least_area, "above 0 and at most 1")
        require(self.crops >= 0, "crops", self.crops, "at least 0")
        require(self.precision in get_args(Precision), "precision", self.precision, "32-true or bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class MultilabelResult:
    """What the classifier found on test, after the last step."""

    precision: dict[int, float]
    """Label or column -> average precision, 0 to 1."""
    head: nn.Linear
    """The classifier of the pooled map: (B, C * side^2) -> (B, classes)."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

    def values(self) -> dict[str, float]:
        """Name to percent."""
        return {"mAP": 100 * sum(self.precision.values()) / len(self.precision)}


def multilabel(
    config: MultilabelConfig, network: Network, train: Source, test: Source, *, progress: bool = True
) -> MultilabelResult:
    """Train a linear classifier on a frozen network's map and measure its average precision on test, once.

    The loss is binary cross-entropy, summed over classes and averaged over images; a class that is to be ignored in an
    image (-1) is left out of the sum, and the test leaves the image out for that class. Precision is the plain area
    under its steps (scikit-learn's), not the interpolated one of ``svm``.

    Args:
        config: the protocol.
        network: whose map is judged; it stays in evaluation mode, and a check confirms that not a bit of it changed.
        train: labelled, with one class or several an image.
        test: likewise.
        progress: show a bar after two seconds.

    Raises:
        UserError: a network without blocks or with too few, images without labels, fewer than two classes, or a
            classifier that diverges.

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation, 2020, and the authors' code
        (voc_linear.py); METHODS 3.6.
    """
    began = time.perf_counter()
    targets, wanted, classes, notes = targets_of(labels_of(train), labels_of(test))
    reader = Reader(config, network)
    policy = teaching_policy(network.policy, least_area=config.least_area)
    with unchanged(network.encoder), frozen(network.encoder):
        head = _taught(config, reader, policy, train, targets, progress)
        scores = _scores(config, reader, policy, head, test, progress)
    if not bool(torch.isfinite(scores).all()):
        raise UserError("the classifier diverged: give a smaller learning_rate.")
    precision: dict[int, float] = {}
    for column, label in enumerate(classes):
        counted = wanted[:, column] >= 0
        positive = wanted[counted, column] == 1
        precision[label] = metrics.average_precision(scores[counted, column], positive, interpolated=False)
    return MultilabelResult(precision=precision, head=head, seconds=time.perf_counter() - began, notes=notes)


class Reader:
    """Reads the pooled map of one block of a frozen network."""

    def __init__(self, config: MultilabelConfig, network: Network) -> None:
        """Find the block.

        Raises:
            UserError: the network has no blocks, or too few.
        """
        found: Callable[[Tensor], dict[str, Tensor]] | None = getattr(network.encoder, "blocks", None)
        if found is None:
            raise UserError("this backbone has no blocks, so multilabel cannot judge it: take a ResNet of viewkin's.")
        self.config, self.network, self.blocks = config, network, found
        network.encoder.to(network.device)
        size = network.image_size
        with frozen(network.encoder):
            maps = list(found(torch.zeros(1, 3, size, size, device=network.device)).values())
        require(config.block <= len(maps), "block", config.block, f"at most {len(maps)}, all that this network has")
        self.dims = maps[-config.block].shape[1] * config.side**2

    @torch.no_grad()
    def __call__(self, views: Tensor) -> Tensor:
        """(B, 3, h, w) normalised -> (B, dims) float32."""
        with autocast(self.config.precision, self.network.device):
            maps = list(self.blocks(views).values())
        return F.adaptive_avg_pool2d(maps[-self.config.block].float(), self.config.side).flatten(1)


def _taught(
    config: MultilabelConfig, reader: Reader, policy: Policy, train: Source, targets: Tensor, progress: bool
) -> nn.Linear:
    """Train the classifier; the smaller last batch of an epoch is a step as well."""
    network = reader.network
    lessons = Lessons(network, train, policy, batch_size=config.batch_size, seed=config.seed)
    targets = targets.to(network.device)
    with own_random(network.device, config.seed, "multilabel"):
        head = nn.Linear(reader.dims, targets.shape[1]).to(network.device)
    optimizer = torch.optim.SGD(
        head.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    with LateBar("linear classifier", config.steps, shown=progress) as bar, torch.enable_grad():
        for step, (index, views) in zip(range(config.steps), endless(lessons)):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * 0.5 ** (step // config.halve_every)
            y = targets[index]
            losses = F.binary_cross_entropy_with_logits(head(reader(views)), y.clamp_min(0).float(), reduction="none")
            optimizer.zero_grad()
            (losses.where(y >= 0, 0.0).sum() / len(index)).backward()
            optimizer.step()
            bar.advance()
    return head.eval()


def endless(lessons: Lessons) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through epoch after epoch."""
    for epoch in itertools.count():
        yield from lessons.epoch(epoch)


@torch.no_grad()
def _scores(
    config: MultilabelConfig, reader: Reader, policy: Policy, head: nn.Linear, test: Source, progress: bool
) -> Tensor:
    """Logits (M, C) of every test image, the mean over its crops, on the CPU."""
    network = reader.network
    if not config.crops:
        return torch.cat([head(reader(views)).cpu() for views in network.test_views(test)])
    maker = ViewMaker(policy, network.image_size, {"view": "first"})
    found: list[Tensor] = []
    with LateBar("crops of test images", len(test), shown=progress) as bar:
        for rows, images in test.blocks(BLOCK):
            generator = generator_for(config.seed, "multilabel crops", len(found))
            images = images.to(network.device)
            total = torch.zeros(len(images), head.out_features)
            for _ in range(config.crops):
                views = maker(images, maker.sample(len(images), generator, test.size))["view"]
                total += head(reader(views.contiguous())).cpu()
            found.append(total / config.crops)
            bar.advance(len(rows))
    return torch.cat(found)
