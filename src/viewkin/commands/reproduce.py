"""Reproduce a campaign: train and judge its rows, go on where it stopped, and write the table after each row."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from viewkin.campaigns.report import Report
from viewkin.commands.campaign_files import Written, check_folder, write_report
from viewkin.commands.campaign_images import IMAGES, PLACES, images_for
from viewkin.commands.campaign_plan import CampaignPlan, ReproduceRequest, campaign_plan
from viewkin.commands.campaign_run import CampaignRun, Children, RowFailedError, RowStoppedError, finish
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import Bar, announce, progress_bar, reporter
from viewkin.runtime.wording import counted, duration
from viewkin.training.interrupt import Interrupt

POLL = 0.5
"""Seconds between two looks at what runs."""
QUIET = 600.0
"""Seconds between two sentences on how far it is, where no bar is drawn."""


@dataclass(frozen=True)
class Reproduction:
    """How a campaign went."""

    report: Report
    """What has been measured, earlier runs included."""
    written: Written
    """The files of the table."""
    failed: tuple[str, ...] = ()
    """A sentence for each row that failed."""
    signal: int | None = None
    """Signal that stopped it; None: it ended by itself."""

    @property
    def exit_code(self) -> int:
        """Of the process: 0; 1 if a row failed; 128 + the signal that stopped it."""
        return 128 + self.signal if self.signal is not None else int(bool(self.failed))


def gathered(request: ReproduceRequest) -> Reproduction:
    """Write the table of what has ended, and train nothing.

    Raises:
        UserError: as :func:`campaign_plan`, or a folder that cannot be written.
    """
    plan = campaign_plan(request)
    check_folder(plan.results)
    return Reproduction(*write_report(plan.campaign, plan.edition, plan.results, plan.command))


def commands_of(request: ReproduceRequest) -> list[list[str]]:
    """Give the arguments of ``viewkin`` that train and judge what has not ended.

    Raises:
        UserError: as :func:`campaign_plan`.
    """
    plan = campaign_plan(request)
    images = request.data or (
        PLACES[plan.edition.images] if plan.edition.budget.images is None else str(plan.runs / IMAGES)
    )
    runs = _runs_of(plan, images)
    return [words for run in runs for words in (run.training, *map(run.judging, run.judged))]


def _runs_of(plan: CampaignPlan, images: str) -> list[CampaignRun]:
    return [
        CampaignRun(edition=plan.edition, row=row, seed=seed, images=images, results=plan.results, runs=plan.runs)
        for row, seed in plan.left
    ]


def reproduce(request: ReproduceRequest) -> Reproduction:
    """Train and judge what has not ended, and write the table after each row.

    A row that fails does not end the others. The first Ctrl-C or SIGTERM is passed on to the runs, which save and stop.

    Raises:
        UserError: as :func:`campaign_plan`, images that do not fit, or a folder that cannot be written.
    """
    plan = campaign_plan(request)
    for folder in (plan.results, plan.runs):
        check_folder(folder)
    left = plan.left
    announce(f"{plan.campaign.name}: {counted(len(plan.chosen), 'run')}, {len(plan.chosen) - len(left)} have ended.")
    if not left:
        return gathered(request)
    images = images_for(request.data, plan.edition, plan.runs)
    runs = _runs_of(plan, images)
    campaign = _Progress(plan, runs)
    with (
        Interrupt() as interrupt,
        campaign.bar,
        _children(request.nice) as children,
        ThreadPoolExecutor(request.jobs) as pool,
    ):
        waiting = {pool.submit(_finished, run, children, campaign): run for run in runs}
        _follow(waiting, children, interrupt, campaign)
    report, written = write_report(plan.campaign, plan.edition, plan.results, plan.command)
    return Reproduction(report, written, tuple(campaign.failed), interrupt.signal)


@contextlib.contextmanager
def _children(nice: int | None) -> Generator[Children]:
    """Give the processes of the runs; none outlives this one."""
    children = Children(nice)
    try:
        yield children
    finally:
        children.kill()


def _finished(run: CampaignRun, children: Children, campaign: _Progress) -> None:
    """Run one row in a thread of its own."""
    if children.stopping:
        raise RowStoppedError
    campaign.begins(run)
    finish(run, children)


def _follow(
    waiting: dict[Future[None], CampaignRun], children: Children, interrupt: Interrupt, campaign: _Progress
) -> None:
    """Wait for all rows, show how far they are, and write the table after each."""
    try:
        pending = set(waiting)
        while pending:
            done, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in done:
                campaign.ended(waiting[future], future)
            if interrupt.signal is not None and not children.stopping:
                announce("Stopping: the runs save first. Once more ends at once.")
                children.stop(interrupt.signal)
            campaign.show()
    except BaseException:  # a second Ctrl-C: the pool's threads wait for these processes
        children.kill()
        raise


class _Progress:
    """Counts the epochs of all rows that are left, and tells when they will be over."""

    def __init__(self, plan: CampaignPlan, runs: Sequence[CampaignRun]) -> None:
        self.plan, self.runs = plan, runs
        self.failed: list[str] = []
        self.over = 0
        self._began, self._before = time.monotonic(), self._done()
        self._said = self._began
        self.total = sum(run.epochs for run in runs)
        self.bar: Bar = progress_bar(plan.campaign.name, self.total)

    def _done(self) -> float:
        return sum(run.epochs_done for run in self.runs)

    def begins(self, run: CampaignRun) -> None:
        """Say that a row begins, or goes on."""
        how = f"goes on from epoch {run.epochs_done:.0f}" if run.epochs_done else "begins"
        announce(f"{run.name} {how}; its output is in {run.log}.")

    def ended(self, run: CampaignRun, future: Future[None]) -> None:
        """Take in how a row ended, and write the table anew."""
        if future.cancelled() or isinstance(future.exception(), RowStoppedError):
            return
        self.over += 1
        error = future.exception()
        if isinstance(error, (RowFailedError, UserError, OSError)):
            self.failed.append(f"{run.name} failed: {error}")
            announce(self.failed[-1])
            return
        if error is not None:
            raise error
        report, _ = write_report(self.plan.campaign, self.plan.edition, self.plan.results, self.plan.command)
        shown = ", ".join(
            f"{column.title} {one.values[column.key]:.1f}"
            for one in report.runs
            for column in self.plan.edition.columns
            if (one.row, one.seed) == (run.row.name, run.seed) and column.key in one.values
        )
        announce(f"{run.name} has ended: {shown}. {len(self.runs) - self.over} left{self._remaining()}.")

    def _remaining(self) -> str:
        done = self._done()
        speed = (done - self._before) / (time.monotonic() - self._began)
        return f", about {duration((self.total - done) / speed)}" if speed > 0 and done < self.total else ""

    def show(self) -> None:
        """Move the bar; where none is drawn, say how far it is from time to time."""
        done, now = int(self._done()), time.monotonic()
        self.bar.update(done, detail=f"epochs, {self.over} of {len(self.runs)} rows")
        if not reporter().draws and now - self._said > QUIET:
            self._said = now
            announce(f"{done:,} of {self.total:,} epochs{self._remaining()}.")
