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

from viewkin.evaluation.detection.average_precision import BoxPrecision, Detections, Rule, box_precision
from viewkin.evaluation.detection.boxed_images import BoxedImages
from viewkin.evaluation.detection.config import DetectionConfig
from viewkin.evaluation.detection.faster_rcnn import build_detector
from viewkin.runtime.draws import generator_for, seed_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import Bar, progress_bar
from viewkin.schedules import step_decay, warmup

WARMUP_START = 1e-3
"""The warm-up begins at this fraction of the learning rate (Detectron2)."""
Target = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """A fine-tuned detector and its detections on test."""

    config: DetectionConfig
    """Settings, with the preset filled in."""
    precision: dict[Rule, BoxPrecision]
    """Average precision by class and threshold: first by the configured rule, then by the other."""
    classes: tuple[str, ...]
    """Class names."""
    detections: tuple[Detections, ...]
    """One per image of test."""
    losses: tuple[float, ...]
    """Sum of the four losses at every step."""
    detector: FasterRCNN
    """The network, on the CPU, in evaluation mode."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...]
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to percent: AP50, AP, AP75, AP of each class, then the first three by the other rule."""
        (_, precision), (other_rule, other_precision) = self.precision.items()
        points = "11-point" if other_rule == "voc07" else "101-point"
        return {
            **precision.values(self.classes),
            **{f"{points} {name}": value for name, value in other_precision.overall().items()},
        }


