"""Claims about runs that are taken up again: a finished one is left alone, others go on."""

import shutil
from pathlib import Path

import pytest

import viewkin as library
from commandline import TINY, checkpoint_of, differing, images_in, viewkin
from faults import DATA, SIMCLR, killed_at, refused, state_of
from viewkin.runtime.errors import UserError


def test_a_finished_run_is_left_alone_and_says_so(workplace, trained):
    shutil.copytree(trained, "run")
    images_in(workplace / "photos", 6)
    drawn = viewkin("figures", "neighbours", "run", "--report")
    assert drawn.code in (0, 2)
    before = state_of(workplace / "run")
    for command in (("--resume",), ("--auto-resume",), ("--auto-resume", "--recipe", "demo", *TINY)):
        ended = viewkin("train", DATA, "--out", "run", *command)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == "The run in run is finished; it is left as it is.\n"
        assert state_of(workplace / "run") == before
    again = library.open_run("run").resume()
    assert again.finished
    assert state_of(workplace / "run") == before


def test_a_run_that_was_killed_before_its_report_is_not_finished(workplace, trained):
    shutil.copytree(trained, "run")
    (workplace / "run" / "report.html").unlink()
    ended = viewkin("train", DATA, "--out", "run", "--resume")
    assert (ended.code, ended.err) == (0, "")
    assert (workplace / "run" / "report.html").exists()
    assert not differing(checkpoint_of(workplace / "run"), checkpoint_of(trained))


def test_one_command_starts_continues_and_leaves_alone(workplace, monkeypatch):
    assert viewkin("train", DATA, *SIMCLR, "--out", "whole").code == 0
    command = ("train", DATA, *SIMCLR, "--out", "run", "--auto-resume")
    killed_at(monkeypatch, 0, *command)
    assert not Path("run").exists()
    killed_at(monkeypatch, 3, *command)
    ended = viewkin(*command)
    assert (ended.code, ended.err) == (0, "")
    assert "Going on with demo in run." in ended.out
    assert not differing(checkpoint_of(Path("run")), checkpoint_of(Path("whole")))
    assert "is finished" in viewkin(*command).out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--seed", 3), ("seed 0", "this command 3")),
        (("--epochs", 5), ("schedule.epochs 2", "this command 5")),
        (("--set", "method.temperature=0.9"), ("method.temperature", "0.9")),
        (("--recipe", "photos"), ("recipe 'demo'", "'photos'")),
        (("--method", "byol"), ("recipe 'demo'", "'photos-byol'")),
    ],
)
def test_an_auto_resume_with_other_settings_than_the_runs_is_refused(workplace, trained, more, words):
    shutil.copytree(trained, "run")
    refused(viewkin("train", DATA, "--out", "run", "--auto-resume", *more), *words, "another --out")


def test_an_auto_resume_needs_a_directory(workplace):
    refused(viewkin("train", DATA, "--auto-resume"), "--auto-resume needs --out DIR")
    with pytest.raises(UserError, match="needs --out"):
        library.train(DATA, auto_resume=True)
