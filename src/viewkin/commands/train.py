"""What a run leaves when training is over: its result on test, a report to look at, and where to look."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

from viewkin.commands.judge import judge
from viewkin.commands.run_report import report
from viewkin.evaluation.results import Result
from viewkin.runs.evidence import write_evidence
from viewkin.runs.execute import TrainedRun, train_run
from viewkin.runs.reopen import finished, settled
from viewkin.runs.resolve import TrainRequest
from viewkin.runtime.progress import reporter
from viewkin.training.fabric import accelerator_of


@dataclass(frozen=True)
class Training:
    """What training came to."""

    place: Path
    """Run directory."""
    run: TrainedRun | None = None
    """The run: its plan, its images and how it ended; None: it was finished before, and nothing was touched."""
    results: tuple[Result, ...] = ()
    """kNN of the last epoch, where there are labels: chance and the baselines first."""
    verdict: str = ""
    """Whether something was learnt, in a sentence; empty where nothing was judged."""
    evidence: tuple[Path, ...] = ()
    """Tables of what the method took for positives and negatives, for figures."""

    @property
    def finished(self) -> bool:
        """Whether training reached its last epoch; a run that a signal stopped can be resumed."""
        return not self.exit_code

    @property
    def exit_code(self) -> int:
        """Of the process: 0, or 128 + the signal that stopped the run."""
        return 0 if self.run is None else self.run.outcome.exit_code


def train(request: TrainRequest) -> Training:
    """Train; then judge a finished run on its images and write its report; one that was finished before is left alone.

    Raises:
        UserError: anything about the request, the images or the directory does not fit; nothing is written then.
        RunStoppedError: the run could not go on; its last checkpoint is kept.
    """
    request = settled(request)
    if request.out is not None and finished(request):
        reporter().say(f"The run in {request.out} is finished; it is left as it is.")
        return Training(request.out)
    with contextlib.ExitStack() as held:
        run = train_run(request, held)
        out = run.plan.out
        if not run.leads or run.outcome.exit_code:
            return Training(out, run)
        device = torch.device(accelerator_of(run.plan.stored.recipe.runtime))
        results, verdict = judge(run, device)
        evidence = write_evidence(out, run.plan.stored, run.plan.source, device)
        report(run, device, results, verdict)
        return Training(out, run, tuple(results), verdict, tuple(evidence))
