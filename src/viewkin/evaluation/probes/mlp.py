"""AMDIM's two evaluation heads on cached features: a linear layer, and an MLP with one hidden layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.evaluation.labels import check_features, train_and_test
from viewkin.runtime.draws import generator_for, own_random
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.schedules import step_decay, warmup
from viewkin.settings import (
    BatchSize,
    Count,
    Epochs,
    Milestones,
    Momentum,
    NotNegative,
    Positive,
    Settings,
    WholeNumber,
)

Recalibrate = Literal["none", "train", "test"]
Views = Literal["test", "augmented"]
FEW_STEPS = 1000
"""With fewer steps at the published rate, heads stay close to their initial weights; the papers use at least 1,320."""


@dataclass(frozen=True, kw_only=True)
class MlpConfig(Settings):
    """AMDIM's heads, by default as on CIFAR and STL-10."""

    hidden: Count = 1024
    """Width of the MLP's hidden layer."""
    dropout: Momentum = 0.2
    """Dropout probability of the MLP's inputs and hidden units."""
    epochs: Epochs = 120
    """Passes over the training features."""
    batch_size: BatchSize = 480
    """Images per step."""
    learning_rate: Positive = 2e-4
    """Adam's rate, absolute."""
    betas: tuple[Momentum, Momentum] = (0.8, 0.999)
    """Decay rates of Adam's two moving averages."""
    weight_decay: NotNegative = 1e-5
    """L2 penalty, added to the gradient."""
    milestones: Milestones = (80, 110)
    """Epochs after which the learning rate falls."""
    factor: Positive = 0.2
    """Factor of the learning rate at each milestone."""
    warmup_steps: WholeNumber = 500
    """Steps of linear warm-up, at most a tenth of all steps."""
    views: Views = "test"
    """Training views: ``test`` encodes every training image once by the test view; ``augmented`` encodes a new random
    view of each image every epoch, by the policy of pre-training (published; one pass of the network per epoch)."""
    bn_recalibrate: Recalibrate = "none"
    """Images whose first 50 batches update the network's BatchNorm statistics before features are computed: ``none``,
    ``train`` or ``test``. The release uses ``test``, which lets test images into the network."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and the dropout."""

    def rate(self, step: int, per_epoch: int) -> float:
        """Learning rate of a step, counted from 0."""
        length = min(self.warmup_steps, self.epochs * per_epoch // 10)
        decay = step_decay(step // per_epoch, self.milestones, self.factor)
        return self.learning_rate * warmup(step + 1, length) * decay


MLP_PRESETS = {
    "cifar": MlpConfig(views="augmented"),
    "imagenet": MlpConfig(views="augmented", epochs=30, milestones=(15, 25)),
    "places": MlpConfig(views="augmented", epochs=15, milestones=(7, 12)),
}
"""Name to published settings."""


@dataclass(frozen=True, kw_only=True)
class MlpResult:
    """Accuracy of the two heads after the last epoch."""

    top1: dict[str, float]
    """Head (``mlp`` or ``linear``) -> top-1 accuracy on test, 0 to 1."""
    top5: dict[str, float]
    """Fraction of test images with the right class among the five best (all, if there are fewer), 0 to 1."""
    predicted: dict[str, Tensor]
    """(M,) predicted labels, in the values of the training labels."""
    heads: nn.ModuleDict
    """The trained heads, (B, D) -> (B, C), in evaluation mode."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to percent."""
        return {
            f"{head} top-{k}": 100 * accuracy[head]
            for head in self.top1
            for k, accuracy in ((1, self.top1), (5, self.top5))
        }


def mlp(
    config: MlpConfig,
    train: Tensor | Callable[[int], Tensor],
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    progress: bool = True,
) -> MlpResult:
    """Train both heads on frozen features and measure them on test, once, after the last epoch.

    The published protocol uses a new augmented view of each image every epoch; for that, give ``train`` as a function
    of the epoch. The release also re-estimates BatchNorm statistics on 50 batches of *test* images before each test,
    and lets the encoder's statistics change while the heads train. Neither is done here: nothing is fitted on test.

    Args:
        config: the protocol.
        train: (N, D) features, or epoch -> (N, D) features of that epoch's views; their device is used.
        train_labels: (N,) non-negative integers, any values.
        test: (M, D).
        test_labels: (M,); a class that no training image has counts as an error.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes do not match, features are not finite, an image has no label, or heads that diverge.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019,
        and the released code.
    """
    began = time.perf_counter()
    first = train(0) if callable(train) else train
    data = train_and_test(first, train_labels, test, test_labels)

    def features_of_epoch(epoch: int) -> Tensor:
        if not callable(train) or not epoch:
            return data.train
        x = train(epoch)
        check_features("training", x)
        return x.to(data.train.device, torch.float32)

    if len(data.train) < 2:
        raise UserError("one training image is too few for the MLP's BatchNorm: give two at least.")
    with own_random(data.train.device, config.seed, "mlp"):
        heads = evaluation_heads(config, data.train.shape[1], len(data.classes)).to(data.train.device)
        _fit_(config, heads, features_of_epoch, data.y, progress)
    measured = {name: data.classify_test(head) for name, head in heads.items()}
    return MlpResult(
        top1={name: top1 for name, (top1, _, _) in measured.items()},
        top5={name: top5 for name, (_, top5, _) in measured.items()},
        predicted={name: predicted for name, (_, _, predicted) in measured.items()},
        heads=heads,
        seconds=time.perf_counter() - began,
        notes=(*data.notes, *_few_steps(config, len(data.train))),
    )


def _few_steps(config: MlpConfig, images: int) -> tuple[str, ...]:
    """Warn if the heads had too few steps: Adam changes a weight by about the learning rate per step."""
    steps = config.epochs * _steps(config, images)
    if steps >= FEW_STEPS or config.learning_rate > 2e-4:
        return ()
    return (
        f"{steps} steps at a rate of {config.learning_rate:g} are too few to fit the linear head, so it says little of "
        "these features: give more epochs or a larger learning_rate.",
    )


def _steps(config: MlpConfig, images: int) -> int:
    """Steps of an epoch; a last batch of one row is left out, since BatchNorm has no statistics of it."""
    full, rest = divmod(images, config.batch_size)
    return full + (rest > 1)


def evaluation_heads(config: MlpConfig, dim: int, classes: int) -> nn.ModuleDict:
    """Build ``mlp`` and ``linear``: (B, D) -> (B, C)."""
    hidden = nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(dim, config.hidden, bias=False),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, classes),
    )
    return nn.ModuleDict({"mlp": hidden, "linear": nn.Linear(dim, classes)})


