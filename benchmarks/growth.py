"""What a step costs as the data set grows, 10^4 to 10^8 images: seconds and memory of the terms that read a bank.

    python benchmarks/growth.py --threads 2
    python benchmarks/growth.py --counts 10000 100000 --repeats 1

The bank is bfloat16, in memory up to ``--in-memory`` images and in a sparse file beyond. InterCLR's branch (K = 16,384
of 163,840 candidates, at most 10,000 clusters) and NPID with 16,384 shared negatives should not depend on N; the full
softmax and the M nearest of InvP read every row and are measured as far as ``--whole`` images. Networks are simulated.
Every size runs in a process of its own, with the rates that its floors stand on; memory is its peak above what it held
before the bank.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from branch import DIM, Branch
from machine import RESULTS, floor, origin, peak, rates, seconds_of, spread, write

from viewkin import losses
from viewkin.memory.bank import FeatureBank
from viewkin.memory.clusters import Clusters
from viewkin.memory.negatives import NegativeSampler
from viewkin.runtime.allocation import kept_memory

NEGATIVES, NEAREST, CLUSTERS = 16_384, 4_096, 10_000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts = [10**4, 50_000, 10**5, 10**6, 1_281_167, 10**7, 10**8]
    parser.add_argument("--counts", nargs="+", type=int, default=counts, help="numbers of images")
    parser.add_argument("--in-memory", type=int, default=2 * 10**7)
    parser.add_argument("--whole", type=int, default=2 * 10**6)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    parser.add_argument("--add", action="store_true", help="keep the sizes that --out already has")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.one:
        with kept_memory(options.device == "cpu"):  # as a run does
            print(json.dumps(measure(options.one, options, device)))
        return
    report = origin("growth", options.threads, device)
    report |= {"batch": options.batch, "dim": DIM, "negatives": NEGATIVES, "nearest": NEAREST, "sizes": []}
    if options.add and options.out.is_file():
        kept = json.loads(options.out.read_text())["sizes"]
        report["sizes"] = [one for one in kept if one["count"] not in options.counts]
    for count in options.counts:
        command = [sys.executable, *sys.argv, "--one", str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        for name, work in floors(count, options.batch).items():
            if name in found["terms"]:
                found["terms"][name]["floor"] = floor(found["rates"], *work)
        report["sizes"] = sorted([*report["sizes"], found], key=lambda one: one["count"])
        times = ", ".join(f"{name} {1e3 * one['seconds']['median']:.0f} ms" for name, one in found["terms"].items())
        print(f"{count:>11,}: {times}, {found['megabytes']:,.0f} MiB", flush=True)
        write(options.out, report)


def floors(count: int, batch: int) -> dict[str, tuple[float, float]]:
    """FLOPs and bytes that each term cannot do without."""
    candidates, row = 10 * NEGATIVES, 2 * DIM
    return {
        "InterCLR, candidates": (4 * batch * candidates * DIM, candidates * row),
        "NPID, 16,384 negatives": (4 * batch * NEGATIVES * DIM, NEGATIVES * row),
        "full softmax": (4 * batch * count * DIM, count * row),
        "InvP, 4,096 nearest": (2 * batch * count * DIM, count * row),
    }


def measure(count: int, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Time the terms at one size."""
    before = peak()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        file = None if count <= options.in_memory else Path(folder) / "bank"
        bank = FeatureBank(2 if file is None else count, DIM, dtype=torch.bfloat16, file=file, init="zero")
        features = bank.features if file else random_rows(count, device)
        branch = grown(Branch(2, 2, options.batch, device, negatives=1, pool=1.0), features, empty=file is not None)
        terms: dict[str, dict[str, Any]] = {}
        for _ in range(5):
            branch.go()
        first = steps_of(branch, 10 * options.repeats)
        terms["InterCLR, candidates"] = {"seconds": first["seconds"]}
        # Candidates follow from the step's number: the same ones a second time, from pages that were touched before.
        branch.step -= 10 * options.repeats
        again = steps_of(branch, 10 * options.repeats)
        memory = branch.method.memory
        q = losses.unit(torch.randn(options.batch, DIM, device=device)).requires_grad_()
        index = torch.randint(count, (options.batch,), device=device)

        def sampled() -> None:
            rows = memory.read(torch.randint(count, (NEGATIVES,)).to(device))
            with torch.autocast(device.type, torch.bfloat16):
                negative = q @ rows.T
            losses.info_nce_of((q * memory.read(index)).sum(1), negative, 0.1).sum().backward()

        def softmax() -> None:
            memory.log_probability(q, index, 0.1).sum().backward()

        def nearest() -> None:
            with torch.autocast(device.type, torch.bfloat16):
                found = losses.nearest_sums(q, memory.everything(), index, min(NEAREST, count), 0.2)
                memory.nearest(q, 5)  # the graph's rows
            losses.nearest_instance_loss(found).sum().backward()

        works = {"NPID, 16,384 negatives": sampled}
        if count <= options.whole:
            works |= {"full softmax": softmax, "InvP, 4,096 nearest": nearest}
        for name, work in works.items():
            terms[name] = {"seconds": spread(seconds_of(work, device, options.repeats))}
        megabytes = (peak() - before) / 2**20
        touches = {"first": first, "again": again} if file else None
        return {
            "count": count,
            "in_file": file is not None,
            "megabytes": megabytes,
            "touches": touches,
            "terms": terms,
            "rates": rates(device),  # last: their matrices must not count as memory of the terms
        }


def steps_of(branch: Branch, steps: int) -> dict[str, Any]:
    """Seconds a step, as means of ten, and page faults a step: those that read the file, and the others."""
    before, seconds = resource.getrusage(resource.RUSAGE_SELF), list[float]()
    for _ in range(steps):
        branch.go()
        seconds.append(branch.seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": spread([sum(seconds[i : i + 10]) / 10 for i in range(0, steps, 10)]),
        "major_faults": (after.ru_majflt - before.ru_majflt) / steps,
        "minor_faults": (after.ru_minflt - before.ru_minflt) / steps,
    }


def random_rows(count: int, device: torch.device) -> torch.Tensor:
    rows = torch.empty(count, DIM, dtype=torch.bfloat16, device=device)
    for part in rows.split(2**16):
        part.copy_(losses.unit(torch.randn(part.shape, device=device)))
    return rows


def grown(branch: Branch, features: torch.Tensor, *, empty: bool) -> Branch:
    """Give a branch made for two images the bank of many, so that no other is made; sums of an empty one are zero."""
    method, refresh = branch.method, Clusters.refresh_
    try:
        if empty:
            Clusters.refresh_ = lambda *_: None  # type: ignore[method-assign]
        method.clusters = Clusters(features, min(CLUSTERS, len(features) // 128)).to(branch.device)
    finally:
        Clusters.refresh_ = refresh  # type: ignore[method-assign]
    method.memory.features = features
    # Candidates are drawn with replacement, so that there may be more of them than images.
    method.draw_negatives = NegativeSampler("semihard", NEGATIVES, 0.1, "candidates", True)
    return branch


if __name__ == "__main__":
    main()
