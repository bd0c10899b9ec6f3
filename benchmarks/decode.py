"""Images a second from a folder of ordinary JPEGs to squares of uint8: ours beside torchvision with PIL.

    python benchmarks/decode.py --threads 2

Photographs of 500 x 375 px are made from small ones (``--data``, any folder of images) by enlarging them, or from noise
of natural spectrum where none is given. Ours is the first pass (reduced-scale JPEG decoding, one resize) and, later,
its cache; torchvision's is ``Resize`` and ``CenterCrop`` of a PIL image, in as many threads.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import RESULTS, origin, seconds_of, shown, spread, write
from PIL import Image

from viewkin.data.dataset import open_source
from viewkin.data.formats.folder import image_files

CPU = torch.device("cpu")
SHAPE = (500, 375)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of images to enlarge")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--size", nargs="+", type=int, default=[96, 224], help="side of the stored square")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "decode.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    report = origin("decode", options.threads, CPU)
    report |= {"images": options.images, "shape": SHAPE, "cases": []}
    with tempfile.TemporaryDirectory() as folder:
        report["bytes_an_image"] = photographs(options, Path(folder) / "photos")
        for size in options.size:
            report["cases"].append(measure(options, Path(folder), size))
            write(options.out, report)


def photographs(options: argparse.Namespace, folder: Path) -> float:
    """Write JPEGs of quality 90; return their mean size in bytes."""
    folder.mkdir()
    sources = image_files(options.data)[: options.images] if options.data else []
    generator = np.random.default_rng(0)
    for number in range(options.images):
        if sources:
            image = Image.open(options.data / sources[number % len(sources)]).convert("RGB")
        else:
            coarse = [generator.integers(0, 255, (side, side, 3), dtype=np.uint8) for side in (8, 40)]
            image = Image.blend(*(Image.fromarray(one).resize((96, 96)) for one in coarse), 0.3)
        image.resize(SHAPE, Image.Resampling.BICUBIC).save(folder / f"{number:05d}.jpg", quality=90)
    return sum(file.stat().st_size for file in folder.iterdir()) / options.images


def measure(options: argparse.Namespace, folder: Path, size: int) -> dict[str, Any]:
    """Take turns: the first pass, the cache, torchvision."""
    from torchvision.transforms import v2

    crop = v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()])
    paths = sorted((folder / "photos").iterdir())
    number = iter(range(10**6))

    def ours(cache: Path) -> None:
        source = open_source(
            str(folder / "photos"), size=size, workers=options.threads, cache_dir=cache, progress=False
        )
        source.images(torch.arange(len(source)))

    def theirs() -> None:
        with ThreadPoolExecutor(options.threads) as pool:
            list(pool.map(lambda path: crop(Image.open(path).convert("RGB")), paths))

    found: dict[str, list[float]] = {"first pass": [], "from the cache": [], "torchvision and PIL": []}
    for _ in range(options.repeats):
        cache = folder / f"cache{next(number)}-{size}"
        works = (lambda c=cache: ours(c), lambda c=cache: ours(c), theirs)
        for name, work in zip(found, works):
            found[name].append(options.images / seconds_of(work, CPU, 1, 0)[0])
    case: dict[str, Any] = {"size": size, "images_per_second": {name: spread(all_) for name, all_ in found.items()}}
    for name, values in case["images_per_second"].items():
        print(f"{size} px, {name}: {shown(values, 0)} images/s")
    ratios = [a / b for a, b in zip(found["first pass"], found["torchvision and PIL"])]
    case["first_pass_over_torchvision"] = spread(ratios)
    return case


if __name__ == "__main__":
    main()
