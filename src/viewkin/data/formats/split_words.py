"""Which split a path belongs to, by its whole words: ``latest`` is no test, ``medieval`` no val."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPLIT_OF = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation", "valset", "devset"), "val"),
}
"""Word to split, in order of preference where several folders are of one split."""
NEUTRAL = frozenset(
    ("set", "split", "data", "dataset", "image", "images", "img", "imgs", "jpg", "png", "photo", "photos", "pictures")
)
"""Words beside which a folder is still named after its split; alone they say that it holds images."""
BREAK = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])")
"""Where words end: at signs, before digits, and before a capital after a small letter."""


def words(path: str) -> list[str]:
    """Take a path apart into words of small letters, and numbers."""
    return [word.lower() for word in BREAK.split(path) if word]


def split_in(path: str) -> str | None:
    """Find the split that a path names; the last where it names several, None where it names none."""
    return next((SPLIT_OF[word] for word in reversed(words(path)) if word in SPLIT_OF), None)


def split_of_folder(name: str) -> str | None:
    """Find the split that a folder is named after: ``train``, ``Test images``, ``val2017``; None for any other name."""
    found = [word for word in words(name) if not word.isdecimal() and word not in NEUTRAL]
    return SPLIT_OF.get(found[0]) if len(found) == 1 else None


def splits_of_folders(names: Sequence[str]) -> list[str | None]:
    """Find the split that each of some folders is named after.

    Folders that differ by such a word alone, as ``seg_train`` and ``seg_test``, are named after it too.
    """
    own = [split_of_folder(name) for name in names]
    parts = [[word for word in words(name) if not word.isdecimal()] for name in names]
    chosen = [[SPLIT_OF[word] for word in part if word in SPLIT_OF] for part in parts]
    rests = {tuple(word for word in part if word not in SPLIT_OF) for part in parts}
    if not any(own) and len(names) > 1 and len(rests) == 1 and all(len(one) == 1 for one in chosen):
        return [one[0] for one in chosen]
    return own


def holds_images(name: str) -> bool:
    """Whether a folder's name says that it holds images, and no more: ``images``, ``JPG``, ``data_set``."""
    found = [word for word in words(name) if not word.isdecimal()]
    return bool(found) and NEUTRAL.issuperset(found)
