"""Train every method under one budget on CIFAR-10 and gather the table: results/methods/cifar10_cpu.csv.

    python scripts/unpack_cifar.py data
    python scripts/compare_methods.py [ROW ...] [--seeds 0 1] [--threads 2]

Every row is ``viewkin train`` with the recipe ``cifar10_cpu`` at 12 epochs (24 where the row says so) and the row's
arguments below, then kNN (200) and a linear probe of the last epoch's backbone on test. What is done stays done: a run
that was stopped goes on, one whose results lie under results/methods is not repeated (remove them to have it repeated),
and the table is written anew after every run. Several commands may run side by side on different rows; ``cpu_seconds``
compares runs of a busy machine. Widths, batch, views and optimiser are the same for all; every setting that differs is
named here, and what it was chosen by is in docs/log.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from viewkin.runs.run_settings import read_run_settings, rebuilt

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 12
AMDIM32 = "backbone.width=16 backbone.rkhs=256 backbone.depth=1 augment.view_size=32"
"""AMDIM's own encoder, which takes 32 pixels. A step of 256 images costs what ``amdim-resnet`` on 24 pixels costs,
1.6 s of one core forward and backward."""
NPIDV2 = ("loss=infonce", "head=mlp")
BANK = ("--set", "optim.lr=0.0007")
"""Of methods whose loss asks for an image's own row in a bank: written an epoch ago, it is out of date at 0.002."""
INTERCLR = ("clusters=100", "pool_form=candidates", "negatives=1024")
"""The candidates keep a step affordable without a GPU."""


def settings(values: Iterable[str], path: str = "method") -> list[str]:
    """Write settings of a method as arguments."""
    return [argument for value in values for argument in ("--set", f"{path}.{value}")]


ROWS: dict[str, list[str]] = {
    "npid": ["--method", "npid", *BANK],
    "iraug": ["--method", "iraug", *BANK],
    "simclr": [],
    "moco": ["--method", "moco", "--set", "method.queue_size=4096", "--set", "method.momentum=0.99"],
    "eir": ["--method", "eir(iraug)", *BANK],
    "eir-relation": ["--method", "eir(iraug)", "--set", "method.mixture_weight=0", *BANK],
    "eir-mixture": ["--method", "eir(iraug)", "--set", "method.relation_weight=0", *BANK],
    "eir-relation-light": [
        *["--method", "eir(iraug)", "--set", "method.relation_weight=3", "--set", "method.mixture_weight=0", *BANK],
    ],
    "eir-light": ["--method", "eir(iraug)", "--set", "method.relation_weight=3", *BANK],
    "eir-simclr": ["--method", "eir(simclr)"],
    "isif": ["--method", "isif"],
    "ins": ["--method", "invp", "--set", "method.weight=0", *BANK],
    "invp": ["--method", "invp", *settings(("graph.positives=20", "ramp.gate=false")), *BANK],
    "propagation-moco": [
        *["--method", "propagation(moco)", *settings(("graph.positives=20", "ramp.gate=false"))],
        *["--set", "method.base.queue_size=4096", "--set", "method.base.momentum=0.99"],
    ],
    "byol": ["--method", "byol", "--set", "method.hidden=512", "--set", "method.momentum=0.99"],
    "amdim-resnet": ["--method", "amdim"],
    "amdim": ["--method", "amdim", "--backbone", "amdim32", *(f"--set={value}" for value in AMDIM32.split())],
    "npidv2": ["--method", "npid", *settings(NPIDV2), *BANK],
    "interclr-npidv2": ["--method", "interclr(npid)", *settings(INTERCLR), *settings(NPIDV2, "method.base"), *BANK],
    "interclr-simclr": ["--method", "interclr(simclr)", *settings(INTERCLR)],
    "interclr-moco": [
        *("--method", "interclr(moco)", *settings(INTERCLR)),
        *settings(("queue_size=4096", "momentum=0.99"), "method.base"),
    ],
    "interclr-byol": [
        *("--method", "interclr(byol)", *settings(("clusters=100", "pool_form=exact"))),
        *settings(("hidden=512", "momentum=0.99"), "method.base"),
    ],
}
"""Row to its arguments."""
SLOW = ("npid", "npidv2", "iraug", "byol")
"""Learners that 12 epochs do not bring five points above raw pixels: law 5 judges them by twice as many."""
ROWS |= {f"{name}-24": [*ROWS[name], "--epochs", str(2 * EPOCHS)] for name in SLOW}
RESULTS = ROOT / "results" / "methods"
KEPT = ("recipe.json", "versions.json", "metrics.jsonl", "evaluation-knn.json", "evaluation-linear.json")
"""What is kept of a run under results/methods."""
FIELDS = ("row", "seed", "knn200", "linear", "views", "epochs", "seconds", "cpu_seconds", "threads", "commit")


