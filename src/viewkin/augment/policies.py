"""The augmentation policies of the papers: operations, their order and strengths, and the normalisation."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field

from viewkin.augment.operations import (
    Blur,
    ColourJitter,
    Crop,
    Flip,
    Grayscale,
    Lighting,
    Operation,
    RandomCrop,
    ResizedCrop,
    Solarise,
    Translate,
)
from viewkin.runtime.errors import UserError

Pipeline = tuple[Operation, ...]
Triple = tuple[float, float, float]

CIFAR_MEAN: Triple = (0.4914, 0.4822, 0.4465)
CIFAR_STD: Triple = (0.2023, 0.1994, 0.2010)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How views are made: operations shared by all views of an image, then one pipeline per role."""

    name: str
    """Name in the catalogue."""
    first: Pipeline
    """Operations of the first view, in order. A pipeline starts with a crop or a shift."""
    second: Pipeline
    """Operations of the second view; the same as of the first in most policies."""
    weak: Pipeline
    """Operations of the weak view: crop and flip only."""
    shared: Pipeline = dataclass_field(default=())
    """Operations applied once, before the image is split into views."""
    size: int = 224
    """Side of a view in the paper, pixels."""
    mean: Triple = IMAGENET_MEAN
    """Mean of each channel, for values in [0, 1]."""
    std: Triple = IMAGENET_STD
    """Standard deviation of each channel."""
    test_fraction: float = 224 / 256
    """Side of the test view's centre crop, as a fraction of the stored side; used if that is larger than the view."""
    squash: bool = False
    """Whether whole images are squashed to a square, instead of cropping their central square."""

    def __post_init__(self) -> None:
        for role in self.roles:
            pipeline = self.pipeline(role)
            if not pipeline or [operation.cuts for operation in pipeline] != [True] + [False] * (len(pipeline) - 1):
                raise UserError(f"The {role} view of policy {self.name} must start with its only crop: reorder it.")
        if any(operation.cuts for operation in self.shared):
            raise UserError(f"Policy {self.name} crops before the split into views: move the crop to the views.")
        if min(self.std) <= 0 or self.size < 1 or not 0 < self.test_fraction <= 1:
            raise UserError(f"Policy {self.name} needs positive std and size and a test_fraction in (0, 1].")

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of views."""
        return ("first", "second", "weak")

    def pipeline(self, role: str) -> Pipeline:
        """Return the operations of a role.

        Raises:
            UserError: there is no such role.
        """
        if role not in self.roles:
            raise UserError(f"No view has the role {role!r}: choose one of {', '.join(self.roles)}.")
        return {"first": self.first, "second": self.second, "weak": self.weak}[role]


def _same_views(crop: Crop, *rest: Operation, name: str, cifar: bool = False, size: int | None = None) -> Policy:
    """Make a policy with the same pipeline for both views."""
    pipeline: Pipeline = (crop, *rest)
    weak: Pipeline = (crop, Flip())
    if cifar:
        side = size or 32
        return Policy(name=name, first=pipeline, second=pipeline, weak=weak, size=side, mean=CIFAR_MEAN, std=CIFAR_STD)
    return Policy(name=name, first=pipeline, second=pipeline, weak=weak, size=size or 224)


def _npid_cifar() -> Policy:
    """NPID (Wu et al. 2018), AND, InvP on CIFAR and SVHN; no flip."""
    return _same_views(ResizedCrop(), ColourJitter(), Grayscale(), name="npid-cifar", cifar=True)


def _isif() -> Policy:
    """ISIF (Ye et al. 2019) on CIFAR and STL (size 96), with CIFAR statistics on both, as in the authors' code."""
    return _same_views(ResizedCrop(), ColourJitter(), Grayscale(), Flip(), name="isif", cifar=True)


def _isif_unseen() -> Policy:
    """ISIF on CUB and Cars: images squashed to a square, then a crop of 224 of 256."""
    return replace(_same_views(RandomCrop(), Flip(), name="isif-unseen"), squash=True)


def _npid_in() -> Policy:
    """NPID and MoCo v1 on ImageNet: grayscale *before* the jitter."""
    return _same_views(ResizedCrop(), Grayscale(), ColourJitter(), Flip(), name="npid-in")


def _moco_v2() -> Policy:
    """MoCo v2 (Chen et al. 2020)."""
    jitter = ColourJitter(hue=0.1, probability=0.8)
    return _same_views(ResizedCrop(), jitter, Grayscale(), Blur(), Flip(), name="moco-v2")


def _moco_cifar() -> Policy:
    """MoCo's CIFAR-10 demo."""
    jitter = ColourJitter(hue=0.1, probability=0.8)
    return _same_views(ResizedCrop(scale=(0.08, 1.0)), Flip(), jitter, Grayscale(), name="moco-cifar", cifar=True)


def _simclr() -> Policy:
    """SimCLR (Chen et al. 2020, appendix A), strength 1."""
    jitter = ColourJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, probability=0.8)
    return _same_views(ResizedCrop(scale=(0.08, 1.0)), Flip(), jitter, Grayscale(), Blur(kernel=0.1), name="simclr")


def _simclr_cifar() -> Policy:
    """SimCLR on CIFAR-10 (appendix B.9): strength 0.5, no blur."""
    jitter = ColourJitter(hue=0.1, probability=0.8)
    return _same_views(ResizedCrop(scale=(0.08, 1.0)), Flip(), jitter, Grayscale(), name="simclr-cifar", cifar=True)


