"""What the files of recipes share: how a recipe is added, and settings of several published ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from viewkin.nets.backbone import BackboneConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.training.config import Recipe

SMALL = BackboneConfig(name="resnet18", stem="small")
LARGE = BackboneConfig(name="resnet50", stem="imagenet")
SMALL_KAIMING, LARGE_KAIMING = replace(SMALL, init="kaiming"), replace(LARGE, init="kaiming")
"""With the start of torchvision's ResNets, as in the releases of MoCo, EIR and, on ImageNet, InvP."""
FAST = OptimConfig(name="adamw", lr=0.002, scale_lr=True, weight_decay=0.05, exclude_norm_and_bias=True)
"""For short runs: learns in fewer epochs than SGD does (``docs/log.md``)."""
CIFAR_STEPS = ScheduleConfig(epochs=200, kind="step", milestones=(120, 160), factor=0.1)
CIFAR_SGD = OptimConfig(name="sgd", lr=0.03, momentum=0.9, weight_decay=5e-4)
IMAGENET_SGD = OptimConfig(name="sgd", lr=0.03, momentum=0.9, weight_decay=1e-4)


DATA = ("cifar100", "cifar10", "imagenet100", "imagenet", "stl10", "svhn", "cub", "cars", "demo")
"""Image sets that recipes are made for, the longer names first; a recipe has its set's in its name."""
OWN = "photos"
"""Images of one's own: recipes that name no set."""


def data_of(name: str) -> str:
    """Return the image set that a recipe's name says, or ``photos``."""
    return next((data for data in DATA if data in name), OWN)


class Recipes(dict[str, Callable[[], Recipe]]):
    """The recipes of one file, by name."""

    def add(self, about: str) -> Callable[[Callable[[], Recipe]], Callable[[], Recipe]]:
        """Add a function that returns a recipe; the recipe gets the function's name.

        Args:
            about: one line: what the recipe is and where its settings come from.
        """

        def added(make: Callable[[], Recipe]) -> Callable[[], Recipe]:
            @wraps(make)
            def named() -> Recipe:
                return replace(make(), name=make.__name__, about=about)

            self[make.__name__] = named
            return named

        return added
