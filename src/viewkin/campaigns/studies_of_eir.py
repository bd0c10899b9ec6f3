"""Campaigns of what EIR's figures and tables vary: weights, mixing, rounds, retrieval."""

from __future__ import annotations

from dataclasses import replace

from viewkin.campaigns.campaign import Budget, Campaign, Edition, Evaluation, Observation, Row
from viewkin.campaigns.shared import (
    BY_EMBEDDING,
    COLUMNS,
    EVALUATIONS,
    FULL,
    HALF,
    MINI,
    RECALL,
    RECALL_BACKBONE,
)

OWN_GRID = "The values are ours: the figure's own could not be read."
RELATION = ("0", "1", "3", "5", "10", "15", "20")
MIXTURE = ("0", "1", "2", "4", "8")
RATIOS = ("0.2", "0.5", "0.8")


def study(
    name: str,
    about: str,
    rows: tuple[Row, ...],
    observations: tuple[Observation, ...] = (),
    notes: tuple[str, ...] = (),
    *,
    mini: Budget = HALF,
) -> Campaign:
    """Make a campaign on CIFAR-10 with one seed, which EIR's embedding decides."""
    edition = Edition(
        budget=mini,
        images="CIFAR-10",
        rows=rows,
        seeds=(0,),
        evaluations=EVALUATIONS,
        columns=COLUMNS,
        deciding=BY_EMBEDDING,
    )
    return Campaign(
        name=name,
        about=about,
        editions=(edition, replace(edition, budget=FULL)),
        observations=observations,
        notes=notes,
    )


def varied(name: str, family: str, *settings: str, recipe: str = "eir_cifar10", priority: int = 3) -> Row:
    """Make a row of EIR on CIFAR-10 with other settings."""
    return Row(name=name, recipe=recipe, family=family, priority=priority, settings=settings)


WEIGHTS = study(
    "eir-weights",
    "EIR's figure 4: the weights of the relation (lambda_1) and of the mixtures (lambda_2)",
    (
        *(
            varied(f"relation-{value}", "relation, mixtures at 2", f"method.relation_weight={value}")
            for value in RELATION
        ),
        *(
            varied(f"mixture-{value}", "mixtures, relation at 15", f"method.mixture_weight={value}")
            for value in MIXTURE
            if value != "2"
        ),
    ),
    (
        Observation(
            claim="The relation's weight of 15 is better than none",
            better="relation-15",
            than="relation-0",
            source="EIR, figure 4",
        ),
        Observation(
            claim="The mixtures' weight of 2 is better than none",
            better="relation-15",
            than="mixture-0",
            source="EIR, figure 4",
        ),
    ),
    (OWN_GRID, "relation-15 has both published weights: the mixtures' weight of 2 is that row too."),
)
MIX = study(
    "eir-mix",
    "EIR's figure 3: CutMix or mixup, with a random or a fixed ratio",
    tuple(
        varied(
            f"{mix}-{ratio or 'random'}", mix, f"method.mix={mix}", *([f"method.mix_ratio={ratio}"] if ratio else [])
        )
        for mix in ("cutmix", "mixup")
        for ratio in ("", *RATIOS)
    ),
    (
        Observation(
            claim="CutMix is better than mixup",
            better="cutmix-random",
            than="mixup-random",
            source="EIR, figure 3",
        ),
        Observation(
            claim="A random ratio is better than a half",
            better="cutmix-random",
            than="cutmix-0.5",
            source="EIR, figure 3",
        ),
    ),
    (OWN_GRID,),
)
ROUNDS = study(
    "eir-rounds",
    "EIR's table 2: a second round of the schedule",
    (
        varied("one-round", "rounds", priority=4),
        varied("two-rounds", "rounds", "schedule.rounds=2", priority=4),
    ),
    (
        Observation(
            claim="A second round helps EIR",
            better="two-rounds",
            than="one-round",
            source="EIR, table 2",
        ),
    ),
    ("A round is the whole schedule. The second keeps network, optimiser and bank, which is our reading.",),
    mini=MINI,
)


def retrieval(
    name: str,
    about: str,
    images: str,
    recipes: tuple[str, str],
    mini: Budget,
    judged: tuple[Evaluation, ...],
    notes: tuple[str, ...] = (),
) -> Campaign:
    """Make a campaign of IRaug and EIR that Recall@1 decides."""
    base, eir = recipes
    edition = Edition(
        budget=mini,
        images=images,
        rows=(
            Row(name="iraug", recipe=base, family="retrieval", priority=3, published=base),
            Row(name="eir", recipe=eir, family="retrieval", priority=3, published=eir),
        ),
        seeds=(0,),
        evaluations=judged,
        columns=(RECALL, RECALL_BACKBONE),
        deciding=("r1_embedding",),
    )
    return Campaign(
        name=name,
        about=about,
        editions=(edition, replace(edition, budget=FULL)),
        observations=(
            Observation(claim="EIR retrieves better than IRaug", better="eir", than="iraug", source="EIR, table 5"),
        ),
        notes=notes,
    )


def judged_by_recall(split: str, classes: str | None = None) -> tuple[Evaluation, ...]:
    """Judge backbone and embedding by Recall@K."""
    return tuple(
        Evaluation(
            protocol="retrieval",
            file=f"evaluation-retrieval-{features}.json",
            features=features,
            split=split,
            classes=classes,
        )
        for features in ("backbone", "embedding")
    )


CIFAR100 = retrieval(
    "eir-retrieval-cifar100",
    "EIR's table 5 on CIFAR-100: Recall@K among the test images",
    "CIFAR-100",
    ("iraug_cifar100", "eir_cifar100"),
    HALF,
    judged_by_recall("test"),
)
CARS = retrieval(
    "eir-retrieval-cars",
    "EIR's table 5 on Cars-196: Recall@K among the classes that training did not see",
    "Cars-196",
    ("iraug_cars", "eir_cars"),
    replace(
        HALF,
        about="the classes 0 to 97, 100 epochs, batches of 128, a ResNet-18 of width 16, 64 px, one thread",
        settings=("runtime.checkpoint_minutes=5", "backbone.width=16", "augment.image_size=64"),
        images=None,
    ),
    judged_by_recall("train", "98:196"),
    ("Recall is among the training split's images of the classes 98 to 195; the paper takes both splits.",),
)
CAMPAIGNS = (WEIGHTS, MIX, CIFAR100, CARS, ROUNDS)
