"""Parts of a labelled set: a balanced part, images named by a list, or a held-out part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError, require


def balanced_subset(labels: Tensor, share: float, seed: int) -> Tensor:
    """Choose the same number of images of each class: ``share * N / C``, rounded, and at least one.

    A class with fewer images gives all of them. With the same seed, a smaller share is a subset of a larger one.

    Args:
        labels: (N,) classes.
        share: fraction of the images, above 0 and at most 1.
        seed: seed of the choice.

    Returns:
        Rows of the chosen images, rising.
    """
    require(0 < share <= 1, "share", share, "above 0 and at most 1")
    classes = labels.unique()
    count = max(round(share * len(labels) / len(classes)), 1)
    order = torch.randperm(len(labels), generator=generator_for(seed, "semi"))
    return torch.cat([order[labels[order] == label][:count] for label in classes]).sort().values


def split_holdout(labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split rows class by class: (kept, held out), both rising; a class of one image is kept.

    Args:
        labels: (N,) classes.
        share: fraction of each class that is held out, at least one image and not all.
        generator: source of random numbers.
    """
    order = torch.randperm(len(labels), generator=generator)
    taken: list[Tensor] = []
    for label in labels.unique():
        own = order[labels[order] == label]
        taken.append(own[: min(max(round(share * len(own)), 1), len(own) - 1)])
    out = torch.cat(taken).sort().values
    kept = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, out, False)
    return kept.nonzero().squeeze(1), out


def rows_by_name(ids: Sequence[str], path: str) -> Tensor:
    """Choose the images that a text file names, one per line, by their id or by its last part.

    SimCLR's lists of ImageNet images (``n01440764_10026.JPEG``) therefore fit a folder of class folders.

    Returns:
        Rows of the named images, rising.

    Raises:
        UserError: the file is missing or empty, or no image or more than one has one of the names.
    """
    try:
        wanted = {line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list of names {path} cannot be read: give a text file with one name a line.") from error
    if not wanted:
        raise UserError(f"the list of names {path} is empty: write one name a line.")
    last = [PurePosixPath(name.replace("\\", "/")).name for name in ids]
    rows: dict[str, int] = {name: row for row, name in enumerate(last)} | {name: row for row, name in enumerate(ids)}
    missing = sorted(wanted - rows.keys())
    if missing:
        raise UserError(f"{len(missing)} names of {path} are no training images, such as {missing[0]}.")
    counts, whole = Counter(last), set(ids)
    double = sorted(name for name in wanted - whole if counts[name] > 1)
    if double:
        raise UserError(f"several images are named {double[0]}, as {path} has it: write their paths.")
    return torch.tensor(sorted({rows[name] for name in wanted}), dtype=torch.int64)