def _byol_views(*blurs: Blur) -> tuple[Pipeline, Pipeline, Pipeline]:
    """Make BYOL's pipelines (first, second, weak) with the blurs of its two views, or without blur."""
    crop = ResizedCrop(scale=(0.08, 1.0), mode="bicubic")
    jitter = ColourJitter(saturation=0.2, hue=0.1, probability=0.8)
    common: Pipeline = (crop, Flip(), jitter, Grayscale())
    return (*common, *blurs[:1]), (*common, *blurs[1:], Solarise()), (crop, Flip())


def _byol() -> Policy:
    """BYOL (Grill et al. 2020, table 6); Barlow Twins, NNCLR. The first view is never solarised."""
    first, second, weak = _byol_views(Blur(kernel=0.1, probability=1.0), Blur(kernel=0.1, probability=0.1))
    return Policy(name="byol", first=first, second=second, weak=weak)


def _byol_cifar() -> Policy:
    """BYOL's views without blur, as CIFAR benchmarks train it."""
    first, second, weak = _byol_views()
    return Policy(name="byol-cifar", first=first, second=second, weak=weak, size=32, mean=CIFAR_MEAN, std=CIFAR_STD)


def _npidv2() -> Policy:
    """NPIDv2 of InterCLR (Xie et al. 2022): stronger saturation and hue, and blur at the same place as in MoCo v2."""
    jitter = ColourJitter(saturation=1.0, hue=0.5)
    return _same_views(ResizedCrop(), Grayscale(), jitter, Blur(), Flip(), name="npidv2")


def _amdim(
    name: str, crop: Operation, hue: float, size: int, mean: Triple, std: Triple, test_fraction: float
) -> Policy:
    """AMDIM (Bachman et al. 2019): the flip is drawn once and shared by both views."""
    pipeline: Pipeline = (crop, ColourJitter(hue=hue, probability=0.8), Grayscale(probability=0.25))
    return Policy(
        name=name,
        first=pipeline,
        second=pipeline,
        weak=(crop,),
        shared=(Flip(),),
        size=size,
        mean=mean,
        std=std,
        test_fraction=test_fraction,
    )


def _amdim_cifar() -> Policy:
    mean, std = (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
    return _amdim("amdim-cifar", Translate(), 0.2, 32, mean, std, 1.0)


def _amdim_stl() -> Policy:
    crop = ResizedCrop(scale=(0.3, 1.0), ratio=(0.7, 1.4), mode="bicubic")
    return _amdim("amdim-stl", crop, 0.2, 64, (0.43, 0.42, 0.39), (0.27, 0.26, 0.27), 64 / 70)


def _amdim_imagenet() -> Policy:
    crop = ResizedCrop(scale=(0.3, 1.0), ratio=(0.7, 1.4), mode="bicubic")
    return _amdim("amdim-in", crop, 0.1, 128, IMAGENET_MEAN, IMAGENET_STD, 128 / 146)


def _amdim_imagenet_strong() -> Policy:
    """The authors' best model, without its Fast-AutoAugment policy, which was learnt with labels."""
    crop = ResizedCrop(scale=(0.2, 0.9), ratio=(0.7, 1.4), mode="bicubic")
    pipeline: Pipeline = (crop, ColourJitter(hue=0.1), Grayscale(probability=0.25), Lighting())
    return replace(_amdim_imagenet(), name="amdim-in-strong", first=pipeline, second=pipeline, weak=(crop,))


_CATALOGUE: dict[str, Callable[[], Policy]] = {
    "npid-cifar": _npid_cifar,
    "isif": _isif,
    "isif-unseen": _isif_unseen,
    "npid-in": _npid_in,
    "moco-v1": _npid_in,
    "moco-v2": _moco_v2,
    "moco-cifar": _moco_cifar,
    "simclr": _simclr,
    "simclr-cifar": _simclr_cifar,
    "byol": _byol,
    "byol-cifar": _byol_cifar,
    "npidv2": _npidv2,
    "amdim-cifar": _amdim_cifar,
    "amdim-stl": _amdim_stl,
    "amdim-in": _amdim_imagenet,
    "amdim-in-strong": _amdim_imagenet_strong,
}


def with_least_area(policy: Policy, area: float) -> Policy:
    """Replace the smallest area (fraction of the image) of every random resized crop."""

    def changed(pipeline: Pipeline) -> Pipeline:
        return tuple(
            replace(operation, scale=(area, operation.scale[1])) if isinstance(operation, ResizedCrop) else operation
            for operation in pipeline
        )

    roles = {role: changed(policy.pipeline(role)) for role in policy.roles}
    return replace(policy, **roles)  # pyright: ignore[reportArgumentType] (the roles are fields of Policy)


def names() -> list[str]:
    """List the names of all policies, sorted."""
    return sorted(_CATALOGUE)


def policy(name: str) -> Policy:
    """Return the policy of a name; ``dataclasses.replace`` makes a variant.

    Raises:
        UserError: the name is unknown; the message has the nearest names.
    """
    if name not in _CATALOGUE:
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.3) or names()
        raise UserError(f"There is no augmentation policy {name!r}: choose one of {', '.join(near)}.")
    return _CATALOGUE[name]()
