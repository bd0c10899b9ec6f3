"""Fine-tune a detector from a backbone on images with boxes, and measure it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from viewkin.evaluation.detection.boxed_images import Boxed
from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.detection.faster_rcnn import build_detector
from viewkin.evaluation.detection.measures import BoxPrecision, Found, Rule, box_precision
from viewkin.runtime.draws import generator_for, seed_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import LateBar
from viewkin.schedules import step_decay, warmup

WARM_FROM = 1e-3
"""Share of the rate that the warm-up begins at (Detectron2)."""
Target = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """A fine-tuned detector and what it found on test."""

    config: DetectionConfig
    """Settings, the preset filled in."""
    precision: dict[Rule, BoxPrecision]
    """Average precision by class and threshold: by the rule asked for, then by the other."""
    classes: tuple[str, ...]
    """Class names."""
    found: tuple[Found, ...]
    """Detections, one an image of test."""
    losses: tuple[float, ...]
    """Sum of the four losses at every step."""
    detector: FasterRCNN
    """The network, on the CPU, in evaluation mode."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...]
    """What the reader of the numbers should know."""

    def values(self) -> dict[str, float]:
        """Name to percent: AP50, AP, AP75, AP of each class, then the first three by the other rule."""
        (_, asked), (other, again) = self.precision.items()
        points = "11-point" if other == "voc07" else "101-point"
        return {
            **asked.values(self.classes),
            **{f"{points} {name}": value for name, value in again.overall().items()},
        }


