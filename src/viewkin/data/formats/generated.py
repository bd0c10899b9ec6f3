"""The generated set as a set of images: what a user writes, its splits and its sources."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from weakref import WeakValueDictionary

from torch import Tensor

from viewkin.data.formats.generated_drawing import (
    GENERATED_SPLITS,
    MOST_CLASSES,
    GeneratedConfig,
    class_names,
    draw,
    labels_of,
)
from viewkin.data.formats.pixels import PixelImages
from viewkin.data.identity import contents_of_pixels
from viewkin.data.layout import PixelLayout
from viewkin.data.listing import Listing, Survey
from viewkin.data.source import ResidentSource, SourceInfo
from viewkin.runtime.errors import UserError

__all__ = [
    "GENERATED_SPLITS",
    "MOST_CLASSES",
    "GeneratedConfig",
    "GeneratedLayout",
    "class_names",
    "draw",
    "generated_config",
    "open_generated",
]


def generated_config(spec: str, size: int | None = None) -> GeneratedConfig:
    """Read ``generated`` or ``generated:images=4000,classes=10,size=32,seed=0,plain=0``.

    Args:
        spec: the text.
        size: side to draw at instead of the text's, pixels.

    Raises:
        UserError: an unknown option, or a value that is no whole number.
    """
    known = [field.name for field in fields(GeneratedConfig)]
    options: dict[str, int] = {} if size is None else {"size": size}
    _, _, text = spec.partition(":")
    for option in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in option.partition("="))
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.4) or known
            raise UserError(f"{spec} has an unknown option {name!r}: did you mean {' or '.join(near)}?")
        if not value.removeprefix("-").isdecimal():
            raise UserError(f"{spec} gives {name} the value {value!r}: give a whole number, as in {name}=10.")
        if name != "size" or size is None:
            options[name] = int(value)
    return GeneratedConfig(**options)


class GeneratedLayout(PixelLayout):
    """The generated set; each split is drawn when it is first needed."""

    def __init__(self, spec: str) -> None:
        """Take ``generated:...`` as the user wrote it.

        Raises:
            UserError: an unknown option, or a value that is out of range.
        """
        self.address = self._spec = spec
        self.config = generated_config(spec)
        self._pixels: WeakValueDictionary[str, Tensor] = WeakValueDictionary()  # whoever uses the pixels keeps them

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be drawn."""
        return GENERATED_SPLITS

    def known_survey(self, split: str) -> Survey:
        """Say what would be drawn."""
        config = self.config
        return Survey(config.count(split), config.size, True, True, self.splits, classes=config.classes)

    def listing(self, split: str) -> Listing:
        """Number the images of a split."""
        labels = labels_of(self.config, split)
        return Listing(
            name="generated",
            encoded=PixelImages(len(labels), partial(self._drawn, split)),
            keys=keys_of(split, len(labels)),
            labels=labels,
            classes=class_names(self.config.classes, plain=bool(self.config.plain)),
            splits=self.splits,
        )

    def source(self, split: str, size: int | None) -> ResidentSource:
        """Draw a split at the set's own size unless another is asked for."""
        config = generated_config(self._spec, size)
        return source_of(config, split, self._drawn(split) if config == self.config else None)

    def content_ids(self, split: str) -> list[str]:
        """Hash the pixels of every image of a split, at the set's own size."""
        return contents_of_pixels(self._drawn(split))

    def _drawn(self, split: str) -> Tensor:
        """Give the images of a split, which are drawn once while anything uses them."""
        images = self._pixels.get(split)
        if images is None:
            images, _ = draw(self.config, split)
            self._pixels[split] = images
        return images


def keys_of(split: str, count: int) -> list[str]:
    """Number the images of a split."""
    return [f"{split}#{i}" for i in range(count)]


def open_generated(config: GeneratedConfig, split: str = "train") -> ResidentSource:
    """Draw a split and hold it in memory."""
    return source_of(config, split)


def source_of(config: GeneratedConfig, split: str, images: Tensor | None = None) -> ResidentSource:
    """Hold the images of a split in memory; they are drawn where they are not given."""
    if images is None:
        images, labels = draw(config, split)
    else:
        labels = labels_of(config, split)
    facts = SourceInfo(
        name="generated",
        size=config.size,
        keys=keys_of(split, len(labels)),
        labels=labels,
        classes=class_names(config.classes, plain=bool(config.plain)),
    )
    return ResidentSource(facts, images)
