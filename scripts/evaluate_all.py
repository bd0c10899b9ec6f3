"""Judge one trained backbone by every protocol on real images and gather the table: results/evaluations.csv.

    python scripts/unpack_cifar.py data
    python scripts/make_voc_mosaics.py data/voc-mosaics
    python scripts/evaluate_all.py runs/cifar10_cpu [ROW ...]

Every row is ``viewkin evaluate`` with the row's arguments below: the trained backbone beside the untrained network and
raw pixels. What is done stays done: its JSON lies in ``MODEL/evaluations``, a row that has one is not repeated, and
the table is written anew after every row. Cars-196 and mini-ImageNet are read from $VIEWKIN_DATA (default
../shared/data). Give it an idle machine, and OMP_NUM_THREADS as the table shall say.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CIFAR, MOSAICS = "data/cifar-10-batches-py", "data/voc-mosaics"
CARS, MINI = "$VIEWKIN_DATA/cars196", "$VIEWKIN_DATA/miniimagenet"
TRAINVAL = ["--train-split", "trainval", "--image-size", "64"]
SEARCH = ["--set", "preset=interclr", "--set", "selection=test", "--no-baselines"]
ROWS: dict[str, list[str]] = {
    "knn-cifar10": ["knn", CIFAR, "--set", "k=5,20,200"],
    "linear-cifar10": ["linear", CIFAR],
    "mlp-cifar10": ["mlp", CIFAR],
    "retrieval-cifar10": ["retrieval", CIFAR],
    "retrieval-cars-unseen": ["retrieval", CARS, "--test-split", "train", "--classes", "98:196"],
    "retrieval-miniimagenet-novel": ["retrieval", MINI, "--test-split", "train", "--classes", "novel"],
    "cluster-cifar10": ["cluster", CIFAR],
    "cluster-cars-unseen": ["cluster", CARS, "--test-split", "train", "--classes", "98:196"],
    "svm-mosaics": ["svm", MOSAICS, *TRAINVAL, "--set", "preset=pcl"],
    "svm-mosaics-search": ["svm", MOSAICS, *TRAINVAL, "--set", "preset=interclr", "--no-baselines"],
    "lowshot-mosaics": ["lowshot", MOSAICS, *TRAINVAL],
    "lowshot-mosaics-on-test": ["lowshot", MOSAICS, *TRAINVAL, *SEARCH],
    "lowshot-cifar10": ["lowshot", CIFAR],
}
"""Row to protocol, images and options. Mosaics are seen at 64 pixels, so that a quarter is as large as an image of
CIFAR. The searches of 19 costs are done for the trained backbone only: on raw pixels they take hours."""
FIELDS = ("row", "model", "measure", "value", "seed", "images", "device", "seconds", "commit", "command")


def command_of(name: str, model: Path, images: str) -> list[str]:
    """Arguments of a row's command, as they are run."""
    protocol, data, *options = ROWS[name]
    place = data.replace("$VIEWKIN_DATA", images)
    return ["evaluate", protocol, str(model), place, *options, "--out", str(model / "evaluations" / f"{name}.json")]


def as_typed(name: str) -> str:
    """A row's command for the table: MODEL and $VIEWKIN_DATA stand for their places."""
    protocol, data, *options = ROWS[name]
    return " ".join(["viewkin evaluate", protocol, "MODEL", data, *options])


def judged(name: str, model: Path, images: str) -> None:
    """Run a row, unless that is done."""
    if (model / "evaluations" / f"{name}.json").exists():
        return
    (model / "evaluations").mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(
        [sys.executable, "-m", "viewkin", *command_of(name, model, images)], check=True, cwd=ROOT, env=environment
    )


def rows_of(name: str, file: Path) -> Iterator[dict[str, Any]]:
    """Read what an evaluation says, one row a model and measure."""
    for one in json.loads(file.read_text()):
        for measure, value in one["values"].items():
            yield {
                "row": name,
                "model": one["model"],
                "measure": measure,
                "value": None if value is None else round(value, 3),
                "seed": one["seed"],
                "images": one["data"].rpartition(": ")[2],
                "device": one["device"],
                "seconds": round(one["seconds"], 1),
                "commit": one["commit"],
                "command": as_typed(name),
            }


def gather(model: Path, table: Path) -> None:
    """Write the table of all rows that are done."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for name in ROWS:
            if (model / "evaluations" / f"{name}.json").exists():
                writer.writerows(rows_of(name, model / "evaluations" / f"{name}.json"))


def main() -> None:
    """Read the command line, judge, gather."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL", help="a run directory")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none is named")
    parser.add_argument("--table", type=Path, default=ROOT / "results" / "evaluations.csv")
    options = parser.parse_args()
    unknown = set(options.rows) - ROWS.keys()
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if not options.model.is_dir():
        parser.error(f"there is no run directory {options.model}")
    images = os.environ.get("VIEWKIN_DATA") or str(ROOT.parent / "shared" / "data")
    failed = []
    for name in options.rows or ROWS:
        try:
            judged(name, options.model.resolve(), images)
        except subprocess.CalledProcessError:
            failed.append(name)  # the command said why; the other rows need not wait for it
        gather(options.model.resolve(), options.table)
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed; run the same command again when the reason is gone")


if __name__ == "__main__":
    main()
