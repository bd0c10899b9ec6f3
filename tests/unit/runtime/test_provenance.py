"""Claims about where a result comes from."""

import subprocess
import sys

import pytest

from viewkin.evaluation.probes.knn import KnnConfig
from viewkin.evaluation.results import describe
from viewkin.runtime import provenance
from viewkin.runtime.provenance import command_line


def test_the_revision_is_that_of_the_checkout_only(monkeypatch, tmp_path):
    found = provenance.revision()
    assert found is None or found.removesuffix("-dirty").isalnum()
    # The same module, copied untracked into somebody else's repository, has no revision.
    git = ["git", "-C", str(tmp_path), "-c", "user.name=someone", "-c", "user.email=someone@localhost"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Start"], check=True)
    (tmp_path / "provenance.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.revision() is None


def test_no_git_is_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.revision() is None


def test_what_runs_wrote_does_not_make_the_checkout_another_one(monkeypatch, tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=someone", "-c", "user.email=someone@localhost"]
    code, written = tmp_path / "provenance.py", tmp_path / "results" / "one.json"
    written.parent.mkdir()
    for file in (code, written):
        file.write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Start"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(provenance, "__file__", str(code))
    clean = provenance.revision()
    written.write_text("2")
    assert clean
    assert provenance.revision() == clean
    code.write_text("2")
    assert provenance.revision() == f"{clean}-dirty"


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/usr/bin/viewkin", "evaluate", "knn", "my run"], "viewkin evaluate knn 'my run'"),
        (["/site-packages/viewkin/__main__.py", "train", "photos"], "viewkin train photos"),
        (["/usr/bin/pytest", "-q"], ""),
        (["scripts/evaluate_all.py"], ""),
        ([""], ""),
    ],
)
def test_a_command_is_told_where_this_library_s_command_line_runs(monkeypatch, arguments, command):
    monkeypatch.setattr(sys, "argv", arguments)
    assert command_line() == command
    assert describe("knn", KnnConfig(), {}).command == command
