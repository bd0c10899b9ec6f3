"""Where a result comes from: versions, commit, processor, device."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from viewkin.runtime.version import VERSION


def device_name(device: torch.device) -> str:
    """Name a device with what decides its speed: threads of the CPU, model of the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def revision() -> str | None:
    """Short git revision of the checkout that this library is run from; None for an installed copy."""
    here = Path(__file__).resolve()

    def git(*command: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here.parent), *command], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed copy may lie inside somebody else's repository: only a tracked file speaks for the revision.
    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    name = git("describe", "--always", "--exclude", "*")
    # What runs have written changes nothing that runs.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude)results")
    return f"{name}-dirty" if name and changed else name


def command_line() -> str:
    """Command that this process runs, where it is the command line of this library; else empty."""
    program = Path(sys.argv[0])
    ours = program.name in ("viewkin", "viewkin.exe") or program.parts[-2:] == ("viewkin", "__main__.py")
    return shlex.join(["viewkin", *sys.argv[1:]]) if ours else ""


def versions() -> dict[str, str]:
    """What produced a result: versions, commit, processor, device."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or platform.machine())
    return {
        "viewkin": VERSION,
        "commit": revision() or "",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
        "command": " ".join(["viewkin", *sys.argv[1:]]),
    }
