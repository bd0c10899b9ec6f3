"""What a new user meets first: a mistyped name is told at once, and lines appear as they are known."""

from __future__ import annotations

import subprocess
import sys

import pytest

from commandline import TINY, images_in, viewkin
from viewkin.runs import plan
from viewkin.runs.images import open_training_images
from viewkin.runs.resolve import TrainRequest
from viewkin.runtime.progress import RANKS, Reporter, announce, reporting_to

HEAVY = ("torch", "numpy", "PIL", "pyarrow", "matplotlib")
"""Libraries that take longer to import than a mistyped name may take."""
ALONE = """
import sys
from viewkin.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def started(*arguments: object, cwd: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which at last names the heavy libraries that it has imported."""
    program = [sys.executable, "-c", ALONE.format(heavy=HEAVY), *map(str, arguments)]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train fotos", "There is no fotos: did you mean photos?"),
        ("demo --data fotos", "There is no fotos: did you mean photos?"),
        ("embed run fotos --out x.parquet", "There is no fotos: did you mean photos?"),
        ("embed rum photos --out x.parquet", "There is no backbone at rum: did you mean run?"),
        ("evaluate knn run fotos", "There is no fotos: did you mean photos?"),
        ("evaluate knn rum photos", "There is no backbone at rum: did you mean run?"),
        (
            "evaluate knn nothing photos",
            "There is no backbone at nothing: give a run directory, a file of weights",
        ),
        ("recipes photos", "There is no recipe 'photos'; 'viewkin recipes' lists them."),
        ("recipes no/where", "There is no recipe 'no/where'; 'viewkin recipes' lists them."),
        ("compare run rum", "rum is no run directory; did you mean run?"),
        ("figures map rum", "There is no backbone at rum: did you mean run?"),
        ("figures map run --data fotos", "There is no fotos: did you mean photos?"),
        ("figures neighbours pixels run --data fotos", "There is no fotos: did you mean photos?"),
        ("figures similarities rum", "There is no backbone at rum: did you mean run?"),
        ("figures curves rum", "rum is no run directory; did you mean run?"),
        ("figures negatives rum", "rum is no run directory; did you mean run?"),
        ("figures positives rum", "rum is no run directory; did you mean run?"),
        ("figures segments rum", "rum is no run directory; did you mean run?"),
        ("figures ablation rum --setting seed", "rum is no run directory; did you mean run?"),
    ],
)
def test_a_mistyped_name_is_told_before_anything_heavy_is_imported(workplace, command, sentence):
    (workplace / "photos").mkdir()
    (workplace / "run").mkdir()
    done = started(*command.split(), cwd=workplace)
    error, imported = done.stderr.split("\n")[:2]
    assert error.startswith(f"error: {sentence}")
    assert (done.returncode, imported) == (2, "")


@pytest.mark.parametrize(
    "command", ["embed {run} fotos --out x.parquet", "evaluate knn {run} fotos", "figures map {run} --data fotos"]
)
def test_the_full_check_says_the_same(workplace, trained, monkeypatch, command):
    images_in(workplace / "photos", 3)
    early = viewkin(*command.format(run=trained).split())
    for name in ("viewkin.cli", "viewkin.cli.figures"):
        monkeypatch.setattr(sys.modules[name], "check_images", lambda _data: None)
    late = viewkin(*command.format(run=trained).split())
    assert (early.code, early.err) == (late.code, late.err)
    assert "did you mean photos?" in late.err


@pytest.mark.usefixtures("no_heif")
def test_the_report_names_files_and_what_was_left_out_and_warns_of_neither(workplace):
    images_in(workplace / "pets", 40, classes=("cat", "dog"))
    (workplace / "pets" / "cat" / "phone.heic").write_bytes(b"x")
    (workplace / "pets" / "dog" / "broken.jpg").write_bytes(b"x")
    done = viewkin("train", "pets", *TINY, "--out", "run")
    assert done.code == 0, done.err
    page = (workplace / "run" / "report.html").read_text()
    left_out = page.partition("<h2>Left out</h2>")[2].partition("</ul>")[0]
    assert "1 .heic file" in left_out
    assert "broken.jpg" in left_out
    assert "cat/000.jpg" in page.partition("Names of the files")[2]
    assert '<ul class="warnings">' not in page
    assert page.partition('<p class="summary">')[2].startswith(("Learnt", "Nothing was learnt", "It is not certain"))


class Notebook(Reporter):
    """Notes what is said, and when the images were decoded."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *sentences: str) -> None:
        self.lines += sentences


@pytest.fixture
def decoded_between(workplace, monkeypatch) -> list[str]:
    """What is said while a run of twenty images is planned, with a mark where they are decoded."""
    images_in(workplace / "photos", 20)
    said = Notebook()

    def opened(*given, **more):
        said.lines.append("(decoding)")
        return open_training_images(*given, **more)

    monkeypatch.setattr(plan, "open_training_images", opened)
    with reporting_to(said):
        plan.planned(TrainRequest(data="photos", smoke=True))
    return said.lines


def test_lines_appear_as_they_are_known(decoded_between):
    before, after = (" ".join(part) for part in split_at("(decoding)", decoded_between))
    assert "Recipe photos (the default" in before
    assert "A smoke test" in before
    assert "Training resnet" in after
    assert len(decoded_between) == len(set(decoded_between))


def split_at(mark: str, lines: list[str]) -> tuple[list[str], list[str]]:
    place = lines.index(mark)
    return lines[:place], lines[place + 1 :]


@pytest.mark.parametrize("name", RANKS)
def test_one_process_speaks_for_all(name, monkeypatch):
    said = Notebook()
    with reporting_to(said):
        monkeypatch.setenv(name, "1")
        announce("one")
        monkeypatch.setenv(name, "0")
        announce("two")
    assert said.lines == ["two"]


def test_what_a_plan_says_is_said_once(workplace):
    images_in(workplace / "photos", 20)
    done = viewkin("train", "photos", *TINY, "--out", "run")
    assert done.out.count("Recipe photos") == done.out.count("Training resnet18") == 1
    assert done.out.index("Recipe photos") < done.out.index("Training resnet18") < done.out.index("Device: ")
