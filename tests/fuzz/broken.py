"""Readers that are broken on purpose; prints how the watch takes each of them, as JSON."""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from fuzz import watch
from viewkin.runtime.errors import UserError
from viewkin.training import logs

LOG_CASE = 26
"""A case of a damaged log."""


def raises() -> list[str]:
    """Let an error through."""
    raise ValueError("not a sentence")


def prints() -> list[str]:
    """Write to standard error past Python, as libraries do."""
    ctypes.CDLL(None).perror(b"a library")
    return []


def hangs() -> list[str]:
    """Never end."""
    while True:
        pass


def crashes() -> list[str]:
    """Read where no memory is."""
    ctypes.string_at(0)
    return []


def fills() -> list[str]:
    """Take a lot of memory."""
    return [str(len(b"x" * (watch.MEMORY + 2**26)))[:0]]


def writes() -> list[str]:
    """Change the file that it reads."""
    with Path("run/metrics.jsonl").open("ab") as file:
        file.write(b"more")
    return []


def rambles() -> list[str]:
    """Say too much."""
    raise UserError("word " * 200)


def escapes() -> list[str]:
    """Give a sentence that rings."""
    return ["ding\x07"]


def sleeps() -> list[str]:
    """Read slowly, but in time."""
    time.sleep(0.2)
    return []


READERS = (raises, prints, hangs, crashes, fills, writes, rambles, escapes, sleeps)


def main() -> None:
    """Try each of them, and the log's reader without its refusal."""
    torch.set_num_threads(1)
    watch.SECONDS = 1
    ended: dict[str, tuple[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        watched = watch.Watch(Path(folder))
        for reader in READERS:
            watch.read_case = lambda corpus, place, number, reader=reader: reader()  # type: ignore[assignment]
            outcome = next(watched.run([LOG_CASE]))
            ended[reader.__name__] = outcome.ended, outcome.detail
        from fuzz.kinds import read_case

        watch.read_case = read_case
        logs._line = json.loads  # type: ignore[assignment]
        cases = [number for number in range(100) if watch.kind_of(number) == "log"]
        found = [one for one in watched.run(cases) if one.ended == "fault"]
        ended["the log's reader without its refusal"] = ("fault" if found else "read", found[0].detail if found else "")
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    main()
