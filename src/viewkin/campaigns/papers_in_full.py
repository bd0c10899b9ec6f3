"""The rows of ``mini`` under larger budgets: all images of CIFAR-10, the recipes' own settings, ImageNet."""

from __future__ import annotations

from dataclasses import replace

from viewkin.campaigns.campaign import Campaign, Edition, Row
from viewkin.campaigns.papers import CHOICE, LARS, OBSERVATIONS, OF_INTERCLR, PUBLISHED_BESIDE, ROWS, SETTINGS
from viewkin.campaigns.shared import ABSENT, BY_BACKBONE, EVALUATIONS, FULL, KNN_BACKBONE, LINEAR, WHOLE


def full_rows() -> tuple[Row, ...]:
    """The same rows with the recipes' own settings."""
    own: dict[str, Row] = {
        "npidv2": Row(name="npidv2", recipe="interclr_npidv2_cifar10", method="npid"),
        "interclr-npidv2": Row(name="interclr-npidv2", recipe="interclr_npidv2_cifar10"),
        "instance": Row(name="instance", recipe="invp_cifar10", settings=("method.weight=0",)),
        "invp": Row(name="invp", recipe="invp_cifar10"),
        "invp-gated": Row(name="invp-gated", recipe="invp_cifar10", settings=("method.ramp.gate=true",)),
        "moco": Row(name="moco", recipe="moco_cifar10"),
        "interclr-moco": Row(name="interclr-moco", recipe="interclr_moco_cifar10"),
        "simclr": Row(name="simclr", recipe="simclr_cifar10"),
        "interclr-simclr": Row(
            name="interclr-simclr",
            recipe="simclr_cifar10",
            method="interclr(simclr)",
            settings=("method.clusters.number=100",),
        ),
        "byol": Row(name="byol", recipe="byol_cifar10"),
        "interclr-byol": Row(name="interclr-byol", recipe="interclr_byol_cifar10"),
        "amdim": Row(name="amdim", recipe="amdim_cifar10", published="amdim_cifar10", about="AMDIM on its own encoder"),
    }
    return tuple(
        row
        if row.name not in own
        else replace(own[row.name], family=row.family, priority=row.priority, headline=row.headline)
        for row in ROWS
    )


FULL_CAMPAIGN = Campaign(
    name="full",
    about="the rows of mini with all of CIFAR-10 and the recipes' own networks and schedules; for a GPU",
    editions=(replace(SETTINGS, budget=FULL, rows=full_rows()),),
    observations=OBSERVATIONS,
    absent=ABSENT,
    notes=(PUBLISHED_BESIDE,),
)
IMAGENET = (
    ("npidv2", "npidv2_imagenet", "InterCLR on NPIDv2"),
    ("interclr-npidv2", "interclr_npidv2_imagenet", "InterCLR on NPIDv2"),
    ("moco", "moco_v2_imagenet", "InterCLR on MoCo"),
    ("interclr-moco", "interclr_moco_imagenet", "InterCLR on MoCo"),
    ("byol", "byol_imagenet", "InterCLR on BYOL"),
    ("interclr-byol", "interclr_byol_imagenet", "InterCLR on BYOL"),
    ("npid", "npid_imagenet", "Others"),
    ("simclr", "simclr_imagenet", "Others"),
    ("invp", "invp_imagenet", "Others"),
    ("amdim", "amdim_imagenet_small", "Others"),
)
IMAGENET_CAMPAIGN = Campaign(
    name="full-imagenet",
    about="InterCLR's table 1 on ImageNet as published, with InvP and AMDIM; for several GPUs",
    editions=(
        Edition(
            budget=FULL,
            images="ImageNet",
            rows=tuple(Row(name=n, recipe=recipe, family=family, published=recipe) for n, recipe, family in IMAGENET),
            seeds=(0,),
            evaluations=tuple(one for one in EVALUATIONS if one.features == "backbone" and one.protocol != "retrieval"),
            columns=(KNN_BACKBONE, LINEAR),
            deciding=BY_BACKBONE,
        ),
    ),
    observations=tuple(one for one in OF_INTERCLR if one.than != "simclr"),
    absent=ABSENT,
)
DECIDING = tuple(dict.fromkeys(name for one in OBSERVATIONS for name in (one.than, one.better)))
ALL_IMAGES = Campaign(
    name="all-images",
    about="the rows of mini that decide a claim, on all 50,000 images of CIFAR-10",
    editions=(
        replace(
            SETTINGS,
            budget=WHOLE,
            rows=tuple(replace(row, priority=4, headline=False) for row in ROWS if row.name in DECIDING),
        ),
    ),
    observations=OBSERVATIONS,
    notes=(CHOICE, LARS, PUBLISHED_BESIDE),
)
