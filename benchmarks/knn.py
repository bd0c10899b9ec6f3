"""kNN evaluation, seconds and memory: ours beside FAISS and scikit-learn; and the linear probe on cached features.

    python benchmarks/knn.py --threads 2
    python benchmarks/knn.py --threads 2 --reference 100000 --dim 512 --memory 256

Features are random unit rows around as many centres as classes, so that neighbours mean something. Every repeat runs
all in turn, each in a process of its own; a time is the median, the lowest and the highest stand beside it. Memory is
the peak of the process above what it held with the inputs loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from viewkin.evaluation.probes.knn import KnnConfig, knn
from viewkin.evaluation.probes.linear import LinearConfig, linear
from viewkin.ops import neighbours
from viewkin.runtime.files import replacing
from viewkin.runtime.provenance import revision

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 10
NAMES = ["ours", "ours, bfloat16 search", "faiss", "scikit-learn", "our linear probe"]


def inputs(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reference and query features with their labels."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, options.dim, generator=generator)

    def drawn(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(CLASSES, (count,), generator=generator)
        rows = centres[labels] + 2 * torch.randn(count, options.dim, generator=generator)
        return torch.nn.functional.normalize(rows, dim=1), labels

    return *drawn(options.reference), *drawn(options.queries)


def with_faiss(train: Tensor, test: Tensor, k: int) -> None:
    """Exact inner products."""
    import faiss

    index = faiss.IndexFlatIP(train.shape[1])
    index.add(train.numpy())
    index.search(test.numpy(), k)


def with_sklearn(train: Tensor, test: Tensor, k: int) -> None:
    """Brute force by Euclidean distance, which orders unit rows as cosine does."""
    from sklearn.neighbors import NearestNeighbors

    NearestNeighbors(n_neighbors=k, algorithm="brute").fit(train.numpy()).kneighbors(test.numpy())


def measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one of them in this process."""
    torch.set_num_threads(options.threads)
    train, train_labels, test, test_labels = inputs(options)
    memory = options.memory * 2**20
    config = KnnConfig(k=options.k, memory=memory)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: knn(config, train, train_labels, test, test_labels),
        "ours, bfloat16 search": lambda: neighbours.top_k(test, train, options.k, memory=memory, dtype=torch.bfloat16),
        "faiss": lambda: with_faiss(train, test, options.k),
        "scikit-learn": lambda: with_sklearn(train, test, options.k),
        "our linear probe": lambda: linear(LinearConfig(), train, train_labels, test, test_labels),
    }
    torch.mm(train[:100], train[:100].T)  # loads the libraries
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of making the inputs
    before, began = peak(), time.perf_counter()
    runs[name]()
    return {"seconds": time.perf_counter() - began, "megabytes": (peak() - before) / 2**20}


def peak() -> int:
    """Peak resident memory of this process, bytes (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--reference", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--memory", type=int, default=256, help="our bound on working memory, MiB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "knn.json")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure all in turn, print a line each, write the report."""
    options = arguments()
    if options.one:
        print(json.dumps(measured(options.one, options)))
        return
    names = options.only
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    for _ in range(options.repeats):
        for name in names:
            command = [sys.executable, *sys.argv, "--one", name]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[name].append(json.loads(done.stdout))
            elif "ModuleNotFoundError" not in done.stderr:
                raise SystemExit(done.stderr)
    rows = {}
    for name, runs in found.items():
        if runs:
            rows[name] = {kind: spread([run[kind] for run in runs]) for kind in ("seconds", "megabytes")}
            low, middle, high = rows[name]["seconds"]
            print(f"{name:<24} {middle:7.2f} s ({low:.2f} to {high:.2f}) {rows[name]['megabytes'][1]:6.0f} MiB")
    report = {
        "command": shlex.join(["python", "benchmarks/knn.py", *sys.argv[1:]]),
        "commit": revision(),
        "device": f"{platform.processor() or platform.machine()}, {options.threads} threads",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "load_average": os.getloadavg()[0],
        "queries": options.queries,
        "reference": options.reference,
        "dim": options.dim,
        "k": options.k,
        "memory_bound_mib": options.memory,
        "lowest_median_highest": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.out) as part:
        part.write_text(json.dumps(report, indent=2) + "\n")


def spread(values: list[float]) -> tuple[float, float, float]:
    """Lowest, median, highest."""
    return min(values), statistics.median(values), max(values)


if __name__ == "__main__":
    main()
