"""What the machine can do, measured in the same run as what stands beside it, and where numbers come from."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from viewkin.runtime.files import replacing
from viewkin.runtime.provenance import revision

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "benchmarks"


def wait(device: torch.device) -> None:
    """Let the device end all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int, warmup: int = 1) -> list[float]:
    """Seconds of each repeat, after some that do not count."""
    found: list[float] = []
    for repeat in range(warmup + repeats):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        if repeat >= warmup:
            found.append(time.perf_counter() - began)
    return found


def spread(values: list[float]) -> dict[str, Any]:
    """Median, lowest and highest, and each."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "all": values}


SLOW = 5.0
"""GFLOP/s below which a product runs without the instructions for its type."""


def product_rate(side: int, kind: torch.dtype, device: torch.device) -> float:
    """Rate of the product of two square matrices, GFLOP/s: the best of five."""
    a = torch.randn(side, side, device=device).to(kind)
    b, out = a.clone(), torch.empty_like(a)
    best = min(seconds_of(lambda: torch.mm(a, b, out=out), device, 5))
    return 2 * side**3 / best / 1e9


def rates(device: torch.device) -> dict[str, float]:
    """Products of square matrices in two precisions, GFLOP/s, and copying of memory, GB/s read and written.

    Matrices are 2048 x 2048, or 256 x 256 in a type that the processor has no instructions for: there the large product
    takes minutes, at the same rate.
    """
    measured: dict[str, float] = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        rate = product_rate(256, kind, device)
        measured[f"{name}_gflops"] = rate if rate < SLOW else product_rate(2048, kind, device)
    source = torch.randn(2**25 if device.type == "cpu" else 2**28, device=device)
    target = torch.empty_like(source)
    best = min(seconds_of(lambda: target.copy_(source), device, 5))
    measured["copy_gbytes"] = 2 * source.nbytes / best / 1e9
    return measured


def floor(measured: dict[str, float], flops: float, moved: float, kind: str = "bfloat16") -> dict[str, float]:
    """Least seconds for an arithmetic and a traffic that cannot be avoided: the larger of the two."""
    arithmetic = flops / (measured[f"{kind}_gflops"] * 1e9)
    traffic = moved / (measured["copy_gbytes"] * 1e9)
    return {"flops": flops, "bytes": moved, "seconds": max(arithmetic, traffic)}


def origin(name: str, threads: int, device: torch.device) -> dict[str, Any]:
    """Say where the numbers come from."""
    cuda = device.type == "cuda"
    return {
        "benchmark": name,
        "command": shlex.join(["python", f"benchmarks/{name}.py", *sys.argv[1:]]),
        "commit": revision() or "",
        "device": torch.cuda.get_device_name() if cuda else processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rates": rates(device),
    }


def processor() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak() -> int:
    """Peak resident memory of this process, bytes (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(json.dumps(report, indent=2) + "\n")


def shown(values: dict[str, Any], digits: int = 2, scale: float = 1.0) -> str:
    """Format a spread."""
    median, low, high = (f"{values[name] * scale:,.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"
