"""Two (or more) gloo processes that live as long as the test session and run functions together."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import itertools
import multiprocessing
import operator
import pickle
import sys
import time
import traceback
import types
import uuid
import warnings
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

TIMEOUT = 120.0
"""Seconds a call may take, import of its module included."""
GRACE = 2.0
"""Seconds left to the other ranks after one has failed; they may wait for it in a collective for ever."""


class Pool:
    """Run a module-level function of a test module on every rank at once.

    Each call starts from ``torch.manual_seed(0)`` with warnings as errors, as tests do. After a failure the processes
    are replaced, because the failing rank may have left the others within a collective.
    """

    def __init__(self, folder: Path, world: int = 2) -> None:
        self.folder = folder
        self.world = world
        self.workers: list[tuple[Any, Connection]] = []

    def run(self, function: Callable[..., Any], *args: Any, timeout: float = TIMEOUT) -> list[Any]:
        """Call ``function(*args)`` on all ranks; return their results, rank 0's first."""
        if not self.workers:
            self._start()
        header = (inspect.getfile(function), function.__module__, function.__qualname__)
        payload = pickle.dumps(args)
        for _, connection in self.workers:
            connection.send(header)
            connection.send_bytes(payload)
        replies = self._collect(timeout)
        failures = [f"rank {rank}: {reply}" for rank, (good, reply) in sorted(replies.items()) if not good]
        if failures or len(replies) < self.world:
            self.close()
            silent = sorted(set(range(self.world)) - set(replies))
            raise RuntimeError("\n".join(failures) + (f"\nno answer from ranks {silent}" if silent else ""))
        return [pickle.loads(replies[rank][1]) for rank in range(self.world)]

    def close(self) -> None:
        """End the processes; the next call starts new ones."""
        for process, connection in self.workers:
            connection.close()
            process.terminate()
        for process, _ in self.workers:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self.workers = []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        meeting = self.folder / f"meeting-{uuid.uuid4().hex}"
        for rank in range(self.world):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, str(meeting), rank, self.world), daemon=True)
            process.start()
            theirs.close()
            self.workers.append((process, ours))

    def _collect(self, timeout: float) -> dict[int, tuple[bool, Any]]:
        """Collect what the ranks answer until all have, one has failed, or time is up."""
        replies: dict[int, tuple[bool, Any]] = {}
        pending = {connection: rank for rank, (_, connection) in enumerate(self.workers)}
        end = time.monotonic() + timeout
        while pending:
            ready = wait(list(pending), max(0.0, end - time.monotonic()))
            if not ready:
                break
            for connection in ready:
                rank = pending.pop(connection)
                try:
                    replies[rank] = connection.recv()
                except (EOFError, OSError):
                    replies[rank] = (False, "the process ended")
                if not replies[rank][0]:
                    end = min(end, time.monotonic() + GRACE)
        return replies


def _work(connection: Connection, meeting: str, rank: int, world: int) -> None:
    """Serve calls in a worker process until the connection closes."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world, timeout=timedelta(seconds=TIMEOUT)
    )
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            path, module, name = connection.recv()
            payload = connection.recv_bytes()
            torch.manual_seed(0)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    function = operator.attrgetter(name)(_module(path, module))
                    answer = (True, pickle.dumps(function(*pickle.loads(payload))))
            except Exception:
                answer = (False, traceback.format_exc())
            connection.send(answer)


def _module(path: str, name: str) -> Any:
    """Import a test module under the name it has in the main process, so that its classes unpickle there."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(path)
        module = importlib.util.module_from_spec(spec)
        for parent in itertools.accumulate(name.split(".")[:-1], "{}.{}".format):
            sys.modules.setdefault(parent, types.ModuleType(parent))  # pickle imports a.b.c by way of a
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