def trained(out: Path, data: str, arguments: list[str], seed: int, threads: int) -> None:
    """Train one row, or go on with it; nothing if it has ended."""
    command = [sys.executable, "-m", "viewkin", "train", data, "--out", os.path.relpath(out)]
    if (out / "evaluation-knn.json").exists():
        return
    if (out / "last.ckpt").exists():
        command += ["--resume"]
    else:
        budget = [] if "--epochs" in arguments else ["--epochs", str(EPOCHS)]
        command += ["--recipe", "cifar10_cpu", *arguments, *budget, "--seed", str(seed)]
    subprocess.run([*command, "--set", f"runtime.threads={threads}"], check=True, env=environment(threads))


def environment(threads: int) -> dict[str, str]:
    """The environment of a run: its threads, and the package of this checkout."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT / "src")}


def probed(out: Path, data: str, threads: int) -> None:
    """Fit the linear probe, unless that is done."""
    if not (out / "evaluation-linear.json").exists():
        command = [sys.executable, "-m", "viewkin", "evaluate", "linear", os.path.relpath(out), data, "--no-baselines"]
        command += ["--out", os.path.relpath(out / "evaluation-linear.json")]
        subprocess.run(command, check=True, env=environment(threads))


def row_of(name: str, seed: int, out: Path) -> dict[str, Any]:
    """Read what a run and its evaluations say."""
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    recipe = json.loads((out / "recipe.json").read_text())
    versions = json.loads((out / "versions.json").read_text())
    speeds = [line["images_per_second"] for line in logged]
    speed = len(speeds) / sum(1 / s for s in speeds)
    seen = recipe["recipe"]["schedule"]["epochs"] * recipe["images"]
    return {
        "row": name,
        "seed": seed,
        "knn200": accuracy(out / "evaluation-knn.json"),
        "linear": accuracy(out / "evaluation-linear.json"),
        "views": len(rebuilt(read_run_settings(out).recipe, recipe["images"]).view_spec),
        "epochs": recipe["recipe"]["schedule"]["epochs"],
        "seconds": round(seen / speed),
        "cpu_seconds": round(sum(line["cpu_seconds"] for line in logged)),
        "threads": recipe["recipe"]["runtime"]["threads"],
        "commit": versions.get("commit"),
    }


def models_of(file: Path) -> dict[str, float]:
    """Read an evaluation: model to accuracy, percent."""
    return {one["model"]: float(next(iter(one["values"].values()))) for one in json.loads(file.read_text())}


def accuracy(file: Path) -> float:
    """Read the trained backbone's accuracy, percent."""
    return next(round(value, 2) for model, value in models_of(file).items() if model.startswith("backbone"))


def write(table: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the table."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Train, evaluate, gather."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none is named")
    parser.add_argument("--data", default="data/cifar-10-batches-py")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "methods")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    unknown = set(options.rows) - ROWS.keys()
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    for seed in options.seeds:
        for name in options.rows or ROWS:
            finished(name, seed, options.data, options.runs, options.threads)


def finished(name: str, seed: int, data: str, runs: Path, threads: int, results: Path = RESULTS) -> Path:
    """Train and evaluate one row unless that is done; return where its results lie."""
    kept = results / f"{name}-s{seed}"
    if not (kept / KEPT[-1]).exists():
        out = runs / f"{name}-s{seed}"
        trained(out, data, ROWS[name], seed, threads)
        probed(out, data, threads)
        kept.mkdir(parents=True, exist_ok=True)
        for file in KEPT:
            shutil.copy(out / file, kept / file)
        gather(results)
    return kept


def gather(results: Path) -> None:
    """Write the table of all runs that have ended."""
    done = [file.parent for file in results.glob(f"*/{KEPT[-1]}")]
    rows = [row_of(place.name.rpartition("-s")[0], int(place.name.rpartition("-s")[2]), place) for place in done]
    rows.sort(key=lambda row: (list(ROWS).index(row["row"]) if row["row"] in ROWS else len(ROWS), row["seed"]))
    write(results / "cifar10_cpu.csv", rows)


if __name__ == "__main__":
    main()