def detection(
    config: DetectionConfig,
    backbone: nn.Module,
    train: BoxedImages,
    test: BoxedImages,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> DetectionResult:
    """Fine-tune Faster R-CNN from a copy of ``backbone`` on train, all layers, and measure it on test, once.

    The result is a function of the seed on a CPU. On a GPU some of torch's kernels add in a different order each time.

    Args:
        config: the protocol.
        backbone: from :func:`viewkin.nets.backbone_file.load_backbone`: a ResNet with ``mean`` and ``std``.
        train: images with boxes; images without a box are left out. Difficult objects are trained on like others.
        test: images with boxes of the same classes.
        device: device of the computation.
        progress: show a bar after two seconds.

    Raises:
        UserError: the backbone has no stages, train and test have different classes, one of them has no box, a batch is
            larger than the training set, or the loss diverged.

    References:
        Ren et al., Faster R-CNN, 2015; He et al., MoCo, 2020, section 4.2.
    """
    began = time.perf_counter()
    if train.classes != test.classes:
        raise UserError(f"{test.name} has other classes than {train.name}; both splits need the same.")
    if not any((~truth.ignored).any() for truth in test.truths):
        raise UserError(f"The images of {test.name} to judge on have no box that counts; choose others.")
    train = train.without_empty_images()
    if not len(train):
        raise UserError(f"No image of {train.name} to train on has a box of these classes; choose others.")
    settings = config.resolved(len(train))
    # torchvision draws sizes and regions from the global generator.
    with torch.random.fork_rng(), progress_bar("fine-tuning", settings.iterations, shown=progress) as bar:
        torch.manual_seed(seed_for(settings.seed, "detection"))
        detector = build_detector(copy.deepcopy(backbone), settings, len(train.classes)).requires_grad_(True)
        detector.to(device)
        losses = _train_(detector, settings, train, torch.device(device), bar)
        reestimate_batchnorm_(detector, settings, train, torch.device(device))
    detections = detect(detector, settings, test, torch.device(device), progress=progress)
    rules: tuple[Rule, Rule] = ("voc07", "coco") if settings.rule == "voc07" else ("coco", "voc07")
    return DetectionResult(
        config=settings,
        precision={rule: box_precision(test.truths, detections, len(test.classes), rule) for rule in rules},
        classes=train.classes,
        detections=tuple(detections),
        losses=tuple(losses),
        detector=detector.cpu().eval(),
        seconds=time.perf_counter() - began,
        notes=(*train.notes, *_notes_on_missing_classes(train, test)),
    )


def learning_rate_at(config: DetectionConfig, step: int) -> float:
    """Learning rate of a step (the first is 0): linear warm-up, then divided by 10 at each milestone."""
    warm = WARMUP_START + (1 - WARMUP_START) * warmup(step, config.warmup or 0)
    return (config.lr or 0.0) * warm * step_decay(step, config.milestones or (), 0.1)


def batch_at(
    config: DetectionConfig, boxed: BoxedImages, step: int, device: torch.device
) -> tuple[list[Tensor], list[Target]]:
    """Return the images and targets of a step, each flipped left to right with probability 1/2.

    Each epoch has a new order of the images; the last, incomplete batch of an epoch is dropped.
    """
    size = config.batch_size or 1
    epoch, batch = divmod(step, len(boxed) // size)
    order = torch.randperm(len(boxed), generator=generator_for(config.seed, "detection order", epoch))
    flips = torch.rand(size, generator=generator_for(config.seed, "detection flips", step)) < 0.5
    images: list[Tensor] = []
    targets: list[Target] = []
    for row, flip in zip(order[batch * size : (batch + 1) * size].tolist(), flips.tolist()):
        image, truth = boxed.image(row).to(device), boxed.truths[row]
        boxes = torch.from_numpy(truth.boxes).float().to(device)
        labels = torch.from_numpy(truth.labels).to(device) + 1  # 0 is the background
        if flip:
            image, boxes = flip_left_right(image, boxes)
        images.append(image)
        targets.append({"boxes": boxes, "labels": labels})
    return images, targets


def flip_left_right(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror an image (3, H, W) left to right, and its boxes (G, 4)."""
    left, top, right, bottom = boxes.unbind(1)
    width = image.shape[2]
    return image.flip(2), torch.stack([width - right, top, width - left, bottom], 1)


def _train_(
    detector: FasterRCNN, config: DetectionConfig, train: BoxedImages, device: torch.device, bar: Bar
) -> list[float]:
    """Train the detector; return the sum of its losses at every step."""
    weights = [p for p in detector.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(weights, lr=1.0, momentum=config.momentum, weight_decay=config.weight_decay)
    detector.train()
    losses: list[float] = []
    for step in range(config.iterations or 0):
        optimiser.param_groups[0]["lr"] = learning_rate_at(config, step)
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
def reestimate_batchnorm_(
    detector: FasterRCNN, config: DetectionConfig, train: BoxedImages, device: torch.device
) -> None:
    """Replace BatchNorm's running statistics by their mean over ``precise`` training batches (precise BatchNorm).

    References:
        Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3; Detectron2's TEST.PRECISE_BN.
    """
    norms: list[Any] = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    if not config.precise or not norms:
        return
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then takes the mean of all batches
    detector.train()
    for step in range(config.precise):
        detector(*batch_at(config, train, (config.iterations or 0) + step, device))
    for norm, momentum in zip(norms, before):
        norm.momentum = momentum


@torch.no_grad()
def detect(
    detector: FasterRCNN, config: DetectionConfig, boxed: BoxedImages, device: torch.device, *, progress: bool = True
) -> list[Detections]:
    """Detect objects in every image, one image at a time, so that no image is padded to another's size."""
    transform: Any = detector.transform
    detector.eval()
    sides, transform.min_size = transform.min_size, (config.test_side,)
    detections: list[Detections] = []
    with progress_bar("detecting", len(boxed), shown=progress) as bar:
        for row in range(len(boxed)):
            output: Target = detector([boxed.image(row).to(device)])[0]
            boxes, labels, scores = (output[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
            detections.append(Detections(boxes.astype("float64"), labels - 1, scores.astype("float64")))
            bar.advance()
    transform.min_size = sides
    return detections


def _notes_on_missing_classes(train: BoxedImages, test: BoxedImages) -> Sequence[str]:
    """Name the classes that have boxes in only one of the two splits."""
    trained = {int(label) for truth in train.truths for label in truth.labels}
    tested = {int(label) for truth in test.truths for label in truth.labels[~truth.ignored]}
    names = [[test.classes[label] for label in sorted(some)] for some in (tested - trained, trained - tested)]
    notes = (
        "Without a training box, so that they cannot be found: {}.",
        "Without a box to judge on, so left out of the means: {}.",
    )
    return [note.format(", ".join(some)) for note, some in zip(notes, names) if some]
