"""The README.md beside an export: what the network is, how it was made, how well it does, how to load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viewkin.export.target import Comparison

FILE = "README.md"
MARK = "<!-- Written by viewkin export. -->"
"""Stands in every model card of this library."""
LIBRARIES = {"timm": "timm", "hf": "timm", "onnx": "onnx", "pt2": "pytorch", "torchvision": "pytorch"}
"""Target to the library that Hugging Face's front matter names; the others are this one's."""
UNKNOWN = "unknown"
"""Licence where the user named none."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights that are not of this training."""

    name: str
    """What they are called."""
    licence: str
    """What is known of their licence, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a network was trained here."""

    images: int
    """Number of images."""
    data: str
    """Name of the set, without the folders it lies in."""
    recipe: str
    """Name of the recipe, and a line about it."""
    method: str
    """Name of the method."""
    epochs: str
    """Passes over the images, ``50`` or ``12.5 of 50``."""
    seed: int
    """Seed of all random numbers."""
    smoke: bool
    """Whether it was only a smoke test."""
    made_by: str
    """The command, and the versions it ran with; empty where they were not kept."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measured row."""

    what: str
    """Protocol and model."""
    data: str
    """Images."""
    values: str
    """Measures and their values."""
    made_by: str
    """Command, seed and commit."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that a model card says."""

    title: str
    """Name of the model."""
    target: str
    """Name of the target."""
    licence: str
    """Licence that the user named, or :data:`UNKNOWN`."""
    network: str
    """The network in a few words."""
    feature_dim: int
    """D, numbers of a feature."""
    image_size: int
    """Side of the view, pixels."""
    trained: Trained | None
    """How it was trained; None: not here."""
    starts: Sequence[Start]
    """Weights that training began with, or that the network simply has, the latest first."""
    measured: Sequence[Measured]
    """What was measured."""
    compared: Comparison | None
    """What verifying it gave; None: it was not verified."""
    compared_on: str
    """The images of the comparison, or why there was none."""
    loading: str
    """Code that loads it."""
    preprocessing: str
    """Who makes the views."""
    version: str
    """Version of this library."""


def card_text(card: Card) -> str:
    """Write a model card in Markdown, with the front matter that Hugging Face reads."""
    parts = [
        _front(card),
        f"# {card.title}",
        MARK,
        f"{card.network}. It turns an image into a vector of {card.feature_dim:,} numbers; images that look alike "
        f"to it have vectors of high cosine. It sees images at {card.image_size} x {card.image_size} pixels. It has no "
        f"classifier. Exported by viewkin {card.version} with `--to {card.target}`.",
        "## Load it",
        f"```python\n{card.loading}```",
        card.preprocessing,
        "## Training",
        *_training(card),
        "## Measured",
        *_measured(card.measured),
        "## Export verified",
        _verified(card),
        "## What it is not good for",
        *_limits(card),
        "## Licence",
        _licence(card),
    ]
    return "\n\n".join(parts) + "\n"


def _front(card: Card) -> str:
    lines = [
        f"license: {card.licence}",
        f"library_name: {LIBRARIES.get(card.target, 'viewkin')}",
        "pipeline_tag: image-feature-extraction",
        "tags:",
        "- viewkin",
        *(["- self-supervised"] if card.trained is not None else []),
    ]
    return "\n".join(["---", *lines, "---"])


def _training(card: Card) -> list[str]:
    parts: list[str] = []
    trained = card.trained
    if trained is None:
        gone = "" if card.starts else ", or its run was not there when it was exported"
        parts.append(f"viewkin did not train this network{gone}.")
    else:
        parts.append(
            f"Trained on {trained.images:,} images of {trained.data}, without labels, for {trained.epochs} epochs, "
            f"seed {trained.seed}. Method: {trained.method}. Recipe: {trained.recipe}."
        )
        if trained.smoke:
            parts.append("**This was a smoke test on few images: the weights are of no use.**")
        if trained.made_by:
            parts.append(f"Made by:\n\n```text\n{trained.made_by}\n```")
    if card.starts:
        words = "Training started from" if trained is not None else "The weights are"
        parts += [f"{words} {one.name}. {one.licence}" for one in card.starts[:1]]
        parts += [f"Those started from {one.name}. {one.licence}" for one in card.starts[1:]]
    elif trained is not None:
        parts.append("Training started from random weights.")
    return parts


def _measured(rows: Sequence[Measured]) -> list[str]:
    if not rows:
        return ["No numbers were measured. `viewkin evaluate` measures them, and a later export writes them here."]
    head = ["| measure of | images | values | made by |", "| --- | --- | --- | --- |"]
    cells = [" | ".join(map(_cell, (row.what, row.data, row.values, row.made_by))) for row in rows]
    return ["\n".join([*head, *(f"| {row} |" for row in cells)]), "Accuracies are in percent."]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _verified(card: Card) -> str:
    if card.compared is None:
        return f"Not verified: {card.compared_on}"
    return f"{card.compared.sentence()} The images: {card.compared_on}."


def _limits(card: Card) -> list[str]:
    trained = card.trained
    if trained is None:
        known = "Images unlike those that it was trained on: measure it on labelled images of your own first."
    else:
        known = (
            f"Images unlike the {trained.images:,} that it was trained on: measure it on labelled images of your own "
            "first."
        )
    lines = [
        known,
        f"Details that are lost at {card.image_size} pixels a side, and what lies outside the view that it sees.",
        "Telling what an image shows: it has no classes. Train a classifier on its vectors, or compare vectors.",
        "Decisions about people, and anything where a wrong match does harm: nobody has checked it for that, and it "
        "takes over whatever is lopsided in its training images.",
    ]
    if any("labels" in one.licence for one in card.starts):
        lines.append("Claims of learning without labels: the weights that it began with were trained with labels.")
    return ["\n".join(f"* {line}" for line in lines)]


def _licence(card: Card) -> str:
    if card.licence == UNKNOWN:
        named = "No licence was named. Write one here and in the first lines of this file (`--license` sets both)."
    else:
        named = f"{card.licence}, as named by whoever exported it."
    more = "".join(f" {one.name}: {one.licence}" for one in card.starts)
    return f"{named}{more}"
