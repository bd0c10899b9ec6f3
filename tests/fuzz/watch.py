"""Run cases, each in a process of its own, and say what went wrong: see ``__main__`` for the command."""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from fuzz.kinds import kind_of, read_case, write_case, write_corpus
from viewkin.runtime.errors import UserError

SECONDS = 10
"""Processor seconds that reading one file may take."""
CLOCK = 100
"""Seconds that it may take by the clock, on a busy machine or while it waits."""
MEMORY = 2**30
"""Bytes that reading one file may take on top of what the process has."""
GUARD = 4 * 2**30
"""Bytes at which a reader is stopped, for the machine's sake."""
LONGEST = 900
"""Characters of the longest sentence: it may hold the name of a file three times, 255 characters each."""
TOGETHER = 20
"""Cases that one child runs."""
IMPORTED = ("matplotlib.pyplot", "viewkin.commands.figures.curves")
"""What is imported before children are forked, because each of them would do it again."""


@dataclass(frozen=True)
class Outcome:
    """How one case ended."""

    number: int
    """The case."""
    ended: str
    """``read``, ``refused`` or ``fault``."""
    detail: str = ""
    """The sentence that refused it, or what went wrong."""
    seconds: float = 0.0
    """By the clock, with writing the file."""
    extra: int = 0
    """Bytes of memory that were taken."""

    @property
    def kind(self) -> str:
        """Kind of file."""
        return kind_of(self.number)


class Watch:
    """Runs cases in a folder of its own.

    The process that imports everything reads no file itself and starts no thread, so that it can be forked: a child
    runs some cases, and the next one goes on after a case that ended it.
    """

    def __init__(self, folder: Path) -> None:
        """Write the sound files."""
        self._folder, self._corpus = folder, folder / "corpus"
        self._said, self._told = folder / "said", folder / "told"
        self._status = 0
        for module in IMPORTED:
            importlib.import_module(module)
        Image.init()
        gc.collect()
        gc.freeze()
        child = self._fork(lambda: write_corpus(self._corpus))
        _, status, _ = os.wait4(child, 0)
        if status:
            raise RuntimeError(f"the sound files cannot be written: {self._said.read_text()[-2000:]}")

    def run(self, numbers: Sequence[int], keep: Path | None = None) -> Iterator[Outcome]:
        """Run cases, in order.

        Args:
            numbers: the cases.
            keep: folder to write the files of one case into, where they stay.
        """
        waiting = list(numbers)
        while waiting:
            some = waiting[:TOGETHER]
            child = self._fork(lambda some=some: self._several(some, keep))
            begun: dict[str, Any] = {}
            for line in self._lines(child):
                if "ended" not in line:
                    begun = line
                    continue
                yield self._outcome(line)
                waiting.remove(line["number"])
            if waiting and waiting[0] in some:  # the child did not live to tell of it
                how = signal.Signals(os.WTERMSIG(self._status)).name if os.WIFSIGNALED(self._status) else "an error"
                why = f"ended the process by {how}: {begun}; {self._said.read_text('utf-8', 'replace')[-3000:]}"
                yield Outcome(waiting.pop(0), "fault", why)

    def _outcome(self, line: dict[str, Any]) -> Outcome:
        outcome = Outcome(**line)
        if outcome.ended != "fault" and outcome.extra > MEMORY:
            return replace(outcome, ended="fault", detail=f"took {outcome.extra / 2**20:,.0f} MiB of memory")
        return outcome

    def _several(self, numbers: Sequence[int], keep: Path | None) -> None:
        """Run cases in a child."""
        with self._told.open("w") as told:
            for number in numbers:
                began = time.monotonic()
                with tempfile.TemporaryDirectory(dir=self._folder) as spare:
                    ended, detail, extra = self._one(Path(spare) if keep is None else keep, number, told)
                    os.chdir("/")
                seconds = time.monotonic() - began
                outcome = Outcome(number, ended, detail, seconds, extra)
                told.write(json.dumps(asdict(outcome)) + "\n")
                told.flush()

    def _one(self, place: Path, number: int, told: TextIO) -> tuple[str, str, int]:
        """Write the files of a case, read them, and see that they are as they were."""
        os.chdir(place)
        os.environ["VIEWKIN_CACHE"] = str(place / "cache")
        write_case(self._corpus, place, number)
        sys.stderr.flush()
        before, said = _hashes(place), self._said.stat().st_size
        told.write(json.dumps({"number": number}) + "\n")
        told.flush()
        held = _restart_peak()
        _limit()
        try:
            texts, ended = read_case(self._corpus, place, number), "read"
        except UserError as error:
            texts, ended = [str(error)], "refused"
        except BaseException as error:
            where = "".join(traceback.format_exception(error, limit=-6))
            return "fault", f"{type(error).__name__}: {str(error)[:300]}\n{where[-3000:]}", _peak() - held
        extra, after = _peak() - held, _hashes(place)
        for fault, text in ((fault_of(text), text) for text in texts):
            if fault:
                return "fault", f"a sentence {fault}: {text[:300]!r}", extra
        if any(after.get(path) != content for path, content in before.items()):  # what is new is the case's own
            return "fault", "a file was changed by reading it", extra
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        printed = self._said.read_bytes()[said:]
        if printed:
            return "fault", f"printed {printed[:500]!r}", extra
        return ended, texts[0] if ended == "refused" else "", extra

    def _fork(self, work: Callable[[], None]) -> int:
        """Do something in a child, whose output goes into a file."""
        self._told.write_text("")
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            output = os.open(self._said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(output, stream)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def _lines(self, child: int) -> Iterator[dict[str, Any]]:
        """Read what a child tells, until it ends; it is ended when it tells nothing for long."""
        last, pause, ended = time.monotonic(), 0.001, False
        with self._told.open() as told:
            while True:
                text = told.readline()
                if text.endswith("\n"):
                    last, pause = time.monotonic(), 0.001
                    yield json.loads(text)
                elif ended:
                    return
                else:
                    told.seek(told.tell() - len(text.encode()))
                    if time.monotonic() - last > CLOCK:
                        os.kill(child, signal.SIGKILL)
                    time.sleep(pause)
                    pause = min(pause * 1.3, 0.02)
                    done, self._status, _ = os.wait4(child, os.WNOHANG)
                    ended = done == child


def fault_of(sentence: str) -> str:
    """Say what is wrong with a sentence for a person; an empty text where nothing is."""
    if "\n" in sentence or "\r" in sentence:
        return "has several lines"
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in sentence):
        return "holds control characters"
    if len(sentence) > LONGEST:
        return f"is {len(sentence):,} characters long"
    return ""


def _limit() -> None:
    """Let the kernel end this process when it takes too long or too much."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    seconds = int(used.ru_utime + used.ru_stime) + SECONDS + 1
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_DATA, held + GUARD), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _restart_peak() -> int:
    """Forget the most memory that this process ever held; give what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Bytes of the most memory that this process held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _hashes(place: Path) -> dict[str, str]:
    """Hash every file of a case but for the cache."""
    files = [path for path in place.rglob("*") if path.is_file() and "cache" not in path.relative_to(place).parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
