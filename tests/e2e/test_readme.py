"""Every ``viewkin`` command and every line of Python in the README works, training shrunk."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from commandline import TINY, images_in, viewkin

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("viewkin ")]


@pytest.fixture
def place(workplace: Path, trained: Path) -> Path:
    """What the README speaks of: labelled photos with a test split, and a run."""
    for split, count in (("train", 30), ("test", 10)):
        images_in(workplace / "photos" / split, count, classes=("cat", "dog"))
    shutil.copytree(trained, workplace / "runs" / "mine")
    return workplace


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_of_the_readme_works(place, command):
    if "--resume" in command:
        shutil.rmtree("runs/mine")
        assert viewkin("train", "photos/", *TINY, "--out", "runs/mine").code == 0
    elif command[0] == "train" and "--smoke" not in command:
        command = [*command, *(TINY if "--epochs" not in command else ("--smoke",))]
    command = ["photos" if part == "NAME" else part for part in command]
    ended = viewkin(*command)
    assert (ended.code, ended.err) == (0, ""), ended


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_of_the_readme_works(place, code):
    exec(compile(code, "README.md", "exec"), {})


def test_the_readme_shows_commands():
    assert len(commands()) >= 5
