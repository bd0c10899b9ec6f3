"""Campaigns of InterCLR's empirical study: labels, samplers, margins, weight, clusters, cost."""

from __future__ import annotations

from dataclasses import replace

from viewkin.campaigns.campaign import Campaign, Column, Edition, Observation, Row
from viewkin.campaigns.papers import NPIDV2, of
from viewkin.campaigns.shared import BY_BACKBONE, COLUMNS, EVALUATIONS, FULL, HALF, KNN_BACKBONE, LINEAR

RANDOM, ZERO = "method.negatives.sampler=random", "method.margin.value=0"
BASE = ("method.negatives.number=512", "method.clusters.number=100")
INTRA, INTER, WEIGHT = (
    ("-0.5", "-0.25", "0", "0.1", "0.25"),
    ("-0.75", "-0.5", "-0.25", "0.25"),
    ("0.25", "0.5", "0.75"),
)
OWN_GRID = "The values are ours where the paper's text names none; the claims are the paper's."
TO_CIFAR = (
    "Here K = 512 negatives of 10,000 images and 100 clusters stand for the paper's 4,096 of 1.28 million and 10,000. "
    "The paper measures VOC07 mAP; here kNN and a linear probe decide."
)


def around(name: str, family: str, *settings: str) -> Row:
    """Make a row of InterCLR on NPIDv2 under the mini budget."""
    return Row(
        name=name,
        recipe="npid_cifar10",
        family=family,
        method="interclr(npid)",
        priority=3,
        settings=(*of("method.base", (*NPIDV2, "temperature=0.1")), *_over(BASE, settings)),
    )


