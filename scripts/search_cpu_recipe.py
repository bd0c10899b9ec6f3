"""Try candidates for the recipe of two CPU cores at equal processor time: results/search/cifar10.csv.

    python scripts/unpack_cifar.py data
    python scripts/search_cpu_recipe.py data/cifar-10-batches-py [NAME ...] [--minutes 6] [--seeds 0]

A candidate is the recipe ``cifar10_cpu`` and the settings beside its name below. It trains on 45,000 of CIFAR-10's
training images with one thread for so many epochs as fit into the minutes of processor time, which a short trial tells,
and is judged by kNN (200) on the other 5,000, images that it never saw. The test images are not touched. What is done
stays done, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "search"
HELD_OUT, TRIAL = 5000, 5120
"""Images that judge, and images of the trial of speed."""
FIELDS = ("name", "seed", "minutes", "knn", "epochs", "cpu_seconds", "commit", "settings")
BASE = "method.base.temperature=0.2 method.base.hidden=512"
"""SimCLR of the recipe, as the base of a term."""
CANDIDATES: dict[str, str] = {
    "base": "",
    "lr-0.001": "optim.lr=0.001",
    "lr-0.004": "optim.lr=0.004",
    "decay-0.01": "optim.weight_decay=0.01",
    "decay-0.2": "optim.weight_decay=0.2",
    "temperature-0.1": "method.temperature=0.1",
    "temperature-0.4": "method.temperature=0.4",
    "batch-128": "data.batch_size=128",
    "batch-512": "data.batch_size=512",
    "view-16": "augment.view_size=16",
    "view-20": "augment.view_size=20",
    "view-32": "augment.view_size=32",
    "area-0.1": "augment.least_area=0.1",
    "area-0.35": "augment.least_area=0.35",
    "width-12": "backbone.width=12",
    "width-24": "backbone.width=24",
    "width-32-view-16": "backbone.width=32 augment.view_size=16",
    "hidden-1024": "method.hidden=1024",
    "dim-256": "method.dim=256",
    "warmup-0.3": "schedule.warmup_epochs=0.3",
    "sgd": "optim.name=sgd optim.lr=0.06 optim.weight_decay=0.0005",
    "nesterov": "optim.name=sgd optim.nesterov=true optim.lr=0.12 optim.weight_decay=0.0005",
    "imagenet-stem": "backbone.stem=imagenet augment.view_size=32 backbone.width=32",
    "moco": "--method=moco method.queue_size=4096 method.momentum=0.99 method.temperature=0.1",
    "byol": "--method=byol method.hidden=512 method.momentum=0.99",
    "eir-mixture": f"--method=eir(simclr) {BASE} method.relation_weight=0 method.mixture_weight=0.5",
    "propagation": f"--method=propagation(simclr) {BASE}",
}
"""Name to settings, and ``--method=`` where it is another."""


def run(*words: str) -> None:
    """Run a command of this checkout with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-m", "viewkin", *words], check=True, env=environment, stdout=subprocess.DEVNULL)


def encoded(pixels: Any) -> bytes:
    """Write an image as PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def divided(archive: Path, out: Path) -> None:
    """Write the training images as Parquet: what is trained on as train, the last 5,000 as test; and the trial's."""
    if (out / "set" / "test.parquet").exists():
        return
    pixels, labels = [], []
    for number in range(1, 6):
        batch = pickle.loads((archive / f"data_batch_{number}").read_bytes(), encoding="bytes")
        pixels.append(batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels += batch[b"labels"]
    images = np.concatenate(pixels)
    for name, part in (
        ("trial/train", slice(0, TRIAL)),
        ("set/train", slice(0, -HELD_OUT)),
        ("set/test", slice(-HELD_OUT, None)),
    ):
        file = out / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        cells = [{"bytes": encoded(one), "path": None} for one in images[part]]
        pq.write_table(pa.table({"image": cells, "label": labels[part]}), file)


def arguments(settings: str) -> list[str]:
    """Write a candidate's settings as arguments of a run."""
    words: list[str] = []
    for one in settings.split():
        words += one.split("=", 1) if one.startswith("--") else ["--set", one]
    return words


def speed(data: Path, runs: Path, name: str, settings: list[str]) -> float:
    """Measure a candidate: processor seconds an image, on the steps after the first five."""
    out = runs / f"{name}-trial"
    shutil.rmtree(out, ignore_errors=True)
    common = ("--recipe", "cifar10_cpu", "--epochs", "1", "--set", "runtime.log_every=1", "--set", "runtime.threads=1")
    run("train", str(data), "--out", str(out), *common, *settings)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    batch = json.loads((out / "recipe.json").read_text())["recipe"]["data"]["batch_size"]
    seconds = sorted(line["cpu_seconds"] for line in lines[3:-1])
    shutil.rmtree(out)
    return seconds[len(seconds) // 2] / batch


def tried(name: str, seed: int, minutes: float, work: Path) -> dict[str, Any]:
    """Train and judge one candidate."""
    settings, out = arguments(CANDIDATES[name]), work / "runs" / f"{name}-s{seed}-{minutes:g}"
    if (out / "last.ckpt").exists():
        run("train", str(work / "set"), "--out", str(out), "--resume")
    else:
        shutil.rmtree(out, ignore_errors=True)
        images = minutes * 60 / speed(work / "trial", work / "runs", name, settings)
        epochs = str(max(round(images / (50000 - HELD_OUT)), 1))
        common = ("--recipe", "cifar10_cpu", "--epochs", epochs, "--seed", str(seed), "--set", "runtime.threads=1")
        run("train", str(work / "set"), "--out", str(out), *common, *settings)
    judged = out / "held-out.json"
    how = ("--test-split", "test", "--set", "k=200", "--no-baselines", "--out", str(judged))
    run("evaluate", "knn", str(out), str(work / "set"), *how)
    found = next(one for one in json.loads(judged.read_text()) if one["model"].startswith("backbone"))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        "name": name,
        "seed": seed,
        "minutes": f"{minutes:g}",
        "knn": round(next(value for key, value in found["values"].items() if key.startswith("knn")), 2),
        "epochs": json.loads((out / "recipe.json").read_text())["recipe"]["schedule"]["epochs"],
        "cpu_seconds": round(sum(line["cpu_seconds"] for line in lines)),
        "commit": json.loads((out / "versions.json").read_text()).get("commit"),
        "settings": CANDIDATES[name],
    }


def main() -> None:
    """Try, and add each result to the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CANDIDATES)}; all if none is named")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "search")
    options = parser.parse_args()
    divided(options.archive, options.work)
    RESULTS.mkdir(parents=True, exist_ok=True)
    table = RESULTS / "cifar10.csv"
    rows = list(csv.DictReader(table.open())) if table.exists() else []
    done = {(row["name"], row["seed"], row["minutes"]) for row in rows}
    for seed in options.seeds:
        for name in options.names or CANDIDATES:
            if (name, str(seed), f"{options.minutes:g}") in done:
                continue
            rows.append(tried(name, seed, options.minutes, options.work))
            print(rows[-1], flush=True)
            with table.open("w", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
