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
CARS, MINI, CELLS = "$VIEWKIN_DATA/cars196", "$VIEWKIN_DATA/miniimagenet", "$VIEWKIN_DATA/bccd"
TRAINVAL = ["--train-split", "trainval", "--image-size", "64"]
NOVEL = ["--test-split", "val", "--classes", "novel"]
"""The twenty novel classes of mini-ImageNet: 2,000 images that teach, 400 that are judged."""


def settings(*texts: str) -> list[str]:
    """Write ``path=value`` texts as options."""
    return [part for text in texts for part in ("--set", text)]


SMALL_DETECTION = settings(
    "batch_size=4", "lr=0.02", "train_sides=112,128,144", "test_side=128", "longest=192", "anchors=8,16,32,64,128",
    "proposals=200", "regions=64", "pyramid=64", "head=256", "precise=20",
)  # fmt: skip
"""Images of half the side they are stored at, few regions, a narrow pyramid: minutes on one core."""
ROWS: dict[str, list[str]] = {
    "knn-cifar10": ["knn", CIFAR, *settings("preset=eir")],
    "linear-cifar10": ["linear", CIFAR, *settings("preset=eir")],
    "mlp-miniimagenet": ["mlp", MINI, "--test-split", "val", *settings("preset=places", "views=test")],
    "retrieval-cifar10": ["retrieval", CIFAR],
    "retrieval-cars-unseen": ["retrieval", CARS, "--test-split", "train", "--classes", "98:196"],
    "retrieval-miniimagenet-novel": ["retrieval", MINI, "--test-split", "train", "--classes", "novel"],
    "cluster-cifar10": ["cluster", CIFAR],
    "svm-mosaics": ["svm", MOSAICS, *TRAINVAL, *settings("preset=pcl")],
    "lowshot-mosaics": ["lowshot", MOSAICS, *TRAINVAL, *settings("preset=pcl", "shots=1,4,16")],
    "multilabel-mosaics": [
        "multilabel", MOSAICS, *TRAINVAL, *settings("learning_rate=0.3", "crops=0", "precision=bf16-mixed"),
    ],
    "finetune-miniimagenet-novel": [
        "finetune", MINI, *NOVEL, *settings("preset=invp", "learning_rates=0.01,0.1", "epochs=8", "milestones=5,7"),
    ],
    "semi-cifar10-interclr": ["semi", CIFAR, *settings("preset=interclr-1")],
    "semi-cifar10-search": [
        "semi", CIFAR, *settings("preset=search-1", "learning_rates=0.01,0.1", "head_factors=1,10", "batch_size=64"),
    ],
    "semi-cifar10-simclr": ["semi", CIFAR, *settings("preset=simclr-1")],
    "stages-miniimagenet-novel": ["stages", MINI, *NOVEL, *settings("preset=interclr", "epochs=9", "milestones=3,6")],
    "blocks-miniimagenet-novel": ["stages", MINI, *NOVEL, *settings("preset=invp", "epochs=12", "milestones=5,8,10")],
    "detection-bccd-c4": ["detection", CELLS, *settings("form=c4", "iterations=200"), *SMALL_DETECTION],
    "detection-bccd-fpn": ["detection", CELLS, *settings("form=fpn", "iterations=150"), *SMALL_DETECTION],
}  # fmt: skip
"""Row to protocol, images and options. Mosaics are seen at 64 pixels, so that a quarter is as large as an image of
CIFAR. Where a published schedule would take hours on a processor, it is shortened and keeps its shape; searches of 19
costs on raw pixels are left out."""
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
