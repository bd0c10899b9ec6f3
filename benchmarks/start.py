"""Seconds from the command to its first sign of life, each in processes of its own.

    python benchmarks/start.py

``train`` is the time from the command to the end of the first optimiser step (its line in ``metrics.jsonl``) of a run
on 50,000 images that are decoded already: CIFAR-10 where it lies under ``data/``, else rendered images in a cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import RESULTS, ROOT, origin, shown, spread, write

CIFAR = ROOT / "data" / "cifar-10-batches-py"
COMMANDS = {
    "viewkin --help": ["-m", "viewkin", "--help"],
    "import viewkin": ["-c", "import viewkin"],
    "import torch": ["-c", "import torch"],
    "python -c pass": ["-c", "pass"],
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", default=str(CIFAR) if CIFAR.is_dir() else "generated:images=50000,size=32")
    parser.add_argument("--out", type=Path, default=RESULTS / "start.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    report = origin("start", torch.get_num_threads(), torch.device("cpu"))
    found: dict[str, list[float]] = {name: [] for name in [*COMMANDS, "train, first step"]}
    for repeat in range(options.repeats + 1):  # the first fills the caches of files
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            found[name] += [time.perf_counter() - began] * (repeat > 0)
        found["train, first step"] += [first_step(options.data)] * (repeat > 0)
    report |= {"data": Path(options.data).name, "seconds": {name: spread(values) for name, values in found.items()}}
    for name, values in report["seconds"].items():
        print(f"{name:<20} {shown(values)} s")
    write(options.out, report)


def first_step(data: str) -> float:
    """Seconds from the command of a run to its first line in the log, which is of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run" / "metrics.jsonl"
        settings = ["--set", "runtime.log_every=1", "--recipe", "cifar10_cpu", "--out", str(log.parent)]
        began = time.perf_counter()
        run = subprocess.Popen(
            [sys.executable, "-m", "viewkin", "train", data, *settings],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            while not (log.is_file() and log.stat().st_size):
                if run.poll() is not None:
                    raise SystemExit(f"The run ended with code {run.returncode} before its first step.")
                time.sleep(0.01)
            return time.perf_counter() - began
        finally:
            run.terminate()
            run.wait()


if __name__ == "__main__":
    main()
