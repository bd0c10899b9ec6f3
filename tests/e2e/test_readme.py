"""Every ``viewkin`` command and every line of Python in the README works, training shrunk."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from commandline import TINY, images_in, viewkin
from layouts import cifar_in

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("viewkin ")]


@pytest.fixture
def place(workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README speaks of: labelled photos without a test split, CIFAR-10's archive, and a run."""
    images_in(workplace / "photos", 40, classes=("cat", "dog"))
    (workplace / "data").mkdir()
    cifar_in(workplace / "data", monkeypatch, [0, 1] * 40, [0, 1] * 10, hundred=False)
    shutil.copytree(trained, workplace / "runs" / "mine")
    return workplace


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_of_the_readme_works(place, command):
    if "--out" in command and command[0] == "train":
        shutil.rmtree("runs/mine")
    if "--resume" in command:
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
