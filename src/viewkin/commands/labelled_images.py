"""The labelled images of an evaluation: those that teach and those that are judged."""

from __future__ import annotations

from dataclasses import dataclass

from viewkin.data.class_selection import with_classes
from viewkin.data.dataset import Dataset, Images, Survey
from viewkin.data.reading import Reading
from viewkin.data.source import Source
from viewkin.encode.model import Model, stored_size
from viewkin.evaluation.protocols import PROTOCOLS, Protocol
from viewkin.evaluation.subsets import split_holdout
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LabelledRequest:
    """Which images are wanted."""

    data: Images
    """Labelled images."""
    train_split: str = "train"
    """Split that teaches."""
    test_split: str = "test"
    """Split that is judged."""
    holdout: float | None = None
    """Share of the training split to judge on instead of a test split, 0 to 1."""
    reading: Reading | None = None
    """Which columns hold images and labels; None: found out."""
    classes: str | None = None
    """Classes to judge on, such as ``98:196``; None: all."""


def labelled_splits(
    asked: LabelledRequest, dataset: Dataset, name: str, protocol: Protocol, model: Model
) -> tuple[Source | None, Source]:
    """Open the split that teaches, if the protocol needs one, and the one that is judged, both labelled.

    Raises:
        UserError: no such split, no labels, or labels that the protocol cannot use.
    """
    if asked.holdout is not None and not protocol.needs_train:
        raise UserError(f"{name} learns nothing, so nothing is held out: leave out --holdout, name a --test-split.")
    size = (_whole_size if protocol.squash else stored_size)(dataset.survey(), model.image_size)
    squash = protocol.squash or model.policy.squash

    def opened(split: str) -> Source:
        source = dataset.source(split, size=size, squash=squash, value_range=model.value_range)
        return _labelled(
            source if asked.classes is None else with_classes(source, asked.classes), asked, dataset, name, split
        )

    _check_several(dataset, name, protocol)
    train = None
    if protocol.needs_train:
        if asked.train_split not in dataset.splits:
            raise UserError(f"{dataset.name} has no {asked.train_split} split; it has {', '.join(dataset.splits)}.")
        train = opened(asked.train_split)
        if asked.holdout is not None:
            return held_out(train, asked.holdout)
    if asked.test_split not in dataset.splits:
        other = ", or judge on a part of the images with --holdout 0.2" if protocol.needs_train else ""
        raise UserError(
            f"{dataset.name} has no {asked.test_split} split, only {', '.join(dataset.splits)}; "
            f"name another --test-split{other}."
        )
    return train, opened(asked.test_split)


def held_out(source: Source, share: float) -> tuple[Source, Source]:
    """Split a labelled source in two, class by class, always in the same way: (what teaches, what is judged)."""
    if not 0 < share < 1:
        raise UserError(f"--holdout is {share}; it must be a share between 0 and 1, such as 0.2.")
    if source.labels is None:
        raise UserError(f"{source.name} shows several classes an image; name a --test-split instead of --holdout.")
    kept, asked = split_holdout(source.labels, share, generator_for(0, "holdout"))
    if not len(asked):
        raise UserError(f"No class of {source.name} has two images, so none can be held out; add images.")
    return source.subset(kept), source.subset(asked)


def _labelled(source: Source, asked: LabelledRequest, dataset: Dataset, name: str, split: str) -> Source:
    """Keep the images that have a label."""
    if source.targets is not None:
        return source
    if source.labels is not None:
        return source.subset((source.labels >= 0).nonzero().squeeze(1))
    if split == asked.train_split or not asked.test_split:
        raise UserError(
            f"{dataset.name} has no labels, which {name} needs; put the images of each class in a folder, or whole "
            "numbers or texts into a Parquet column 'label'."
        )
    raise UserError(f"The {split} split of {dataset.name} has no labels; name another --test-split.")


def _check_several(dataset: Dataset, name: str, protocol: Protocol) -> None:
    """Refuse images that show several classes where a protocol takes one each."""
    if dataset.survey().several and not protocol.multilabel:
        able = [other for other, one in PROTOCOLS.items() if one.multilabel]
        raise UserError(
            f"The images of {dataset.name} show several classes each, and {name} takes one; use {' or '.join(able)}."
        )


def _whole_size(survey: Survey, image_size: int) -> int | None:
    """Side at which whole images are kept: that of the test view, or their own when they are smaller squares."""
    return None if survey.uniform and survey.shorter_side <= image_size else image_size
