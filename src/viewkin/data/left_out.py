"""What lies among the images and is not used, counted by reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viewkin.runtime.wording import counted

EXAMPLES = 3
"""Examples that are kept of each reason."""
CONVERT = "not read; convert them to .jpg or .png"
UNPACK = "not read; unpack them"
VIDEO = "not read; save frames of them as .jpg or .png"
ADVICE: dict[str, str] = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "install pillow-heif"),
    ".avif": "install pillow-avif-plugin",
    ".jxl": "install pillow-jxl-plugin",
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".raw"), CONVERT),
    **dict.fromkeys((".pdf", ".eps", ".svg", ".psb", ".dcm", ".npy", ".npz", ".nii", ".mat"), CONVERT),
    **dict.fromkeys((".parquet", ".pq"), "not read, because image files lie beside them"),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"), VIDEO),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"), UNPACK),
}
"""What to do about files that hold images, by ending; files of other endings are told together."""


@dataclass(frozen=True)
class LeftOut:
    """What is not used for one reason."""

    reason: str
    """How many of what, and why: ``90 .heic files: install pillow-heif``."""
    count: int
    """Files, folders or rows."""
    examples: tuple[str, ...]
    """A few of them; of files of many endings, their endings."""

    @property
    def sentence(self) -> str:
        """The reason with its examples."""
        if not self.examples:
            return f"{self.reason}."
        more = ", ..." * (self.count > len(self.examples) and len(self.examples) == EXAMPLES)
        return f"{self.reason} ({', '.join(self.examples)}{more})."


def some(names: Sequence[str]) -> str:
    """Write up to three names, with commas between."""
    return ", ".join(names[:EXAMPLES]) + ", ..." * (len(names) > EXAMPLES)


def classes_named(classes: Sequence[str]) -> str:
    """Count classes and give their first names: ``2 classes (cat, dog)``."""
    return f"{len(classes):,} class{'es' * (len(classes) != 1)} ({some(classes)})"


def ending_of(name: str) -> str:
    """Give the ending of a file's name in lower case with its dot; "" without."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _several(count: int, noun: str) -> str:
    """Count a noun that may have words behind it: ``2 files without an ending``."""
    first, without, rest = noun.partition(" without ")
    return f"{counted(count, first)}{without}{rest}"


class Tally:
    """Counts what is left out."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, noun: str, why: str, example: str | None = None, count: int = 1) -> None:
        """Count ``count`` more of ``noun``, a singular, that are left out because of ``why``."""
        reason = (noun, why)
        self._counts[reason] = self._counts.get(reason, 0) + count
        examples = self._examples.setdefault(reason, {})
        if example is not None and len(examples) < EXAMPLES:
            examples.setdefault(example)

    def add_file(self, path: str, kind: str = "") -> None:
        """Count a file that is no image, by its ending, or by that of the ``kind`` that its content is of."""
        name = path.rpartition("/")[2]
        ending = kind or ending_of(name)
        if ending in ADVICE:
            self.add(f"{ending} file", ADVICE[ending], path)
        else:
            self.add("other file", "not read", ending or name)

    def report(self) -> list[LeftOut]:
        """Give each reason with its count, in the order in which they were met."""
        return [
            LeftOut(f"{_several(count, noun)}: {why}", count, tuple(self._examples[noun, why]))
            for (noun, why), count in self._counts.items()
        ]

    def include(self, other: Tally) -> None:
        """Add what another has counted."""
        for (noun, why), count in other._counts.items():
            self.add(noun, why, None, count)
            for example in other._examples[noun, why]:
                self.add(noun, why, example, 0)
