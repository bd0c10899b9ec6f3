"""Parts of a labelled set: balanced, named by a list, or held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError, require


def balanced(labels: Tensor, share: float, seed: int) -> Tensor:
    """Choose equally many images of each class, ``share * N / C`` rounded and at least one; a smaller class gives all.

    A function of seed and share alone; with one seed a smaller share lies within a larger one.

    Args:
        labels: (N,) classes.
        share: part of the images, above 0 and at most 1.
        seed: seed of the choice.

    Returns:
        Their rows, rising.
    """
    require(0 < share <= 1, "share", share, "above 0 and at most 1")
    classes = labels.unique()
    count = max(round(share * len(labels) / len(classes)), 1)
    order = torch.randperm(len(labels), generator=generator_for(seed, "semi"))
    return torch.cat([order[labels[order] == label][:count] for label in classes]).sort().values


def held_out(labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Part rows class by class: (kept, held out), both rising; a class of one image is kept.

    Args:
        labels: (N,) classes.
        share: part of each class that is held out, at least one image and not all.
        generator: random numbers of the choice.
    """
    order = torch.randperm(len(labels), generator=generator)
    taken: list[Tensor] = []
    for label in labels.unique():
        own = order[labels[order] == label]
        taken.append(own[: min(max(round(share * len(own)), 1), len(own) - 1)])
    out = torch.cat(taken).sort().values
    kept = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, out, False)
    return kept.nonzero().squeeze(1), out


def named(ids: Sequence[str], path: str) -> Tensor:
    """Choose the images that a text file names, one a line, by their id or by the last part of it.

    So SimCLR's lists of ImageNet (``n01440764_10026.JPEG``) fit a folder of class folders.

    Returns:
        Their rows, rising.

    Raises:
        UserError: no such file, no name in it, or a name that no image or more than one has.
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
