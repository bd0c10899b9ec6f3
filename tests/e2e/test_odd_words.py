"""Claims about odd arguments and files that the system refuses: one sentence, soon, that says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import TINY, images_in, viewkin
from viewkin.runs.run_settings import read_run_settings
from viewkin.runtime.errors import UserError
from viewkin.training.logs import read_metrics


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "photos", "--out", "x" * 300), "cannot be made (file name too long): give a shorter name."),
        (("train", "photos", "--out", ""), "The value after --out is empty: give one, or leave --out out."),
        (("train", "photos", "--out="), "The value after --out= is empty: give one, or leave --out out."),
        (("train", "photos", "--recipe", ""), "The value after --recipe is empty"),
        (("train", "photos", "--recipe", "x" * 5000), "There is no recipe 'xxx"),
        (("train", "photos", "--recipe", "/dev/zero"), "There is no recipe '/dev/zero'"),
        (("train", "photos", "--set", "data.value_range=1"), "data.value_range is '1'; it must be 2 values"),
        (("train", "photos", "--set", "data.value_range=0,1e400"), "it must be finite numbers"),
        (("train", "photos", "--set", "data.labels=perhaps"), "data.labels is 'perhaps'"),
        (("recipes", "x" * 5000), "There is no recipe 'xxx"),
        (("embed", "efficientnet_lite0.zip", "photos", "--out", "e.csv"), "There is no backbone at"),
        (("train", "generated:images=99999999999"), "would take 286,102 GiB of memory: lower images"),
        (("embed", "x" * 5000, "photos", "--out", "e.parquet"), "There is no backbone at xxx"),
        (("figures", "curves", "x" * 300), "xxx is no run directory"),
        (("compare", "x" * 300), "xxx is no run directory"),
        (
            ("evaluate", "linear", "RUN", "photos", "--set", "epochs=99999999999"),
            "epochs is 99999999999; it must be 1 to 1,000,000",
        ),
        (("embed", "RUN", "photos", "--out", "x" * 300 + ".csv"), "xxx.csv cannot go on (file name too long): give a"),
        (("figures", "neighbours", "RUN", "--out", "x" * 300 + ".png"), "(file name too long): give a shorter name."),
    ],
)
def test_odd_arguments_are_one_sentence(workplace: Path, trained: Path, arguments: tuple[str, ...], said: str):
    images_in(workplace / "photos", 20)
    arguments = tuple(str(trained) if word == "RUN" else word for word in arguments)
    ended = viewkin(*arguments, *(TINY if arguments[0] == "train" else ()))
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended
    assert said in ended.err
    assert sorted(path.name for path in workplace.iterdir()) == ["photos"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "recipe.json"])
def test_a_file_of_a_run_that_may_not_be_read_is_named(workplace: Path, trained: Path, monkeypatch, name: str):
    shutil.copytree(trained, "run")
    (workplace / "run" / "report.html").unlink()
    refusal = PermissionError(13, "Permission denied", f"run/{name}")
    read_bytes, read_text = Path.read_bytes, Path.read_text

    def guarded(read):
        def reading(path: Path, *given: object, **named: object) -> object:
            if path.name == name:
                raise refusal
            return read(path, *given, **named)

        return reading

    monkeypatch.setattr(Path, "read_bytes", guarded(read_bytes))
    monkeypatch.setattr(Path, "read_text", guarded(read_text))
    ended = viewkin("train", "generated:images=64", "--out", "run", "--resume")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended
    assert f"run/{name} cannot be read (permission denied): allow it." in ended.err
    if name == "metrics.jsonl":
        with pytest.raises(UserError, match="allow it"):
            read_metrics(Path("run") / name)
    if name == "recipe.json":
        with pytest.raises(UserError, match="allow it"):
            read_run_settings(Path("run"))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(13, "allow it, then"), (28, "make room, then"), (30, "allow it, then"), (5, "check that place")],
)
def test_the_advice_fits_what_the_system_says(workplace: Path, monkeypatch, number: int, remedy: str):
    def refusing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("viewkin.training.checkpoint.write_tensors", refusing)
    ended = viewkin("train", "generated:images=64", "--recipe", "demo", *TINY, "--out", "run")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert f"({os.strerror(number)}); {remedy}" in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_behind_standard_output_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "viewkin", "recipes"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: This command cannot go on (no space left on device): make room.\n"
