"""The price of InterCLR's inter-image branch beside a ResNet-50 step at 224 px on the same device.

    python benchmarks/interclr.py --threads 2
    python benchmarks/interclr.py --images 20000 --clusters 100 --negatives 512 --network-batch 2 --repeats 2

Bank, labels, lists, sampler and loss are the library's; the network is simulated, so nothing but the branch is timed.
Beside it stands the forward and backward pass of a ResNet-50 (bf16 autocast, channels_last) on a small batch, scaled
by the number of images: less than a MoCo step, which passes keys too. Parts are timed in steps of their own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from branch import DIM, Branch, timed
from machine import RESULTS, floor, origin, seconds_of, shown, spread, write
from torch import Tensor

from viewkin import losses
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.runtime.allocation import kept_memory
from viewkin.schedules import Progress


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_281_167, help="N")
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--negatives", type=int, default=16_384, help="K")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--network-batch", type=int, default=16, help="images of a measured ResNet-50 pass")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--label", default="this commit", help="what the branch is called in the report")
    parser.add_argument("--no-network", action="store_true", help="only the branch")
    parser.add_argument("--exact", action="store_true", help="one step of the exact sampler too (slow)")
    parser.add_argument("--out", type=Path, default=RESULTS / "interclr.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with kept_memory(options.device == "cpu"):  # as a run does
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Time a network and the branch."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    report = origin("interclr", options.threads, device)
    report |= {name: getattr(options, name) for name in ("images", "clusters", "negatives", "batch", "label")}
    if not options.no_network:
        report["network"] = network(options, device)
        per_step = report["network"]["seconds_per_image"]["median"] * options.batch
        print(f"ResNet-50, {options.batch} images of 224 px: {per_step:.2f} s")
    report["branch"] = measure(options, device, report["rates"])
    print(f"{options.label}: branch {shown(report['branch']['seconds'], 1, 1e3)} ms")
    for part, found in report["branch"]["parts"].items():
        print(f"  {part:<16} {found['seconds'] * 1e3:8.1f} ms")
    if not options.no_network:
        report["share"] = report["branch"]["seconds"]["median"] / per_step
        print(f"the branch adds {100 * report['share']:.1f} %")
    write(options.out, report)


def network(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Forward and backward of a ResNet-50 at 224 px, seconds an image."""
    net = build_backbone(BackboneConfig(name="resnet50", stem="imagenet")).to(device)
    net = net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(options.network_batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = net(x).float().square().mean()
        loss.backward()
        net.zero_grad(set_to_none=True)

    seconds = [value / len(x) for value in seconds_of(step, device, options.repeats)]
    return {"batch": len(x), "seconds_per_image": spread(seconds)}


def rows_in_heaps(count: int, clusters: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Unit rows around as many centres as clusters, and which: k-means would find about these."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(clusters, DIM, generator=generator)
    labels = torch.randint(clusters, (count,), generator=generator)
    rows = torch.empty(count, DIM)
    for part, own in zip(rows.split(2**16), labels.split(2**16)):
        part.copy_(losses.unit(centres[own] + 0.7 * torch.randn(len(own), DIM, generator=generator)))
    return rows.to(device), labels.to(device)


def relabel(branch: Branch, labels: Tensor, rows: Tensor) -> None:
    """Fill bank and labels, also of versions that keep less."""
    branch.method.memory.features.copy_(rows)
    state = branch.method.clusters
    assert state is not None
    if hasattr(state, "relabel_"):
        state.relabel_(labels, rows)
    else:
        state.labels.copy_(labels)
        state.counts.copy_(torch.bincount(labels, minlength=len(state)))
        state.refresh_(rows)


def measure(options: argparse.Namespace, device: torch.device, rates: dict[str, float]) -> dict[str, Any]:
    """Whole steps of the branch; then, under timers, its parts."""
    settings = {"negatives": options.negatives, "pool": 0.1, "pool_form": "candidates"}
    branch = Branch(options.images, options.clusters, options.batch, device, **settings)
    rows, labels = rows_in_heaps(options.images, options.clusters, device)
    relabel(branch, labels, rows)
    del rows, labels
    for _ in range(3):
        branch.go()
    steps = 10 * options.repeats  # each tenth computes the centroids
    seconds: list[float] = []
    for _ in range(steps):
        branch.go()
        seconds.append(branch.seconds)
    tens = [sum(seconds[i : i + 10]) / 10 for i in range(0, steps, 10)]
    with timed(device) as parts:
        whole = 0.0
        for _ in range(10):
            branch.go()
            whole += branch.seconds
    found = {name: value / 10 for name, value in parts.items()}
    found["gradient, the rest"] = whole / 10 - sum(found.values())
    least = floors(options, rates)
    report: dict[str, Any] = {
        "seconds": spread(tens),
        "parts": {name: {"seconds": value, "floor": least.get(name)} for name, value in found.items()},
        "floor_seconds": sum(one["seconds"] for one in least.values()),
    }
    state = branch.method.clusters
    if state is not None and hasattr(state, "dissolve_few_"):
        report["small_cluster"] = dissolving(branch, device)
    if options.exact:
        report["exact_seconds"] = exact(options, branch, device)
    return report


def floors(options: argparse.Namespace, rates: dict[str, float]) -> dict[str, dict[str, float]]:
    """Least arithmetic and traffic of each part: products forward and back, every candidate row read once."""
    b, m, c, row = options.batch, options.negatives * 10, options.clusters, 4 * DIM
    return {
        "sampling": floor(rates, 4 * b * m * DIM, m * row),
        "bank": floor(rates, 0, 2 * b * row),
        "labels": floor(rates, 2 * b * c * DIM, c * row),
        "centroids": floor(rates, 0, 3 * c * row / 10),
    }


def dissolving(branch: Branch, device: torch.device) -> dict[str, float]:
    """Seconds of the small-cluster rule with one cluster to dissolve and refill: the exact form, and fixed shapes."""
    state, memory = branch.method.clusters, branch.method.memory
    assert state is not None
    found: dict[str, float] = {}
    for number, form in enumerate(("dissolve_small_", "dissolve_few_")):
        best: list[float] = []
        for repeat in range(4):
            small = int(state.counts.argmin() if repeat == 0 else (state.counts + number).argmin())
            images, there = state.lists.rows(torch.tensor([small], device=device), int(state.counts[small]))
            leave = images[there][state.min_size // 2 :]
            state._shift_(leave, memory.read(leave), memory.read(leave), state.nearest(memory.read(leave)))
            at = Progress(step=repeat, steps=100)
            best += seconds_of(lambda f=form, a=at: getattr(state, f)(memory.everything(), a), device, 1, 0)
        found[form] = min(best)
    return found


def exact(options: argparse.Namespace, branch: Branch, device: torch.device) -> float:
    """Seconds of one draw in the exact form: the whole bank is searched."""
    method = branch.method
    assert method.clusters is not None
    from viewkin.memory.negatives import NegativeSampler
    from viewkin.runtime.draws import Draw

    sampler = NegativeSampler("semihard", options.negatives, 0.1, "exact", True)
    index = torch.arange(options.batch, device=device)
    q = method.memory.read(index).requires_grad_()
    members, bank = method.clusters.members(), method.memory.everything()
    draw = Draw(0, 0, options.batch, 0, options.batch)

    def go() -> None:
        found = sampler(q, index, bank, members, draw, "exact")
        (found.similarity / 0.2).logsumexp(1).sum().backward()

    return seconds_of(go, device, 1, 0)[0]


if __name__ == "__main__":
    main()