def detection(
    config: DetectionConfig,
    backbone: nn.Module,
    train: Boxed,
    test: Boxed,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> DetectionResult:
    """Fine-tune Faster R-CNN from a copy of ``backbone`` on train, all layers, and measure it on test, once.

    The result follows from the seed; on a GPU some of torch's kernels add in another order each time.

    Args:
        config: the protocol.
        backbone: as :func:`viewkin.nets.backbone_file.load_backbone` gives it: a ResNet with ``mean`` and ``std``.
        train: images with boxes; those without teach nothing and are left out. Difficult objects are learnt as others.
        test: images with boxes of the same classes.
        device: where to work.
        progress: show a bar after two seconds.

    Raises:
        UserError: a backbone without stages, other classes in test, no box in train or in test, a batch of more images
            than there are, or a loss that diverged.

    References:
        Ren et al., Faster R-CNN, 2015; He et al., MoCo, 2020, section 4.2; METHODS 8.6.
    """
    began = time.perf_counter()
    if train.classes != test.classes:
        raise UserError(f"{test.name} has other classes than {train.name}; both splits need the same.")
    if not any((~one.ignored).any() for one in test.truths):
        raise UserError(f"The images of {test.name} to judge on have no box that counts; choose others.")
    train = train.with_boxes()
    if not len(train):
        raise UserError(f"No image of {train.name} to train on has a box of these classes; choose others.")
    settings = config.resolved(len(train))
    # torchvision draws sizes and regions from the global generator.
    with torch.random.fork_rng(), LateBar("fine-tuning", settings.iterations, shown=progress) as bar:
        torch.manual_seed(seed_for(settings.seed, "detection"))
        detector = build_detector(copy.deepcopy(backbone), settings, len(train.classes)).requires_grad_(True)
        detector.to(device)
        losses = _train_(detector, settings, train, torch.device(device), bar)
        settle_norms_(detector, settings, train, torch.device(device))
    found = detected(detector, settings, test, torch.device(device), progress=progress)
    rules: tuple[Rule, Rule] = ("voc07", "coco") if settings.rule == "voc07" else ("coco", "voc07")
    return DetectionResult(
        config=settings,
        precision={rule: box_precision(test.truths, found, len(test.classes), rule) for rule in rules},
        classes=train.classes,
        found=tuple(found),
        losses=tuple(losses),
        detector=detector.cpu().eval(),
        seconds=time.perf_counter() - began,
        notes=(*train.notes, *_unseen(train, test)),
    )


def rate_at(config: DetectionConfig, step: int) -> float:
    """Learning rate of a step (the first is 0): linear warm-up, then a tenth after each milestone."""
    risen = warmup(step, config.warmup or 0)
    return (config.lr or 0.0) * (WARM_FROM + (1 - WARM_FROM) * risen) * step_decay(step, config.milestones or (), 0.1)


def batch_at(
    config: DetectionConfig, boxed: Boxed, step: int, device: torch.device
) -> tuple[list[Tensor], list[Target]]:
    """Give the images and targets of a step, each flipped left to right with probability 1/2.

    Every image is seen once an epoch, in an order of its own; an epoch's tail that fills no batch is dropped.
    """
    size = config.batch_size or 1
    epoch, place = divmod(step, len(boxed) // size)
    order = torch.randperm(len(boxed), generator=generator_for(config.seed, "detection order", epoch))
    flips = torch.rand(size, generator=generator_for(config.seed, "detection flips", step)) < 0.5
    images: list[Tensor] = []
    targets: list[Target] = []
    for row, flip in zip(order[place * size : (place + 1) * size].tolist(), flips.tolist()):
        image, truth = boxed.image(row).to(device), boxed.truths[row]
        boxes = torch.from_numpy(truth.boxes).float().to(device)
        labels = torch.from_numpy(truth.labels).to(device) + 1  # 0 is the background
        if flip:
            image, boxes = flipped(image, boxes)
        images.append(image)
        targets.append({"boxes": boxes, "labels": labels})
    return images, targets


def flipped(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror an image (3, H, W) left to right, and its boxes (G, 4)."""
    left, top, right, bottom = boxes.unbind(1)
    width = image.shape[2]
    return image.flip(2), torch.stack([width - right, top, width - left, bottom], 1)


def _train_(
    detector: FasterRCNN, config: DetectionConfig, train: Boxed, device: torch.device, bar: LateBar
) -> list[float]:
    """Take every step; the sum of the losses at each."""
    weights = [p for p in detector.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(weights, lr=1.0, momentum=config.momentum, weight_decay=config.weight_decay)
    detector.train()
    losses: list[float] = []
    for step in range(config.iterations or 0):
        optimiser.param_groups[0]["lr"] = rate_at(config, step)
        loss: Tensor = sum(detector(*batch_at(config, train, step, device)).values(), torch.zeros((), device=device))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise UserError(f"The detector diverged at step {step + 1} of {config.iterations}; give a smaller lr.")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bar.advance()
    return losses


@torch.no_grad()
def settle_norms_(detector: FasterRCNN, config: DetectionConfig, train: Boxed, device: torch.device) -> None:
    """Replace BatchNorm's running statistics by their mean over ``precise`` training batches (precise BatchNorm).

    References:
        Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3; Detectron2's TEST.PRECISE_BN.
    """
    norms: list[Any] = [one for one in detector.modules() if isinstance(one, nn.BatchNorm2d)]
    if not config.precise or not norms:
        return
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: the mean of all batches
    detector.train()
    for step in range(config.precise):
        detector(*batch_at(config, train, (config.iterations or 0) + step, device))
    for norm, momentum in zip(norms, before):
        norm.momentum = momentum


@torch.no_grad()
def detected(
    detector: FasterRCNN, config: DetectionConfig, boxed: Boxed, device: torch.device, *, progress: bool = True
) -> list[Found]:
    """Find objects in every image, one image at a time, so that no image is padded to another's size."""
    transform: Any = detector.transform
    detector.eval()
    sides, transform.min_size = transform.min_size, (config.test_side,)
    found: list[Found] = []
    with LateBar("detecting", len(boxed), shown=progress) as bar:
        for row in range(len(boxed)):
            got: Target = detector([boxed.image(row).to(device)])[0]
            boxes, labels, scores = (got[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
            found.append(Found(boxes.astype("float64"), labels - 1, scores.astype("float64")))
            bar.advance()
    transform.min_size = sides
    return found


def _unseen(train: Boxed, test: Boxed) -> Sequence[str]:
    """Name classes that one split has no box of."""
    taught = {int(label) for one in train.truths for label in one.labels}
    asked = {int(label) for one in test.truths for label in one.labels[~one.ignored]}
    names = [[test.classes[label] for label in sorted(some)] for some in (asked - taught, taught - asked)]
    notes = (
        "Without a training box, so that they cannot be found: {}.",
        "Without a box to judge on, so left out of the means: {}.",
    )
    return [note.format(", ".join(some)) for note, some in zip(notes, names) if some]