def _over(shared: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    paths = {setting.partition("=")[0] for setting in own}
    return (*(setting for setting in shared if setting.partition("=")[0] not in paths), *own)


def as_published(row: Row) -> Row:
    """Give a row the paper's network and images: 100 epochs, K = 4,096, 10,000 clusters where the row varies others."""
    alone = row.method == "npid"
    shared = () if alone else ("method.base.negatives=4096", "method.negatives.number=4096")
    own = tuple(one for one in row.settings if one not in (*BASE, *_base_of(row)))
    return replace(
        row,
        recipe="npidv2_imagenet" if alone else "interclr_npidv2_imagenet",
        method=None,
        epochs=100,
        settings=_over(("method.negatives=4096",) if alone else shared, own),
    )


def _base_of(row: Row) -> tuple[str, ...]:
    """The settings that make NPIDv2 of a recipe of NPID."""
    return of("method" if row.method == "npid" else "method.base", (*NPIDV2, "temperature=0.1"))


def study(
    name: str,
    about: str,
    rows: tuple[Row, ...],
    observations: tuple[Observation, ...],
    notes: tuple[str, ...] = (OWN_GRID, TO_CIFAR),
    columns: tuple[Column, ...] = COLUMNS,
) -> Campaign:
    """Make a campaign with one seed that the backbone decides."""
    mini = Edition(
        budget=HALF,
        images="CIFAR-10",
        rows=rows,
        seeds=(0,),
        evaluations=EVALUATIONS,
        columns=columns,
        deciding=BY_BACKBONE,
    )
    full = replace(
        mini,
        budget=FULL,
        images="ImageNet",
        rows=tuple(map(as_published, rows)),
        evaluations=tuple(one for one in EVALUATIONS if one.features == "backbone" and one.protocol != "retrieval"),
        columns=(KNN_BACKBONE, LINEAR),
    )
    return Campaign(name=name, about=about, editions=(mini, full), observations=observations, notes=notes)


def claim(text: str, better: str, than: str, figure: str) -> Observation:
    """State a claim of InterCLR's study."""
    return Observation(claim=text, better=better, than=than, source=f"InterCLR, {figure}")


LABELS = study(
    "interclr-labels",
    "InterCLR's figure 6a: pseudo-labels kept up online, or by k-means every epoch",
    tuple(
        around(labels, "labels", RANDOM, ZERO, f"method.clusters.labels={labels}") for labels in ("online", "offline")
    ),
    (claim("Online labels end higher than offline labels", "online", "offline", "figure 6a"),),
)
SAMPLERS = study(
    "interclr-samplers",
    "InterCLR's figure 6b: four ways to draw the negatives",
    tuple(
        around(sampler, "samplers", ZERO, f"method.negatives.sampler={sampler}")
        for sampler in ("hard", "semihard", "random", "semieasy")
    ),
    (
        claim("Semi-hard negatives are better than random ones", "semihard", "random", "figure 6b"),
        claim("Semi-hard negatives are better than semi-easy ones", "semihard", "semieasy", "figure 6b"),
        claim("Hard negatives are worse than random ones", "random", "hard", "figure 6b"),
    ),
)
MARGINS = study(
    "interclr-margins",
    "InterCLR's figure 7: a margin in the intra branch or in the inter branch, the other at 0",
    (
        *(around(f"intra{float(m):+g}", "intra branch", ZERO, f"method.base.margin={m}") for m in INTRA),
        *(around(f"inter{float(m):+g}", "inter branch", f"method.margin.value={m}") for m in INTER),
    ),
    (
        claim("A positive margin helps the intra branch", "intra+0.1", "intra+0", "figure 7"),
        claim("A negative margin hurts the intra branch", "intra+0", "intra-0.25", "figure 7"),
        claim("A margin of -0.5 helps the inter branch", "inter-0.5", "intra+0", "figure 7"),
        claim("A positive margin is no better in the inter branch than -0.5", "inter-0.5", "inter+0.25", "figure 7"),
    ),
    (OWN_GRID, TO_CIFAR, "intra+0 has no margin in either branch. Negatives are semi-hard."),
)
LAMBDA = study(
    "interclr-lambda",
    "InterCLR's figure 8: the weight of the base's own loss, from 0 (inter only) to 1 (intra only)",
    tuple(around(f"lambda-{w}", "lambda", RANDOM, ZERO, f"method.base_weight={w}") for w in ("0", *WEIGHT, "1")),
    (
        claim("A weight of 0.75 is better than the base alone", "lambda-0.75", "lambda-1", "figure 8"),
        claim("A weight of 0.75 is better than the inter branch alone", "lambda-0.75", "lambda-0", "figure 8"),
    ),
)
_CLUSTERS = study(
    "interclr-clusters",
    "InterCLR's figure 9: how many clusters, and how many negatives",
    (
        *(
            around(f"clusters-{n}", "clusters", f"method.clusters.number={n}", "method.negatives.number=256")
            for n in (10, 30, 100, 200)
        ),
        *(around(f"negatives-{n}", "negatives", f"method.negatives.number={n}") for n in (64, 512, 768)),
    ),
    (
        claim("A hundred clusters are better than ten", "clusters-100", "clusters-10", "figure 9"),
        claim("256 negatives are better than 64", "clusters-100", "negatives-64", "figure 9"),
    ),
    (OWN_GRID, TO_CIFAR, "clusters-100 has 256 negatives: it stands among the negatives too."),
)
CLUSTERS = replace(
    _CLUSTERS,
    editions=(
        _CLUSTERS.editions[0],
        replace(
            _CLUSTERS.editions[1],
            rows=tuple(
                Row(name=name, recipe="interclr_npidv2_imagenet", priority=3, family=family, settings=(setting,))
                for family, path in (("clusters", "method.clusters.number"), ("negatives", "method.negatives.number"))
                for n in ((1000, 5000, 10000, 20000) if family == "clusters" else (1024, 4096, 65536))
                for name, setting in ((f"{family}-{n}", f"{path}={n}"),)
            ),
        ),
    ),
    observations=(
        *_CLUSTERS.observations,
        claim("Ten thousand clusters are better than a thousand", "clusters-10000", "clusters-1000", "figure 9"),
        claim("16,384 negatives are better than 65,536", "clusters-10000", "negatives-65536", "figure 9"),
    ),
)
"""Under the full budget: 200 epochs and K = 16,384, as in the paper."""
COST = study(
    "interclr-cost",
    "InterCLR's table 4: what the inter branch costs; read the columns of time",
    (
        replace(
            around("intra", "cost"),
            method="npid",
            settings=of("method", (*NPIDV2, "temperature=0.1")),
        ),
        around("online", "cost", "method.clusters.labels=online"),
        around("offline", "cost", "method.clusters.labels=offline"),
    ),
    (),
    ("The paper's own times are in results/published/interclr-table4.csv.",),
)
CAMPAIGNS = (LABELS, SAMPLERS, MARGINS, LAMBDA, CLUSTERS, COST)
