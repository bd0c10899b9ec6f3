"""Whole training steps, images a second: ours beside lightly, alternating in one run, and where our time goes.

    python benchmarks/train_step.py --threads 2 --width 16 64 --batch 128 256
    python benchmarks/train_step.py --quick

Every repeat runs ours, its networks' bare passes, ours under timers, and the peers that are installed and have the
method: stable-pretraining as documented (bf16-mixed), lightly as documented (float32, PIL transforms, DataLoader with
two workers) and lightly *given* bf16 autocast and channels_last. A busy machine slows all of them; each peer has a
process of its own, and who is first changes from repeat to repeat. Speeds are medians over repeats, and a ratio is the
median of the ratios within repeats; lowest and highest stand beside them. A peer's loss and optimiser (plain SGD) are
its examples' own; network, batch, images, crops and colour jitter are alike, and none blurs. The floor is the
arithmetic of the networks' passes at the rate of large bfloat16 products.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from apart import Apart
from machine import ROOT, floor, origin, shown, spread, write
from ours import BASES, METHODS, PARTS, QUEUE, Case, Ours, runtime_of
from peer import METHODS as COMPARED
from peer import WORKERS, available, peer_of
from peer_stable import METHODS as COMPARED_WITH_STABLE
from peer_stable import StablePeer
from peer_stable import available as stable_available
from rich.console import Console
from rich.table import Table

from viewkin.data.dataset import open_source
from viewkin.data.source import Source
from viewkin.runtime.allocation import kept_memory
from viewkin.runtime.errors import UserError

CIFAR = ROOT / "data" / "cifar-10-batches-py"
GENERATED = "generated:images=10000,size=32"
WARMUP = 2
"""Steps before the clock starts in each turn, as many as a peer does: the other sides' turns leave memory cold."""


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
    parser.add_argument("--steps", type=int, default=2, help="at least so many a side and repeat")
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
    console = Console(width=max(console.width, 150))  # a narrower table would break its numbers
    if not options.no_peer and not available() and not stable_available():
        console.print("No peer is installed ('make bench' does it): only our side is measured.")
        options.no_peer = True
    torch.set_num_threads(options.threads)
    source = open_source(chosen_data(options))
    report = described(options, source)
    for width in options.width:
        for batch in options.batch:
            for method in options.method:
                case = Case(method=method, width=width, batch=batch)
                console.print(f"{method}, width {width}, batch {batch} ...", highlight=False)
                with kept_memory(options.keep_memory and not on_gpu(options)):
                    report["cases"].append(measure(case, source, options, report["rates"]))
    report["load_average"].append(os.getloadavg()[0])
    write(options.out, report)
    console.print(speeds(report), parts_table(report))
    console.print(f"Written to {options.out}", highlight=False, soft_wrap=True)


def chosen_data(options: argparse.Namespace) -> str:
    """The images asked for, or CIFAR-10, or rendered ones."""
    return options.data or (str(CIFAR) if CIFAR.is_dir() else GENERATED)


