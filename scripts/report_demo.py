"""Train a few small runs on the rendered set and draw every figure into one page: ``make report-demo``.

    python scripts/report_demo.py [--out runs/report-demo] [--images 1500] [--epochs 12]

A few minutes on two cores. A run that was stopped goes on and one that is done stays; figures are drawn anew. So small
runs show what each figure looks like, not how good a method is.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from viewkin.cli import main as viewkin
from viewkin.figures.report import add_figure, write_report
from viewkin.runtime.errors import UserError
from viewkin.training.logs import read_metrics

INTERCLR = ("--method", "interclr(simclr)", "--set", "method.sampler=random", "--set", "method.base_weight=0.5")
LAMBDAS = {"inter": 0.0, "both": 0.5, "intra": 1.0}
"""InterCLR's weight of the term within images: between images only, both, within images only."""
RUNS: dict[str, tuple[str, ...]] = {
    **{
        f"{name}{'' if seed == 0 else f'-seed{seed}'}": (
            *(*INTERCLR, "--set", f"method.base_weight={weight}"),
            *("--seed", str(seed)),
        )
        for seed in (0, 1)
        for name, weight in LAMBDAS.items()
    },
    "semihard": (*INTERCLR, "--set", "method.sampler=semihard"),
    "hard": (*INTERCLR, "--set", "method.sampler=hard"),
    "invp": ("--method", "invp", "--set", "method.graph.positives=20"),
}
"""Name of a run to what differs from the recipe ``demo``, made small."""
MIXTURE = "mixture"
"""The run of AMDIM, shrunk to a smoke test."""


def figures(data: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Every figure: file, caption, and arguments of ``viewkin figures``."""
    every = ("map", "both", "--data", data, "--split", "test", "--most", "600")
    found: list[tuple[str, str, tuple[str, ...]]] = [
        ("curves.svg", "Training: loss, kNN and more", ("curves", "intra", "inter", "both", "invp")),
        (
            "map-label.svg",
            "t-SNE of raw pixels, the untrained and the trained network, by label",
            ("map", "pixels", "both", "--untrained", "--by", "label", "--most", "600"),
        ),
        ("map-cluster.svg", "t-SNE by k-means cluster", (*every, "--by", "cluster")),
        ("map-split.svg", "t-SNE by split", (*every, "--split", "train", "--by", "split")),
        ("map-file.svg", "t-SNE by file", ("map", "train.parquet", "test.parquet", "--by", "file")),
        (
            "map-views.svg",
            "t-SNE of 6 augmentations each, within images only, between images only, both (InterCLR, figure 10)",
            ("map", "intra", "inter", "both", "--views", "6"),
        ),
        (
            "neighbours.png",
            "Nearest neighbours by raw pixels and two models (EIR, figure 6; InterCLR, figure 12)",
            ("neighbours", "pixels", "intra", "both", "--queries", "6"),
        ),
        (
            "negatives.png",
            "Negatives by sampling strategy, false ones framed (InterCLR, figure 11)",
            ("negatives", "both", "semihard", "hard"),
        ),
        ("positives.png", "Easy and hard positives (InvP)", ("positives", "invp")),
        (
            "similarities.svg",
            "Cosines of two images of one class and of any two (InvP)",
            ("similarities", "invp", "--untrained"),
        ),
        (
            "similarities-evidence.svg",
            "Cosines of anchors and their positives, and of any two images (InvP)",
            ("similarities", "invp", "--untrained", "--of", "evidence"),
        ),
        (
            "ablation.svg",
            "Weight of the term within images, two seeds each (InterCLR, figure 8)",
            ("ablation", *lambdas(), "--setting", "method.base_weight", "--measure", "knn@20"),
        ),
        ("segments.png", "Which component of AMDIM's mixture answers for which part", ("segments", MIXTURE)),
    ]
    if importlib.util.find_spec("umap"):
        found.insert(3, ("map-umap.svg", "UMAP by label", (*every, "--by", "label", "--way", "umap")))
    return found


def lambdas() -> list[str]:
    """Runs that differ in lambda and seed only."""
    return [name for name in RUNS if name.partition("-")[0] in LAMBDAS]


def run(*arguments: str) -> None:
    """Run a command in this process, for a new one would import torch again; end with its code where it fails."""
    try:
        viewkin(list(arguments))
    except SystemExit as end:
        if end.code:
            raise


def trained(name: str, data: str, *arguments: str) -> None:
    """Train a run, go on with it, or leave it when it is done."""
    if (Path(name) / "report.html").is_file():
        return
    if (Path(name) / "last.ckpt").is_file():
        run("train", data, "--out", name, "--resume")  # a run that is resumed brings its settings
    else:
        run("train", data, *arguments, "--out", name)


def main() -> None:
    """Read the command line, train, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/report-demo"))
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.chdir(options.out)
    data = f"generated:images={options.images},plain=1"
    small = ("--recipe", "demo", "--epochs", str(options.epochs), "--batch-size", "64")
    small += ("--set", "backbone.width=8", "--set", "optim.lr=0.02", "--set", "augment.least_area=0.5")
    for name, arguments in RUNS.items():
        trained(name, data, *small, *arguments)
    mixture = ("--recipe", "amdim_mixture_cifar10", "--smoke", "--epochs", str(options.epochs), "--batch-size", "32")
    trained(MIXTURE, data, *mixture)
    for split in ("train", "test"):
        run("embed", "both", data, "--split", split, "--out", f"{split}.parquet")
    page = Path("report.html")
    facts = [("images", data), ("runs", ", ".join([*RUNS, MIXTURE])), ("epochs", str(options.epochs))]
    write_report(page, title="Every figure", facts=facts, history=read_metrics(Path("both", "metrics.jsonl")))
    for file, caption, arguments in figures(data):
        run("figures", *arguments, "--out", file)
        add_figure(page, Path(file).stem, caption, Path(file).read_bytes(), Path(file).suffix.removeprefix("."))
    print(f"Every figure: {options.out / page}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
