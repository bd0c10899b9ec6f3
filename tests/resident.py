"""Memory of a process as the system counts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def resident(name: str = "VmRSS") -> float:
    """MiB of this process: ``VmRSS`` now, or ``VmHWM`` at most since the start or the last :func:`forget_peak`."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Measure ``VmHWM`` from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def printed(code: str, *arguments: str) -> list[float]:
    """Run some code in a process of its own, where this module is found; return the numbers it prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]
