"""Run the command line: in this process, or in children of a server that has torch imported already."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from viewkin.cli import main
from viewkin.training.logs import CLOCKED

TINY = ("--smoke", "--epochs", "2", "--batch-size", "16", "--image-size", "16")
"""A run of a second: two epochs of a network of width 8."""
TIMEOUT = 300.0
"""Seconds that anything waited for may take on a busy machine."""


@dataclass
class Ended:
    """How a command ended."""

    code: int
    """Exit code of the process."""
    out: str
    """What stood on standard output."""
    err: str
    """What stood on standard error."""


def viewkin(*arguments: object) -> Ended:
    """Run a command in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Ended(code, out.getvalue(), err.getvalue())


def images_in(folder: Path, count: int, *, size: tuple[int, int] = (24, 20), classes: tuple[str, ...] = ()) -> Path:
    """Write smooth random JPEGs, in a subfolder per class in turn."""
    random = np.random.default_rng(0)
    for number in range(count):
        place = folder / classes[number % len(classes)] if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(place / f"{number:03d}.jpg")
    return folder


def checkpoint_of(out: Path) -> dict[str, Any]:
    """Everything in a run's last checkpoint, flat: path of keys to value."""
    return flat(torch.load(out / "last.ckpt", weights_only=True))


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Open nested dicts, lists and tuples."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        return {path: value}
    return {name: part for key, inner in pairs for name, part in flat(inner, f"{path}.{key}").items()}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name what differs between two flat states in any bit."""
    same = {
        name: torch.equal(one[name], other[name]) if isinstance(one[name], torch.Tensor) else one[name] == other[name]
        for name in one.keys() & other.keys()
    }
    return sorted(one.keys() ^ other.keys()) + sorted(name for name, equal in same.items() if not equal)


def metrics_of(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl but for the speed; a line that is being written is left out."""
    lines = []
    if (out / "metrics.jsonl").exists():
        for text in (out / "metrics.jsonl").read_text().splitlines(keepends=True):
            if text.endswith("\n"):
                lines.append({k: v for k, v in json.loads(text).items() if k not in CLOCKED})
    return lines


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


class Server:
    """A process that imports torch once and forks a child for each command: what a new process costs is left out."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import commandline; commandline.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self, *arguments: object, cwd: Path, log: Path, **environ: object) -> int:
        """Start ``viewkin`` with these arguments; its output goes to ``log``. Returns its process id."""
        job = {"arguments": [str(a) for a in arguments], "cwd": str(cwd), "log": str(log)}
        return self._ask({**job, "environ": {name: str(value) for name, value in environ.items()}})

    def wait(self, child: int) -> int:
        """Wait for a child; its exit code, or minus the signal that killed it."""
        return self._ask({"wait": child})

    def run(self, *arguments: object, cwd: Path, log: Path) -> int:
        """Start and wait."""
        return self.wait(self.start(*arguments, cwd=cwd, log=log))

    def ranks(
        self, *arguments: object, cwd: Path, log: Path, port: int, world: int = 2, **environ: object
    ) -> list[int]:
        """Start and wait for the processes that torchrun would start; their exit codes."""
        shared: dict[str, object] = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1"}
        shared |= {"MASTER_PORT": port, **environ}
        children = [
            self.start(*arguments, cwd=cwd, log=log.with_suffix(f".{rank}"), RANK=rank, LOCAL_RANK=rank, **shared)
            for rank in range(world)
        ]
        return [self.wait(child) for child in children]

    def close(self) -> None:
        """End the server."""
        self._process.communicate()

    def _ask(self, job: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def serve() -> None:
    """Answer the server's jobs until its input ends."""
    for module in ("viewkin.commands.train", "torch.utils.tensorboard.writer"):
        importlib.import_module(module)
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            print(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            _become(job)
        print(child, flush=True)


def _become(job: dict[str, Any]) -> None:
    os.chdir(job["cwd"])
    os.environ.update(job["environ"])
    if "VIEWKIN_TEST_FILE_BYTES" in os.environ:  # bytes of the largest file that may be written
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["VIEWKIN_TEST_FILE_BYTES"]), resource.RLIM_INFINITY))
    log = os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        main(job["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
