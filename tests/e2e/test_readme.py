"""Claims about the documents: their commands and their Python work, training shrunk, and what they name is there."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import typer

import viewkin as library
from commandline import TINY, images_in, viewkin
from layouts import cifar_in
from viewkin.cli import app
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.recipes.catalogue import RECIPES
from viewkin.settings import read_assignment

ROOT = Path(__file__).parents[2]
README, PYTHON, COLLECTION = ROOT / "README.md", ROOT / "docs" / "python.md", ROOT / "docs" / "collection.md"
CLEANING, EXPORT = ROOT / "docs" / "cleaning.md", ROOT / "docs" / "export.md"
NEED_COLLECTION = ("search", "duplicates", "outliers", "quality", "suspects", "clusters", "select", "label")
"""Commands of the documents that look into the collection."""
PAGES = sorted([ROOT / "CONTRIBUTING.md", README, *(ROOT / "docs").rglob("*.md")])
HOW_TO = sorted([ROOT / "docs" / "tutorial.md", *(ROOT / "docs" / "how-to").glob("*.md")])
LOG = ROOT / "docs" / "log.md"
"""History: its commands are those of their day."""
SHRUNK: dict[str, Any] = {"smoke": True, "epochs": 2, "batch_size": 16, "image_size": 16}
"""What the Python of the documents trains with here."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def shell_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks, fenced or indented, continued lines joined."""
    text = page.read_text()
    fenced = "".join(blocks(page, "bash"))
    indented = "".join(
        line[4:] for line in text.splitlines(keepends=True) if re.match(r" {4}(viewkin|torchrun) ", line)
    )
    lines = (fenced + indented).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def commands_of(page: Path) -> list[list[str]]:
    """What a page gives to ``viewkin``."""
    lines = [shlex.split(line, comments=True) for line in shell_lines(page)]
    ours = [line for line in lines if line[0] in ("viewkin", "torchrun") and "viewkin" in line]
    return [line[line.index("viewkin") + 1 :] for line in ours]


def python_blocks() -> list[Any]:
    return [
        pytest.param(code, id=f"{page.name}-{number}")
        for page in (README, PYTHON, COLLECTION, CLEANING, EXPORT, *HOW_TO)
        if page.exists()
        for number, code in enumerate(blocks(page, "python"))
    ]


@pytest.fixture
def place(workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the documents speak of: labelled photos without a test split, two files, CIFAR-10's archive, and a run."""
    images_in(workplace / "photos", 40, classes=("cat", "dog"))
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(workplace / "photos" / "cat" / "000.jpg", workplace / name)
    (workplace / "data").mkdir()
    (workplace / "labels.csv").write_text("key,label\ncat/000.jpg,cat\ncat/002.jpg,cat\ndog/001.jpg,dog\n")
    (workplace / "docs" / "figures").mkdir(parents=True)
    cifar_in(workplace / "data", monkeypatch, [0, 1] * 40, [0, 1] * 10, hundred=False)
    shutil.copytree(trained, workplace / "runs" / "mine")
    return workplace


def collected() -> None:
    """Make the collection that the documents speak of."""
    assert viewkin("embed", "runs/mine", "photos", "--to", "photos.collection").code == 0


def commands_that_end() -> list[Any]:
    """Every command of the README and of the pages that say how to do something, once; a page is served for ever."""
    found = (one for page in (README, COLLECTION, CLEANING, *HOW_TO) for one in commands_of(page))
    return [list(one) for one in dict.fromkeys(map(tuple, found)) if one[0] != "explore" or "--help" in one]


@pytest.mark.parametrize("command", commands_that_end(), ids=" ".join)
def test_a_command_of_the_documents_works(place, trained, command):
    if command[0] in NEED_COLLECTION:
        collected()
    if command[0] == "train":
        if "--out" in command:
            shutil.rmtree(command[command.index("--out") + 1], ignore_errors=True)
        command = [*command, *TINY]  # of an option that stands twice, the last counts
    if command[0] == "demo":
        command = [*command, "--data", "generated:images=64"]
    for run in (part for part in command[1:] if part.startswith("runs/") and command[0] != "train"):
        if not Path(run).exists():
            shutil.copytree(trained, run)
    ended = viewkin(*command)
    assert (ended.code, ended.err) == (0, ""), ended


@pytest.mark.parametrize("code", python_blocks())
def test_the_python_of_the_documents_works(place, monkeypatch, code):
    if "viewkin.train" in code:
        original = library.train
        monkeypatch.setattr(library, "train", lambda data, **asked: original(data, **{**asked, **SHRUNK}))
    if "open_collection" in code:
        collected()
    with matplotlib.rc_context({"backend": "agg"}):
        exec(compile(code, "documents", "exec"), {})


def test_the_readme_shows_commands_and_python():
    assert len(commands_of(README)) >= 8
    assert blocks(README, "python")


def test_every_shell_line_of_the_readme_is_one_that_these_tests_know():
    for line in shell_lines(README):
        assert line.startswith(("viewkin ", "pip install ", "make ")), line


@pytest.mark.parametrize("page", [page for page in PAGES if page != LOG], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_parsed_and_names_what_exists(page):
    for arguments in commands_of(page):
        parsed = parse(arguments)
        recipe, method = parsed.get("recipe"), None if arguments[0] == "select" else parsed.get("method")
        assert recipe is None or recipe in RECIPES or recipe.endswith("recipe.json"), arguments
        assert not method or {*re.findall(r"\w+", method)} <= METHOD_CONFIGS.keys(), arguments
        if recipe in RECIPES and method is None:
            for setting in parsed.get("settings") or ():
                read_assignment(RECIPES[recipe](), setting)


def parse(arguments: list[str]) -> dict[str, Any]:
    """The options of a command line, checked as the command itself would check them."""
    command: Any = typer.main.get_command(app)
    context, rest = None, arguments
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name, list(rest), parent=context)
        _, command, rest = command.resolve_command(context, list(rest))
    return command.make_context(command.name, list(rest), parent=context).params


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://")):
            file, _, heading = target.partition("#")
            aim = (page.parent / file).resolve() if file else page
            assert aim.exists(), target
            assert not heading or heading in anchors(aim), target


@functools.cache
def anchors(page: Path) -> set[str]:
    """The names by which a page's headings are linked."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_make_and_pip_of_the_readme_name_what_exists():
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    for target in re.findall(r"`make ([a-z-]+)", README.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for extra in re.findall(r"\.\[(\w+)\]", README.read_text()):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
