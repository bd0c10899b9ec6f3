"""Whole training steps, images a second: ours beside lightly, alternating in one run, and where our time goes.

    python benchmarks/train_step.py --threads 2 --width 16 64 --batch 128 256
    python benchmarks/train_step.py --quick

Every repeat runs ours, then stable-pretraining as documented where it is installed (bf16-mixed, SimCLR only), then
lightly as documented (float32, PIL transforms, DataLoader with two workers), then lightly *given* bf16 autocast and
channels_last, so that a busy machine slows all of them; each has a process of its own. Speeds are medians over
repeats, and a ratio is the median of the ratios within repeats; lowest and highest stand beside them. A peer's loss and
optimiser (plain SGD) are its examples' own; network, batch, images, crops and colour jitter are alike, and none blurs.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from apart import Apart
from machine import processor, shown, spread, write
from ours import METHODS, PARTS, Case, Ours, runtime_of
from peer import METHODS as COMPARED
from peer import WORKERS, available, peer_of
from peer_stable import METHODS as COMPARED_WITH_STABLE
from peer_stable import StablePeer
from peer_stable import available as stable_available
from rich.console import Console
from rich.table import Table

from viewkin.allocation import kept_memory
from viewkin.data.opening import open_source
from viewkin.data.source import Source
from viewkin.errors import UserError
from viewkin.evaluate.results import revision

ROOT = Path(__file__).resolve().parent.parent
CIFAR = ROOT / "data" / "cifar-10-batches-py"
GENERATED = "generated:images=10000,size=32"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--width", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--batch", nargs="+", type=int, default=[256])
    parser.add_argument("--data", help="images; default: CIFAR-10 under data/, else generated ones")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="auto", help="ours; auto is what a run would choose")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--keep-memory", action=argparse.BooleanOptionalAction, default=True, help="ours, as in a run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long one side of a repeat takes")
    parser.add_argument("--no-peer", action="store_true", help="only ours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "train_step.json")
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny, its numbers mean nothing")
    options = parser.parse_args()
    if options.quick:
        options.method, options.width, options.batch = ["simclr", "moco", "npid"], [8], [16]
        options.data, options.repeats, options.seconds = "generated:images=64,size=32", 2, 0.0
    return options


def main() -> None:
    options, console = arguments(), Console()
    console = Console(width=max(console.width, 132))  # a narrower table would break its numbers
    if not options.no_peer and not available() and not stable_available():
        console.print("No peer is installed ('make bench' does it): only our side is measured.")
        options.no_peer = True
    torch.set_num_threads(options.threads)
    source = open_source(chosen_data(options))
    report = origin(options, source)
    for width in options.width:
        for batch in options.batch:
            for method in options.method:
                case = Case(method=method, width=width, batch=batch)
                console.print(f"{method}, width {width}, batch {batch} ...", highlight=False)
                with kept_memory(options.keep_memory and not on_gpu(options)):
                    report["cases"].append(measure(case, source, options))
    report["load_average"].append(os.getloadavg()[0])
    write(options.out, report)
    console.print(speeds(report), parts_table(report))
    console.print(f"Written to {options.out}", highlight=False, soft_wrap=True)


def chosen_data(options: argparse.Namespace) -> str:
    """The images asked for, or CIFAR-10, or rendered ones."""
    return options.data or (str(CIFAR) if CIFAR.is_dir() else GENERATED)


def measure(case: Case, source: Source, options: argparse.Namespace) -> dict[str, Any]:
    """Alternate the sides over the repeats; afterwards time the parts of ours."""
    runtime = runtime_of(options)
    ours = Ours(case, source, runtime, options.seed, Path(tempfile.gettempdir()))
    device = ours.trainer.fabric.device
    peers: dict[str, Any] = {}
    if case.method in COMPARED_WITH_STABLE and not options.no_peer and stable_available():
        sizes = {"width": case.width, "batch": case.batch, "size": case.size}
        peers["stable"] = StablePeer(
            chosen_data(options), **sizes, seed=options.seed, threads=options.threads, workers=WORKERS
        )
    if case.method in COMPARED and not options.no_peer and available():
        for name in ("documented", "given"):
            given = name == "given"
            peers[name] = Apart(peer_of, case, chosen_data(options), device, options.seed, options.threads, given)
    ours.run(2)
    steps = {"ours": long_enough(ours.run(1), options.seconds)}
    ours.bare(1)
    for name, peer in peers.items():
        steps[name] = long_enough(peer.run(1)[0], options.seconds)
    speed: dict[str, list[float]] = {name: [] for name in steps}
    waiting: dict[str, list[float | None]] = {name: [] for name in peers}
    bare: list[float] = []
    for _ in range(options.repeats):
        speed["ours"].append(case.batch * steps["ours"] / ours.run(steps["ours"]))
        bare.append(case.batch * steps["ours"] / ours.bare(steps["ours"]))
        for name, peer in peers.items():
            seconds, waited = peer.run(steps[name])
            speed[name].append(case.batch * steps[name] / seconds)
            waiting[name].append(None if waited is None else waited / seconds)
    for peer in peers.values():
        if isinstance(peer, Apart):
            peer.close()
    parts = ours.parts(steps["ours"])
    whole = sum(parts.values())
    found: dict[str, Any] = {"method": case.method, "width": case.width, "batch": case.batch, "size": case.size}
    found["ours"] = {
        "precision": ours.precision,
        "images_per_second": spread(speed["ours"]),
        "bare_images_per_second": spread(bare),
        "bare_over_ours": spread([a / b for a, b in zip(bare, speed["ours"])]),
        "parts": {name: {"ms": 1e3 * value, "share": value / whole} for name, value in parts.items()},
    }
    for name in peers:
        found[name] = {
            "images_per_second": spread(speed[name]),
            "waiting_for_images_share": None if None in waiting[name] else statistics.median(waiting[name]),
            "ours_over_it": spread([a / b for a, b in zip(speed["ours"], speed[name])]),
        }
    return found


def on_gpu(options: argparse.Namespace) -> bool:
    """Whether ours trains on a GPU."""
    return torch.cuda.is_available() and options.accelerator != "cpu"


def long_enough(seconds_a_step: float, seconds: float) -> int:
    """Steps that fill ``seconds``, at least two."""
    return max(2, round(seconds / seconds_a_step))


def origin(options: argparse.Namespace, source: Source) -> dict[str, Any]:
    """Say where the numbers come from."""
    cuda = on_gpu(options)
    return {
        "benchmark": "train_step",
        "command": shlex.join(["python", "benchmarks/train_step.py", *sys.argv[1:]]),
        "quick": options.quick,
        "commit": revision() or "",
        "device": torch.cuda.get_device_name() if cuda else processor(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "load_average": [os.getloadavg()[0]],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightly": None if options.no_peer or not available() else metadata.version("lightly"),
        "stable_pretraining": metadata.version("stable-pretraining")
        if not options.no_peer and stable_available()
        else None,
        "peer_workers": WORKERS,
        "keep_memory": options.keep_memory,
        "seed": options.seed,
        "data": {"name": source.name, "images": len(source), "side": source.size},
        "cases": [],
    }


def speeds(report: dict[str, Any]) -> Table:
    """Show source images a second, and how many times faster ours is."""
    peers = ("lightly", "lightly given bf16", "stable-pretraining")
    names = ("ours", *(name for peer in peers for name in (peer, "ours over it")))
    table = Table("method", "width", "batch", *names, title="images/s, median (lowest to highest)")
    for case in report["cases"]:
        row = [case["method"], str(case["width"]), str(case["batch"]), shown(case["ours"]["images_per_second"], 0)]
        for name in ("documented", "given", "stable"):
            peer = case.get(name)
            row += [shown(peer["images_per_second"], 0), shown(peer["ours_over_it"], 2)] if peer else ["", ""]
        table.add_row(*row)
    return table


def parts_table(report: dict[str, Any]) -> Table:
    """Show the share of each part of our step."""
    table = Table("method", "width", "batch", "ms", *PARTS, title="our step, percent of its time")
    for case in report["cases"]:
        parts = case["ours"]["parts"]
        whole = sum(part["ms"] for part in parts.values())
        shares = [f"{100 * parts[name]['share']:.1f}" for name in PARTS]
        table.add_row(case["method"], str(case["width"]), str(case["batch"]), f"{whole:.0f}", *shares)
    return table


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"train_step: {error}")
