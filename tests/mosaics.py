"""A small set laid out as PASCAL VOC, by the script that writes such sets."""

from pathlib import Path

import make_voc_mosaics
import numpy as np


def mosaics_in(folder: Path, train: int, test: int, classes: tuple[str, ...] = ("cat", "dog", "fox")) -> Path:
    """Write images of several classes each, laid out as PASCAL VOC, with the splits trainval and test."""
    random = np.random.default_rng(0)
    total = 4 * (train + test)
    images = random.integers(0, 256, (total, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, len(classes), total).tolist()
    made = list(make_voc_mosaics.mosaics(images, labels, list(classes), train + test, 1, 0))
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for one in made:
        make_voc_mosaics.write_image(folder, one)
    for split, part in (("trainval", made[:train]), ("test", made[train:])):
        make_voc_mosaics.write_lists(folder, split, part, list(classes))
    return folder
