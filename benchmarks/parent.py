"""The training step of this checkout against another commit's, in turn: what a change did to speed.

    python benchmarks/parent.py
    python benchmarks/parent.py --against HEAD~3 --method simclr moco npid --width 64 --batch 128 --repeats 5

Each repeat runs ``train_step.py`` of either commit, without peers, in a process of its own; the order changes from one
repeat to the next, and a ratio is the median of the ratios within repeats. Steps are whole ones, images a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, ROOT, origin, shown, spread, write
from ours import METHODS
from train_step import chosen_data

sys.path.append(str(ROOT / "scripts"))
from checkouts import checkout, subject

Cases = dict[tuple[str, int], list[float]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="HEAD~1", help="commit to compare with; default: the parent")
    parser.add_argument("--method", nargs="+", choices=list(METHODS), default=["simclr", "moco", "npid"])
    parser.add_argument("--width", nargs="+", type=int, default=[16])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--data", help="images; default: as train_step.py")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long a method takes in a repeat")
    parser.add_argument("--out", type=Path, default=RESULTS / "parent.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    report = origin("parent", options.threads, torch.device("cpu"))
    sides: dict[str, Cases] = {"now": {}, "before": {}}
    with checkout(options.against) as other:
        report |= {"against": subject(other), "batch": options.batch, "repeats": options.repeats}
        places = {"now": ROOT, "before": other}
        for repeat in range(options.repeats):
            for side in list(places)[:: 1 if repeat % 2 else -1]:
                for case, speed in speeds(places[side], options).items():
                    sides[side].setdefault(case, []).append(speed)
    report["cases"] = []
    for case, now in sides["now"].items():
        before = sides["before"][case]
        found = {"now": spread(now), "before": spread(before)}
        found["now_over_before"] = spread([a / b for a, b in zip(now, before, strict=True)])
        report["cases"].append({"method": case[0], "width": case[1], **found})
        print(f"{case[0]}, width {case[1]}: {shown(found['now_over_before'])} times {report['against']}", flush=True)
    write(options.out, report)


def speeds(place: Path, options: argparse.Namespace) -> dict[tuple[str, int], float]:
    """Run a checkout's own benchmark once: images a second of each method and width."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "train_step.json"
        command = [sys.executable, "benchmarks/train_step.py", "--no-peer", "--repeats", "1", "--out", str(out)]
        command += ["--data", chosen_data(options)]
        command += ["--threads", str(options.threads), "--seconds", str(options.seconds)]
        command += ["--method", *options.method, "--width", *map(str, options.width), "--batch", str(options.batch)]
        environment = {**os.environ, "PYTHONPATH": str(place / "src"), "OMP_NUM_THREADS": str(options.threads)}
        subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
        cases: list[dict[str, Any]] = json.loads(out.read_text())["cases"]
    return {(case["method"], case["width"]): case["ours"]["images_per_second"]["median"] for case in cases}


if __name__ == "__main__":
    main()
