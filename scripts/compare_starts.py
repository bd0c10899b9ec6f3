"""Show whether training from pretrained weights pays: results/starts/SET.csv.

    python scripts/compare_starts.py cars196 [ROW ...] [--seeds 0 1 2] [--threads 1]
    python scripts/compare_starts.py cifar100 [ROW ...] [--seeds 0 1 2] [--threads 1]

The weights are ``efficientnet_lite0``. Each row trains on the images of the seen classes without labels. Recall@K is
measured among the images of the unseen classes, which no training saw, once a run; and among the seen. The first row is
the start itself; ``start-160`` is the start on images enlarged to 160 px. Settings were chosen with the classes 0 to 69
of Cars-196 seen and 70 to 97 unseen (docs/log.md). What is done stays done: a run that was stopped goes on, and one
whose results lie under results/starts is not repeated. Images are those under VIEWKIN_DATA; CIFAR-100 is unpacked
beside the runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "starts"
WEIGHTS = "efficientnet_lite0"
EPOCHS = 6


@dataclass(frozen=True)
class Images:
    """A set, and what of it is seen."""

    seen: str
    """Classes that are trained on."""
    unseen: str
    """Classes that are judged."""
    split: str
    """Split whose images are judged."""
    settings: tuple[str, ...]
    """Settings of all rows."""


SETS = {
    "cars196": Images("0:98", "98:196", "train", ("augment.image_size=96",)),
    "cifar100": Images("0:20", "20:100", "test", ("augment.image_size=64",)),
}
BASE = ("method.base.temperature=0.07", "method.base.hidden=512")
KIN = (
    "method.clusters.of=features",
    "method.clusters.labels=offline",
    "method.clusters.min_size=5",
    "method.clusters.number=200",
)
KIN_OF_START = (
    "method.clusters.of=start",
    "method.clusters.start_size=160",
    "method.clusters.labels=offline",
    "method.clusters.min_size=5",
    "method.clusters.number=200",
)
EDGES_OF_START = (
    "method.edges=start",
    "method.start_size=160",
    "method.weight=0.3",
    "method.candidates=1024",
    "method.graph.neighbours=4",
    "method.graph.hops=1",
    "method.graph.positives=4",
    "method.ramp.share=0",
    "method.ramp.gate=false",
    "method.bank_momentum=0",
)
RELATION = ("method.relation=start", "method.teacher_temperature=0.05", "method.temperature=0.05")

MOCO = ("method.temperature=0.07", "method.momentum=0.99", "method.queue_size=2048", "method.symmetric=true")


def around(term: str, *values: str) -> list[str]:
    """Write the arguments of a term around SimCLR."""
    return ["--method", f"{term}(simclr)", *(part for value in (*values, *BASE) for part in ("--set", value))]


PLAIN = ["--method", "simclr", *(part for value in BASE for part in ("--set", value.replace("base.", "")))]
ROWS: dict[str, list[str]] = {
    "start": [],
    "simclr": PLAIN,
    "eir-relation": around("eir", "method.relation_weight=0.1", "method.mixture_weight=0", *RELATION),
    "interclr": around("interclr", *KIN),
    "interclr-start": around("interclr", *KIN_OF_START),
    "propagation-start": around("propagation", *EDGES_OF_START),
    "eir-mixture": around(
        "eir", "method.relation_weight=0", "method.mixture_weight=0.3", "method.mixture_temperature=0.07"
    ),
    "moco": ["--method", "moco", *(part for value in MOCO for part in ("--set", value))],
    "simclr-12": [*PLAIN, "--epochs", "12"],
    "simclr-averaged": [*PLAIN, "--set", "init.average=0.3"],
    "start-160": [],
}
"""Row to its arguments; those without a seed are not trained."""
UNTRAINED = {"start": None, "start-160": 160}
"""Rows of the start alone, and the side of the images that it sees; None: that of all rows."""
KEPT = ("recipe.json", "versions.json", "metrics.jsonl")
RESULT = "retrieval-{}.json"
FIELDS = ("row", "seed", "unseen_r1", "unseen_r8", "seen_r1", "seen_r8", "epochs", "cpu_seconds", "commit")


def run(command: list[str], threads: int) -> None:
    """Run a command of this checkout."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-m", "viewkin", *command], check=True, env=environment)


