"""What every kind of set of images can say: its splits, what each lists, and what is left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from viewkin.data.left_out import LeftOut
from viewkin.data.listing import Listing, Survey
from viewkin.data.source import ResidentSource


class Layout(ABC):
    """How the images of one set lie. It looks at each folder and file once, at the first question that needs it."""

    root: Path | None = None
    """Absolute folder that the keys start from; None for images that lie nowhere."""
    address: str | None = None
    """Text that names the same set from any working directory; None where there is none."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Splits that can be opened."""

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """List the images of a split.

        Raises:
            UserError: no such split, or nothing in it.
        """

    def known_survey(self, split: str) -> Survey | None:
        """Say what is known of a split before it is listed; None where its listing must be asked.

        Raises:
            UserError: no such split.
        """
        return None

    def surveyed_split(self, split: str) -> str:
        """Choose the split that a survey of ``split`` looks at."""
        return split

    def left_out(self, split: str | None) -> list[LeftOut]:
        """Count what lies among the images of a split, or of all, and is not used."""
        return []


class PixelLayout(Layout):
    """A set whose images are pixels from the start: they are held in memory and need no first pass."""

    @abstractmethod
    def source(self, split: str, size: int | None) -> ResidentSource:
        """Give a split as squares of ``size`` pixels, or of their own size.

        Raises:
            UserError: no such split, or files that cannot be read.
        """

    @abstractmethod
    def content_ids(self, split: str) -> list[str]:
        """Give the content id of every image of a split, at its own size."""
