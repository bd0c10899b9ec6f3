"""Campaigns of what InvP and AMDIM vary: hard or easy positives, hops, scales, mixtures."""

from __future__ import annotations

from dataclasses import replace

from viewkin.campaigns.campaign import Absent, Campaign, Edition, Observation, Row
from viewkin.campaigns.shared import BY_BACKBONE, COLUMNS, EVALUATIONS, FULL, HALF


def study(
    name: str, about: str, rows: tuple[Row, ...], observations: tuple[Observation, ...], absent: tuple[Absent, ...] = ()
) -> Campaign:
    """Make a campaign with one seed that the backbone decides."""
    edition = Edition(
        budget=HALF,
        images="CIFAR-10",
        rows=rows,
        seeds=(0,),
        evaluations=EVALUATIONS,
        columns=COLUMNS,
        deciding=BY_BACKBONE,
    )
    return Campaign(
        name=name,
        about=about,
        editions=(edition, replace(edition, budget=FULL)),
        observations=observations,
        absent=absent,
    )


def invp(name: str, *settings: str) -> Row:
    """Make a row of InvP."""
    return Row(
        name=name, recipe="invp_cifar10", family="positives", priority=3, settings=("method.ramp.share=0.15", *settings)
    )


HOPS = study(
    "invp-hops",
    "InvP's positives: the hardest or the easiest of those found, within one to three hops",
    (
        invp("instance", "method.weight=0"),
        *(invp(f"hops-{n}", f"method.graph.hops={n}") for n in (1, 2, 3)),
        invp("easy", "method.graph.easy=true"),
    ),
    (
        Observation(claim="Hard positives beat easy ones", better="hops-3", than="easy", source="InvP"),
        Observation(claim="Three hops beat one", better="hops-3", than="hops-1", source="InvP"),
    ),
)


def amdim(name: str, *settings: str) -> Row:
    """Make a row of AMDIM on its own encoder, small enough for a CPU."""
    small = ("backbone.rkhs=256", "backbone.depth=1", "augment.view_size=32")
    return Row(name=name, recipe="amdim_cifar10_small", family="AMDIM", priority=3, settings=(*small, *settings))


_SCALES = study(
    "amdim-scales",
    "AMDIM's parts: two maps or one, and mixtures",
    (amdim("two-maps"), amdim("one-map", "method.stage7=f5"), amdim("mixtures", "method.mixtures=8")),
    (
        Observation(
            claim="Parts of two sizes are better than parts of one",
            better="two-maps",
            than="one-map",
            source="AMDIM, ablations",
        ),
    ),
    (
        Absent(
            name="AMDIM with one task",
            why="the loss always has its three tasks; the row one-map gives two of them the same map instead",
        ),
        Absent(name="AMDIM without augmentation", why="no policy of the catalogue leaves images as they are"),
    ),
)
SCALES = replace(
    _SCALES,
    editions=(
        _SCALES.editions[0],
        replace(
            _SCALES.editions[1],
            rows=tuple(replace(row, settings=row.settings[3:]) for row in _SCALES.editions[1].rows),
        ),
    ),
)
CAMPAIGNS = (HOPS, SCALES)