def images_of(name: str, runs: Path) -> Path:
    """Find the images of a set, or unpack them."""
    data = Path(os.environ.get("VIEWKIN_DATA", ROOT.parent / "shared" / "data"))
    if name != "cifar100":
        return data / name
    unpacked = runs / "data" / "cifar-100-python"
    if not unpacked.exists():
        command = [sys.executable, str(ROOT / "scripts" / "unpack_cifar.py"), str(unpacked.parent), "--set", name]
        subprocess.run(command, check=True)
    return unpacked


def finished(name: str, row: str, seed: int, runs: Path, threads: int) -> None:
    """Train and judge one row unless that is done, and keep what it leaves."""
    images, kept = SETS[name], RESULTS / f"{name}-{row}-s{seed}"
    if (kept / RESULT.format("unseen")).exists():
        return
    folder = images_of(name, runs)
    data, model = str(folder), WEIGHTS
    if row not in UNTRAINED:
        out = runs / kept.name
        model = os.path.relpath(out)
        command = ["train", data, "--out", model]
        if (out / "last.ckpt").exists():
            command += ["--resume"]
        else:
            chosen = (*images.settings, f"data.classes={images.seen}")
            length = [] if "--epochs" in ROWS[row] else ["--epochs", str(EPOCHS)]
            command += ["--init", WEIGHTS, *ROWS[row], *length, "--seed", str(seed)]
            command += [argument for setting in chosen for argument in ("--set", setting)]
        run([*command, "--set", f"runtime.threads={threads}"], threads)
    kept.mkdir(parents=True, exist_ok=True)
    usual = next(setting.partition("=")[2] for setting in images.settings if "image_size" in setting)
    size = str(UNTRAINED.get(row) or usual)
    for part, classes, split in (("seen", images.seen, "train"), ("unseen", images.unseen, images.split)):
        file = str(kept / RESULT.format(part))
        command = ["evaluate", "retrieval", model, data, "--classes", classes, "--test-split", split, "--out", file]
        run([*command, "--image-size", size, "--no-baselines"], threads)
    if row not in UNTRAINED:
        for file in KEPT:
            shutil.copy(runs / kept.name / file, kept / file)
    for file in kept.glob("*.json*"):  # results name the set, not the place where it lay
        file.write_text(file.read_text().replace(f"{folder.parent}{os.sep}", "data/"))
    gather(name)


def row_of(place: Path, row: str, seed: int) -> dict[str, Any]:
    """Read what a run and its evaluations say."""
    values: dict[str, Any] = {"row": row, "seed": seed}
    for part in ("seen", "unseen"):
        results = json.loads((place / RESULT.format(part)).read_text())
        backbone = next(one for one in results if one["model"].startswith("backbone"))["values"]
        values |= {f"{part}_r{k}": round(backbone[f"R@{k}"], 2) for k in (1, 8)}
    if (place / "recipe.json").exists():
        logged = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
        values["epochs"] = json.loads((place / "recipe.json").read_text())["recipe"]["schedule"]["epochs"]
        values["cpu_seconds"] = round(sum(line["cpu_seconds"] for line in logged))
        values["commit"] = json.loads((place / "versions.json").read_text()).get("commit")
    return values


def gather(name: str) -> None:
    """Write the table of all runs that have ended."""
    rows: list[dict[str, Any]] = []
    for row in ROWS:
        for place in sorted(RESULTS.glob(f"{name}-{row}-s[0-9]*")):
            if (place / RESULT.format("unseen")).exists():
                rows.append(row_of(place, row, int(place.name.rpartition("-s")[2])))
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Train, evaluate, gather."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none is named")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "starts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    unknown = set(options.rows) - ROWS.keys()
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    for seed in options.seeds:
        for row in options.rows or ROWS:
            if row not in UNTRAINED or seed == options.seeds[0]:
                finished(options.set, row, seed, options.runs, options.threads)


if __name__ == "__main__":
    main()
