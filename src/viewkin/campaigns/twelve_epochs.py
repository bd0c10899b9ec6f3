"""The campaign ``twelve-epochs``: every method under one short budget on CIFAR-10."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from viewkin.campaigns.campaign import Budget, Campaign, Column, Edition, Evaluation, Row
from viewkin.campaigns.papers import of

EPOCHS = 12
BANK = ("optim.lr=0.0007",)
"""Of methods whose loss asks for an image's own row in a bank: written an epoch ago, it is out of date at 0.002."""
MOCO = ("queue_size=4096", "momentum=0.99")
NPIDV2 = ("loss=infonce", "head=mlp")
KIN = ("graph.positives=20", "ramp.gate=false")
INTERCLR = ("clusters.number=100", "negatives.form=candidates", "negatives.number=1024")
"""The candidates keep a step affordable without a GPU."""
AMDIM32 = ("backbone.width=16", "backbone.rkhs=256", "backbone.depth=1", "augment.view_size=32")
"""AMDIM's own encoder, which takes 32 pixels. A step of 256 images costs what ``amdim-resnet`` on 24 pixels costs,
1.6 s of one core forward and backward."""
SLOW = ("npid", "npidv2", "iraug", "byol")
"""Learners that 12 epochs do not bring five points above raw pixels: law 5 judges them by twice as many."""
FAMILIES = {
    "EIR": ("iraug", "eir", "eir-relation", "eir-mixture", "eir-relation-light", "eir-light", "eir-simclr"),
    "InvP": ("ins", "invp", "propagation-moco"),
    "Learners": ("npid", "npidv2", "simclr", "moco", "byol", "isif", "amdim-resnet", "amdim"),
}
"""Title of a panel of the curves to its rows; all others are of InterCLR."""


def row(
    name: str,
    method: str | None = None,
    own: Iterable[str] = (),
    base: Iterable[str] = (),
    settings: tuple[str, ...] = (),
    backbone: str | None = None,
) -> Row:
    """Make a row of the recipe ``cifar10_cpu`` with settings of the method, of its base, and others."""
    given = (*of("method", tuple(own)), *of("method.base", tuple(base)), *settings)
    family = next((family for family, names in FAMILIES.items() if name in names), "InterCLR")
    return Row(name=name, recipe="cifar10_cpu", family=family, method=method, backbone=backbone, settings=given)


ROWS = (
    row("npid", "npid", settings=BANK),
    row("iraug", "iraug", settings=BANK),
    row("simclr"),
    row("moco", "moco", MOCO),
    row("eir", "eir(iraug)", settings=BANK),
    row("eir-relation", "eir(iraug)", ("mixture_weight=0",), settings=BANK),
    row("eir-mixture", "eir(iraug)", ("relation_weight=0",), settings=BANK),
    row("eir-relation-light", "eir(iraug)", ("relation_weight=3", "mixture_weight=0"), settings=BANK),
    row("eir-light", "eir(iraug)", ("relation_weight=3",), settings=BANK),
    row("eir-simclr", "eir(simclr)"),
    row("isif", "isif"),
    row("ins", "invp", ("weight=0",), settings=BANK),
    row("invp", "invp", KIN, settings=BANK),
    row("propagation-moco", "propagation(moco)", KIN, MOCO),
    row("byol", "byol", ("hidden=512", "momentum=0.99")),
    row("amdim-resnet", "amdim"),
    row("amdim", "amdim", settings=AMDIM32, backbone="amdim32"),
    row("npidv2", "npid", NPIDV2, settings=BANK),
    row("interclr-npidv2", "interclr(npid)", INTERCLR, NPIDV2, BANK),
    row("interclr-simclr", "interclr(simclr)", INTERCLR),
    row("interclr-moco", "interclr(moco)", INTERCLR, MOCO),
    row(
        "interclr-byol",
        "interclr(byol)",
        ("clusters.number=100", "negatives.form=exact"),
        ("hidden=512", "momentum=0.99"),
    ),
)
LONGER = tuple(
    replace(one, name=f"{one.name}-24", family="24 epochs", epochs=2 * EPOCHS)
    for name in SLOW
    for one in ROWS
    if one.name == name
)
CAMPAIGN = Campaign(
    name="twelve-epochs",
    about="every method for twelve epochs of CIFAR-10 by the recipe cifar10_cpu",
    editions=(
        Edition(
            budget=Budget(
                name="twelve",
                about="all 50,000 images of CIFAR-10, 12 epochs, batches of 256, AdamW, a ResNet-18 of width 16",
                epochs=EPOCHS,
                threads=1,
            ),
            images="CIFAR-10",
            rows=(*ROWS, *LONGER),
            evaluations=(
                Evaluation(protocol="knn", file="evaluation-knn.json", by_training=True),
                Evaluation(protocol="linear", file="evaluation-linear.json"),
            ),
            columns=(
                Column(key="knn200", title="kNN (200)", protocol="knn", measure="knn@200"),
                Column(key="linear", title="linear", protocol="linear", measure="linear top-1"),
            ),
            deciding=("knn200", "linear"),
        ),
    ),
    notes=("Twelve epochs are few, and decide no claim of a paper.",),
)
