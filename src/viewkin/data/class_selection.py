"""Some classes of a labelled source, such as those that training did not see."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor

from viewkin.data.source import Source
from viewkin.runtime.errors import UserError


def with_classes(source: Source, wanted: str) -> Source:
    """Keep the images of some classes; labels keep their values.

    Args:
        source: labelled.
        wanted: with commas between: a label, a range of labels ``98:196`` without its end, a class name, or the name of
            a group of classes that the set itself defines.

    Raises:
        UserError: no labels, an unknown name, a label that is not there, or classes without an image.
    """
    if source.labels is None:
        raise UserError(f"{source.name} has no labels, so no classes can be chosen.")
    labels = sorted({label for part in wanted.split(",") if part.strip() for label in _labels(source, part.strip())})
    rows = torch.isin(source.labels, torch.tensor(labels, dtype=torch.int64)).nonzero().squeeze(1)
    if not len(rows):
        raise UserError(f"The classes {wanted!r} of {source.name} have no image; its labels are {_range(source)}.")
    return source.subset(rows)


def beyond(wanted: str, count: int) -> bool:
    """Whether a range among the wanted classes, ``0:98``, ends beyond ``count`` classes; names are not looked at."""
    ends = [part.partition(":")[2].strip() for part in wanted.split(",")]
    return any(end.isdecimal() and int(end) > count for end in ends)


def _labels(source: Source, part: str) -> list[int]:
    """Labels that one part of the text means."""
    count = max(len(source.classes), int(_known(source).max()) + 1)
    first, colon, end = part.partition(":")
    if all(not text or text.isdecimal() for text in (first, end)) and (colon or first):
        start, stop = int(first or 0), int(end or count) if colon else int(first) + 1
        if not start < stop <= count:
            raise UserError(f"The classes {part!r} are none of {source.name}; its labels are {_range(source)}.")
        return list(range(start, stop))
    if part in source.groups:
        return list(source.groups[part])
    if part in source.classes:
        return [source.classes.index(part)]
    names = [*source.groups, *source.classes]
    near = difflib.get_close_matches(part, names, n=2, cutoff=0.4) or [*source.groups, *source.classes[:3]]
    raise UserError(
        f"{source.name} has no class {part!r}; give labels such as 98:196, or names such as {' or '.join(near)}."
    )


def _known(source: Source) -> Tensor:
    return torch.tensor([-1]) if source.labels is None else source.labels


def _range(source: Source) -> str:
    labels = _known(source)
    return f"{int(labels[labels >= 0].min())} to {int(labels.max())}"
