"""One run of a campaign: train, judge and keep, each by a process of its own that can be stopped and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from viewkin.campaigns.campaign import Edition, Evaluation, Row, arguments_of, request_of
from viewkin.campaigns.measured import KEPT, epochs_done, place_of, tail_of
from viewkin.commands.headline_embeddings import KEPT_EMBEDDINGS, keep_embeddings
from viewkin.recipes.catalogue import recipe_named
from viewkin.runs.directory_lock import refuse_if_locked
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import remove, replacing
from viewkin.runtime.wording import one_line
from viewkin.training.checkpoint import has_checkpoint


class RowFailedError(Exception):
    """A process of a row ended with an error; the sentence says which and why."""


class RowStoppedError(Exception):
    """A row was stopped by a signal; started again it goes on."""


@dataclass(frozen=True, kw_only=True)
class CampaignRun:
    """A row with a seed, and where it lies."""

    edition: Edition
    """The rows under the budget."""
    row: Row
    """Which row."""
    seed: int
    """Which seed."""
    images: str
    """Images, as the command line names them."""
    results: Path
    """Folder of results."""
    runs: Path
    """Folder of run directories."""

    @property
    def name(self) -> str:
        """Say which run it is."""
        return f"{self.row.name} with seed {self.seed}"

    @property
    def place(self) -> Path:
        """Run directory."""
        return place_of(self.runs, self.row.name, self.seed)

    @property
    def kept(self) -> Path:
        """Folder of what is kept."""
        return place_of(self.results, self.row.name, self.seed)

    @property
    def log(self) -> Path:
        """File of what its processes print."""
        return self.runs / "logs" / f"{self.place.name}.log"

    @property
    def epochs(self) -> int:
        """Epochs that it trains, over all rounds."""
        schedule = recipe_named(self.row.recipe).schedule
        given = dict(setting.split("=", 1) for setting in self.row.settings)
        rounds = int(given.get("schedule.rounds", schedule.rounds))
        return rounds * (self.row.epochs or self.edition.budget.epochs or schedule.epochs)

    @property
    def epochs_done(self) -> float:
        """Epochs that its log has."""
        return epochs_done(self.place)

    @property
    def training(self) -> list[str]:
        """Arguments of ``viewkin`` that train it, or go on with it."""
        request = request_of(self.row, self.edition.budget, self.images, seed=self.seed, out=self.place)
        return ["train", *arguments_of(request), "--auto-resume"]

    @property
    def judged(self) -> list[Evaluation]:
        """Evaluations that take a command of their own."""
        return [one for one in self.edition.evaluations if not one.by_training]

    def judging(self, evaluation: Evaluation) -> list[str]:
        """Arguments of ``viewkin`` that judge it."""
        words = ["evaluate", evaluation.protocol, str(self.place), self.images, "--features", evaluation.features]
        words += [word for setting in evaluation.settings for word in ("--set", setting)]
        words += [] if evaluation.split is None else ["--test-split", evaluation.split]
        words += [] if evaluation.classes is None else ["--classes", evaluation.classes]
        return [*words, "--no-baselines", "--out", str(self.kept / evaluation.file)]


class Children:
    """Processes that were started, so that all can be stopped together."""

    def __init__(self, nice: int | None = None) -> None:
        """Start none yet.

        Args:
            nice: how far they give way to other programs.

        Raises:
            UserError: this system has no such command.
        """
        self.stopping = False
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        found = None if not nice else shutil.which("nice")
        if nice and found is None:
            raise UserError("--nice needs the system's command nice, which is not here; leave it out.")
        self._before = [] if found is None else [found, "-n", str(nice)]

    def run(self, arguments: Sequence[str], log: Path, threads: int | None) -> None:
        """Run ``viewkin`` with these arguments to its end.

        Raises:
            RowStoppedError: it was stopped, or is not started any more.
            RowFailedError: it ended with an error.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*self._before, sys.executable, "-m", "viewkin", *arguments]
        with log.open("ab") as out:
            out.write(f"$ viewkin {' '.join(arguments)}\n".encode())
            out.flush()
            with self._lock:
                if self.stopping:
                    raise RowStoppedError
                # In a session of its own: Ctrl-C reaches this process alone, which passes it on once.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=_environment(threads),
                    start_new_session=True,
                )
                self._running.add(process)
            try:
                code = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
        if self.stopping and code:
            raise RowStoppedError
        if code:
            raise RowFailedError(f"viewkin {arguments[0]} ended with code {code}: {_last_words(log)} (see {log})")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Pass a signal on to all, and start no more."""
        with self._lock:
            self.stopping = True
            for process in self._running:
                if os.name == "nt":  # which has no such signals
                    process.terminate()
                else:
                    process.send_signal(number)

    def kill(self) -> None:
        """End all at once."""
        self.stop(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


def _environment(threads: int | None) -> dict[str, str]:
    """Let a process find the package that runs here, and use so many threads."""
    home = Path(__file__).resolve().parents[2]
    path = [] if "site-packages" in home.parts else [str(home)]
    path += [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)} if path else dict(os.environ)
    return environment if threads is None else {**environment, "OMP_NUM_THREADS": str(threads)}


def _last_words(log: Path) -> str:
    lines = tail_of(log).splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    return one_line((errors or lines or ["no output"])[-1].removeprefix("error: "))


def finish(run: CampaignRun, children: Children) -> None:
    """Train, judge and keep one run; what is done is not done again.

    Raises:
        RowStoppedError: it was stopped.
        RowFailedError: a process ended with an error.
        UserError: another process trains in its directory.
        OSError: its results cannot be written.
    """
    threads = run.edition.budget.threads
    if run.place.is_dir() and not has_checkpoint(run.place):  # it was ended before it had saved anything
        refuse_if_locked(run.place)
        remove(run.place)
    children.run(run.training, run.log, threads)
    run.kept.mkdir(parents=True, exist_ok=True)
    for evaluation in run.judged:
        if not (run.kept / evaluation.file).is_file():
            children.run(run.judging(evaluation), run.log, threads)
    for name in (*KEPT, *(one.file for one in run.edition.evaluations if one.by_training)):
        if not (run.place / name).is_file():
            raise RowFailedError(f"{run.place} has no {name}; remove the folder to have the row trained again")
        with replacing(run.kept / name) as part:
            shutil.copyfile(run.place / name, part)
    _without_places(run)
    if run.row.headline and run.seed == run.edition.seeds[0] and not (run.kept / KEPT_EMBEDDINGS).is_file():
        file = run.place / "test.parquet"
        words = ["embed", str(run.place), run.images, "--split", "test", "--features", "embedding", "--out", str(file)]
        children.run([*words, "--overwrite"], run.log, threads)
        keep_embeddings(file, run.kept)


def _without_places(run: CampaignRun) -> None:
    """Name images and runs in what is kept as the command did, without the folders of this machine."""
    places = [run.runs, *([Path(run.images)] if Path(run.images).exists() else [])]
    parents = {form for place in places for form in (place.absolute().parent, place.resolve().parent)}
    folders = [f"{parent}{os.sep}" for parent in parents if parent != parent.parent]
    for file in run.kept.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        clean = text
        for folder in sorted(folders, key=len, reverse=True):
            clean = clean.replace(json.dumps(folder)[1:-1], "")
        if clean != text:
            with replacing(file) as part:
                part.write_text(clean, encoding="utf-8")
