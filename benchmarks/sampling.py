"""Whether sampling candidates costs accuracy: InterCLR on CIFAR-10 with the exact sampler and with candidates.

    python benchmarks/sampling.py --seeds 0 1
    python benchmarks/sampling.py --seeds 0 1 --base npid --epochs 20 --out results/benchmarks/sampling_npid.json

Short runs of InterCLR around a base by the recipe ``cifar10_cpu`` on some of the training images that differ in nothing
but the form of the pool. K is to the pool what it is in the paper (16,384 of 128,000: 128 of 1,000 at 10,000 images).
Judged by kNN of the backbone, where four fifths of all training images vote on the rest; the test images are not looked
at. ``random``, which has no pool, says how much the choice of negatives matters at all, and ``the base alone`` how much
the branch does. ``npid`` is NPIDv2 with the settings of its rows in the campaign twelve-epochs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, ROOT, origin, spread, write
from PIL import Image

from viewkin.commands.evaluate import EvaluateRequest, judged
from viewkin.data.dataset import open_source
from viewkin.runs.execute import train_run
from viewkin.runs.resolve import TrainRequest

ALONE = "the base alone"
FORMS = {
    ALONE: (),
    "exact": ("pool_form=exact",),
    "candidates, shared": ("pool_form=candidates", "shared_candidates=true"),
    "candidates of each anchor": ("pool_form=candidates", "shared_candidates=false"),
    "random, shared": ("sampler=random", "pool_form=candidates"),
}
BASES = {"simclr": (), "npid": ("loss=infonce", "head=mlp")}
"""Base to its settings."""
BRANCH = {"simclr": (), "npid": ("clusters=100",)}
"""Base to the settings of the branch around it."""
OPTIMISER = {"simclr": (), "npid": ("optim.lr=0.0007",)}
HELD_OUT = 0.2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(ROOT / "data" / "cifar-10-batches-py"))
    parser.add_argument("--base", choices=list(BASES), default="simclr")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--negatives", type=int, default=128, help="K")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS / "sampling.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    report = origin("sampling", options.threads, torch.device("cpu"))
    report |= {name: getattr(options, name) for name in ("base", "images", "epochs", "negatives")}
    report |= {"held_out": HELD_OUT, "runs": []}
    if options.out.is_file():
        report["runs"] = json.loads(options.out.read_text())["runs"]
    with tempfile.TemporaryDirectory() as folder:
        some = part_of(options.data, options.images, Path(folder) / "some")
        for seed in options.seeds:
            for form in options.forms:
                if not any((run["form"], run["seed"]) == (form, seed) for run in report["runs"]):
                    report["runs"].append(measure(form, seed, str(some), Path(folder) / f"{form}-{seed}", options))
                    report["forms"] = summary(report["runs"])
                    write(options.out, report)


def part_of(data: str, count: int, folder: Path) -> Path:
    """Write the first images of the training split, which are in no order, as a folder of classes."""
    source = open_source(data)
    assert source.labels is not None
    for index, images in source.blocks(1000, 0, count):
        for number, image in zip(index.tolist(), images):
            place = folder / str(int(source.labels[number]))
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{number:05d}.png")
    return folder


def measure(form: str, seed: int, some: str, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train once and judge.

    Raises:
        SystemExit: a signal stopped the run, which then counts for nothing.
    """
    request = TrainRequest(
        data=some,
        recipe="cifar10_cpu",
        method=options.base if form == ALONE else f"interclr({options.base})",
        out=out,
        epochs=options.epochs,
        seed=seed,
        settings=settings(form, options),
    )
    run = train_run(request)
    if not run.outcome.finished:
        sys.exit(run.outcome.exit_code)
    wanted = EvaluateRequest(
        protocol="knn", model=str(run.plan.out), data=options.data, holdout=HELD_OUT, baselines=False, device="cpu"
    )
    values = {one.model.partition(",")[0]: one.values for one in judged(wanted, ["backbone"])}
    logged = [json.loads(line) for line in (run.plan.out / "metrics.jsonl").read_text().splitlines()]
    accuracy = next(iter(values["backbone"].values()))
    print(f"{form}, seed {seed}: kNN {accuracy:.2f}", flush=True)
    monitors = [line["knn_monitor"] for line in logged if "knn_monitor" in line]
    seconds = sum(line["cpu_seconds"] for line in logged)
    return {"form": form, "seed": seed, "knn": accuracy, "knn_monitor": monitors, "cpu_seconds": seconds}


def settings(form: str, options: argparse.Namespace) -> tuple[str, ...]:
    """What a run changes of the recipe."""
    base, always = BASES[options.base], (*OPTIMISER[options.base], f"runtime.threads={options.threads}")
    if form == ALONE:
        return *(f"method.{setting}" for setting in base), *always
    branch = (*FORMS[form], *BRANCH[options.base], f"negatives={options.negatives}")
    return *(f"method.{setting}" for setting in branch), *(f"method.base.{setting}" for setting in base), *always


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Spread of each form over seeds, and of its difference to the exact form's run of the same seed."""
    exact = {run["seed"]: run["knn"] for run in runs if run["form"] == "exact"}
    found: dict[str, Any] = {}
    for form in FORMS:
        own = [run for run in runs if run["form"] == form]
        if own:
            found[form] = {"knn": spread([run["knn"] for run in own])}
        paired = [run["knn"] - exact[run["seed"]] for run in own if run["seed"] in exact]
        if paired and form != "exact":
            found[form]["over_exact"] = spread(paired)
    return found


if __name__ == "__main__":
    main()
