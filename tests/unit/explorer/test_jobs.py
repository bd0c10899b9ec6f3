"""Claims about long work of the page: its progress is told, and it ends when nobody wants it."""

from __future__ import annotations

import threading

from viewkin.explorer.jobs import Job, JobReporter
from viewkin.explorer.projection import Rounds
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import Reporter, counting, reporting_to


def test_stopped_work_ends_at_its_next_step_without_a_result():
    begun, go_on, steps = threading.Event(), threading.Event(), []

    def work(_: Job) -> str:
        for (step,) in counting(([number] for number in range(1000)), "Counting", 1000):
            steps.append(step)
            begun.set()
            go_on.wait(10)
        return "done"

    with reporting_to(JobReporter(Reporter())):
        job = Job(work, "Counting").start()
        assert begun.wait(10)
        assert (job.told()["description"], job.told()["done"], job.told()["total"]) == ("Counting", 1, 1000)
        job.stop()
        go_on.set()
        assert job.wait(10)
    assert len(steps) == 1
    assert (job.result, job.error, job.told()["stopped"]) == (None, None, True)


def test_what_a_person_can_mend_is_told_as_it_is_said_and_other_errors_by_their_name():
    def refused(_: Job) -> None:
        raise UserError("There are no labels.")

    def broken(_: Job) -> None:
        raise ZeroDivisionError("division")

    told = [Job(work, "Working").start() for work in (refused, broken)]
    assert all(job.wait(10) for job in told)
    assert [job.error for job in told] == ["There are no labels.", "ZeroDivisionError: division"]


def test_the_rounds_of_umap_are_told():
    job = Job(lambda _: None, "Finding neighbours")
    rounds = Rounds(job)
    for text in ("\r", "0/200", "\r 57/200", "\n"):
        rounds.write(text)
    assert (job.description, job.done, job.total) == ("Drawing the map", 57, 200)
