"""What differs between a collection and its images: what is kept, carried over, gone, and has to be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from viewkin.collection.listed_images import ListedImages
from viewkin.collection.store import Place, Rows

Facts = tuple[str | None, int | None, str | None]
"""Split, label and class name."""


@dataclass
class Found:
    """An image of the set: where it is listed, and what is known of it without decoding."""

    key: str
    """Its key."""
    facts: Facts
    """Split, label and class name."""
    content: str
    """Its content id."""
    place: tuple[int, int]
    """Number of the split in the list, and position in its listing."""
    replaces: bool = False
    """Whether a row has its key, with another content."""


@dataclass
class Differences:
    """A set beside the rows of a collection."""

    kept: int = 0
    """Rows that stay as they are."""
    carried: list[tuple[Found, int]] = field(default_factory=list[tuple[Found, int]])
    """Images whose vector is there, under another key or with other facts, and the row that has it."""
    compute: list[Found] = field(default_factory=list[Found])
    """Images whose vector is not there."""
    gone: list[int] = field(default_factory=list[int])
    """Rows to take out: their image is gone, has changed, or is carried over."""
    renamed: int = 0
    """Carried images whose old key is gone."""
    copied: int = 0
    """Carried images whose old key is still there."""
    relabelled: int = 0
    """Carried images of the same key, with another split or label."""
    forgotten: int = 0
    """Rows whose image is gone under any name."""


def joined_classes(before: Sequence[str], listed: Sequence[ListedImages]) -> tuple[str, ...]:
    """Add the class names of a set behind those that are known, so that no label changes its number."""
    new = (name for one in listed if one.listing.labels is not None for name in one.listing.classes)
    return tuple(dict.fromkeys([*before, *new]))


def found_images(listed: Sequence[ListedImages], classes: Sequence[str]) -> list[Found]:
    """Give every listed image with its facts; labels of named classes are numbered by ``classes``."""
    number = {name: label for label, name in enumerate(classes)}
    images: list[Found] = []
    for index, one in enumerate(listed):
        names = one.listing.classes
        for position, key, content in zip(one.positions, one.keys, one.contents):
            label, name = one.label_at(position), None
            if label is not None and label < len(names):
                name = names[label]
                label = number[name]
            images.append(Found(key, (one.split, label, name), content, (index, position)))
    return images


def differences(
    images: Sequence[Found],
    rows: Rows,
    whole_of: Callable[[Found], str | None],
    among: Callable[[str | None], bool],
) -> Differences:
    """Compare images with rows.

    Equal content ids mean equal images where the whole of an image was hashed. Of a longer image the hash of all its
    bytes decides as well, so that an edit in the middle of a file is never missed.

    Args:
        images: the images, each key once.
        rows: the collection.
        whole_of: reads an image whose stamp is not known, and gives the hash of all its bytes; None for a short one.
        among: whether rows of a split are compared; others stay as they are.
    """
    told = Differences()
    columns = {name: rows.table[name].to_pylist() for name in ("content", "whole", "split", "label", "class_name")}
    contents, wholes = columns["content"], columns["whole"]
    facts: list[Facts] = list(zip(columns["split"], columns["label"], columns["class_name"]))

    def same(image: Found, row: int) -> bool:
        return contents[row] == image.content and (wholes[row] is None or wholes[row] == whole_of(image))

    staying, rest = of_same_key(images, rows.row_of, facts, same, told)
    listed = {image.key for image in images}
    lost = [row for row, key in enumerate(rows.keys) if key not in listed and among(columns["split"][row])]
    moved = carry_or_compute(rest, contents, staying, same, told)
    told.gone += lost
    told.forgotten = len(set(lost) - moved)
    return told


def of_same_key(
    images: Sequence[Found],
    row_of: Mapping[str, int],
    facts: Sequence[Facts],
    same: Callable[[Found, int], bool],
    told: Differences,
) -> tuple[set[int], list[Found]]:
    """Find the images that are what the row of their key says; returns these rows, and all other images."""
    staying: set[int] = set()
    rest: list[Found] = []
    for image in images:
        row = row_of.get(image.key)
        if row is None or not same(image, row):
            image.replaces = row is not None
            rest.append(image)
            told.gone += [] if row is None else [row]
            continue
        staying.add(row)
        if facts[row] == image.facts:
            told.kept += 1
        else:
            told.relabelled += 1
            told.gone.append(row)
            told.carried.append((image, row))
    return staying, rest


def carry_or_compute(
    images: Sequence[Found],
    contents: Sequence[str],
    staying: set[int],
    same: Callable[[Found, int], bool],
    told: Differences,
) -> set[int]:
    """Find each image's vector under another key, or note that it is to be computed; returns the rows that moved."""
    of_content: dict[str, list[int]] = {}
    for row, content in enumerate(contents):
        of_content.setdefault(content, []).append(row)
    moved: set[int] = set()
    for image in images:
        others = [row for row in of_content.get(image.content, ()) if same(image, row)]
        if not others:
            told.compute.append(image)
            continue
        free = [row for row in others if row not in staying and row not in moved]
        told.renamed, told.copied = told.renamed + bool(free), told.copied + (not free)
        told.carried.append((image, (free or others)[0]))
        moved.update(free[:1])
    return moved


def gone_of(rows: Rows, numbers: Sequence[int]) -> Mapping[str, tuple[Place, str]]:
    """Name rows as a change takes them: key to place and content."""
    contents = rows.table["content"].to_pylist()
    return {rows.keys[row]: (rows.places[row], contents[row]) for row in numbers}
