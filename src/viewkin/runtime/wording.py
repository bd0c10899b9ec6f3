"""Numbers and time spans in words, and texts of unknown origin on one line."""

from __future__ import annotations

import re

UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, marks that turn the direction of writing, and halves of a character."""
LONG_WORD = re.compile(r"[^\s/]{260,}")
"""What is longer than the longest file name."""
LONG_SENTENCE = 2000
"""Characters of the longest sentence, the list of all settings among them."""


def counted(count: int, noun: str) -> str:
    """Write ``1 epoch``, ``12 epochs``, ``1,200 epochs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Say a time span as people do: ``40 seconds``, ``12 minutes``, ``3.5 hours``, ``12 days``."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"{count:.0f} {unit}" if count >= 10 or unit == "minutes" else f"{count:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def one_line(text: str) -> str:
    r"""Write a text so that any terminal shows it as one line: what is unseen becomes ``\x1b``; long words are cut."""
    seen = UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _cut(LONG_WORD.sub(lambda found: _cut(found[0], 60), seen), LONG_SENTENCE)


def _cut(text: str, most: int) -> str:
    """Cut out the middle of a text that is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"