def measure(case: Case, source: Source, options: argparse.Namespace, rates: dict[str, float]) -> dict[str, Any]:
    """Measure the sides in turn: whole steps of ours, its bare passes, its parts, and the peers."""
    runtime = runtime_of(options)
    ours = Ours(case, source, runtime, options.seed, Path(tempfile.gettempdir()))
    device = ours.trainer.fabric.device
    peers: dict[str, Any] = {}
    if case.method in COMPARED_WITH_STABLE and not options.no_peer and stable_available():
        sizes = {"width": case.width, "batch": case.batch, "size": case.size, "queue": QUEUE}
        settings = {"seed": options.seed, "threads": options.threads, "workers": WORKERS}
        peers["stable"] = StablePeer(chosen_data(options), case.method, **sizes, **settings)
    if case.method in COMPARED and not options.no_peer and available():
        for name in ("documented", "given"):
            given = name == "given"
            peers[name] = Apart(peer_of, case, chosen_data(options), device, options.seed, options.threads, given)
    ours.run(WARMUP)
    steps = {"ours": long_enough(ours.run(1), options)}
    steps |= {"bare": steps["ours"], "parts": steps["ours"]}
    for name, peer in peers.items():
        # A peer's run has a price of its own (processes, imports): none is timed where there is nothing to fill.
        steps[name] = long_enough(peer.run(1)[0] if options.seconds else math.inf, options)
    speed: dict[str, list[float]] = {name: [] for name in steps}
    waiting: dict[str, list[float | None]] = {name: [] for name in peers}
    parts: list[dict[str, float]] = []
    for repeat in range(options.repeats):
        for name in turned(list(steps), repeat):
            if name not in peers:
                (ours.bare if name == "bare" else ours.run)(WARMUP)
            if name == "parts":
                parts.append(ours.parts(steps[name]))
                seconds = steps[name] * sum(parts[-1].values())
            elif name in peers:
                seconds, waited = peers[name].run(steps[name])
                waiting[name].append(None if waited is None else waited / seconds)
            else:
                seconds = (ours.run if name == "ours" else ours.bare)(steps[name])
            speed[name].append(case.batch * steps[name] / seconds)
    for peer in peers.values():
        if isinstance(peer, Apart):
            peer.close()
    flops = ours.flops()
    found: dict[str, Any] = {"method": case.method, "width": case.width, "batch": case.batch, "size": case.size}
    found["base"] = BASES.get(case.method)
    found["ours"] = {
        "precision": ours.precision,
        "steps_a_repeat": steps["ours"],
        "images_per_second": spread(speed["ours"]),
        "passes": [{"network": one.name, "images": len(one.x), "gradient": one.gradient} for one in ours.passes],
        "floor": floor(rates, flops, 0),
        "bare_images_per_second": spread(speed["bare"]),
        "bare_over_ours": spread([a / b for a, b in zip(speed["bare"], speed["ours"])]),
        "parts": shares(parts),
    }
    for name in peers:
        found[name] = {
            "steps_a_repeat": steps[name],
            "images_per_second": spread(speed[name]),
            "waiting_for_images_share": None if None in waiting[name] else statistics.median(waiting[name]),
            "ours_over_it": spread([a / b for a, b in zip(speed["ours"], speed[name])]),
        }
    return found


def turned(sides: list[str], repeat: int) -> list[str]:
    """The order of a repeat: each side is first in its turn, so that none always follows the same load."""
    first = repeat % len(sides)
    return sides[first:] + sides[:first]


def shares(parts: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median milliseconds of each part over the repeats, and its share of their sum."""
    medians = {name: statistics.median(one[name] for one in parts) for name in PARTS}
    return {name: {"ms": 1e3 * value, "share": value / sum(medians.values())} for name, value in medians.items()}


def on_gpu(options: argparse.Namespace) -> bool:
    """Whether ours trains on a GPU."""
    return torch.cuda.is_available() and options.accelerator != "cpu"


def long_enough(seconds_a_step: float, options: argparse.Namespace) -> int:
    """Steps that fill ``--seconds``, at least ``--steps``."""
    return max(options.steps, round(options.seconds / seconds_a_step))


def described(options: argparse.Namespace, source: Source) -> dict[str, Any]:
    """Say where the numbers come from, peers and images included."""
    report = origin("train_step", options.threads, torch.device("cuda" if on_gpu(options) else "cpu"))
    versions = {"lightly": available(), "stable_pretraining": stable_available()}
    return report | {
        "quick": options.quick,
        "load_average": [report["load_average"]],
        **{name: metadata.version(name) if there and not options.no_peer else None for name, there in versions.items()},
        "peer_workers": WORKERS,
        "keep_memory": options.keep_memory,
        "seed": options.seed,
        "repeats": options.repeats,
        "data": {"name": source.name, "images": len(source), "side": source.size},
        "cases": [],
    }


def speeds(report: dict[str, Any]) -> Table:
    """Show source images a second, and how many times faster ours is."""
    peers = ("lightly", "lightly given bf16", "stable-pretraining")
    names = ("ours", "floor over it", *(name for peer in peers for name in (peer, "ours over it")))
    table = Table("method", "width", "batch", *names, title="images/s, median (lowest to highest)")
    for case in report["cases"]:
        ours = case["ours"]["images_per_second"]
        row = [case["method"], str(case["width"]), str(case["batch"]), shown(ours, 0)]
        row.append(f"{case['batch'] / case['ours']['floor']['seconds'] / ours['median']:.2f}")
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