def heads_optimizer(config: MlpConfig, heads: nn.ModuleDict) -> torch.optim.Adam:
    """Build the optimiser that heads are trained with."""
    return torch.optim.Adam(
        heads.parameters(), config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )


def _fit_(
    config: MlpConfig, heads: nn.ModuleDict, features: Callable[[int], Tensor], y: Tensor, progress: bool
) -> None:
    """Train the heads on the features (N, D) of each epoch; they share only the batches."""
    optimizer = heads_optimizer(config, heads)
    per_epoch, step = _steps(config, len(y)), 0
    total = torch.zeros((), device=y.device)
    with progress_bar("evaluation heads", config.epochs * per_epoch, shown=progress) as bar:
        for epoch in range(config.epochs):
            x = features(epoch)
            order = torch.randperm(len(x), generator=generator_for(config.seed, "mlp order", epoch)).to(x.device)
            for rows in order.split(config.batch_size)[:per_epoch]:
                for group in optimizer.param_groups:
                    group["lr"] = config.rate(step, per_epoch)
                total = sum(
                    (losses.clipped_cross_entropy(head(x[rows]), y[rows]) for head in heads.values()),
                    start=x.new_zeros(()),
                )
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                step += 1
            bar.advance(per_epoch)
    heads.eval()
    if not torch.isfinite(total):
        raise UserError("the evaluation heads diverged: give a smaller learning_rate.")
