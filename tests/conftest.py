"""What all tests share: one thread, one seed, and a pool of two processes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from commandline import TINY, Server, viewkin
from pool import Pool
from viewkin.data.formats.tree import image_suffixes
from viewkin.data.opening import register_plugins

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same global random state, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two gloo processes, started by the first test that asks; ``pool.run(function, *args)`` gives both results."""
    processes = Pool(tmp_path_factory.mktemp("pool"))
    yield processes
    processes.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A process that runs commands in children; see ``commandline``."""
    process = Server()
    yield process
    process.close()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in, with a cache of its own."""
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the generated set; read only."""
    out = tmp_path_factory.mktemp("trained") / "run"
    ended = viewkin("train", "generated:images=64", "--recipe", "demo", *TINY, "--out", out)
    assert ended.code == 0, ended.err
    return out


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without pillow-heif."""
    Image.init()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)  # an import of it fails
        for ending in [one for one, kind in Image.EXTENSION.items() if kind == "HEIF"]:
            patch.delitem(Image.EXTENSION, ending)
        patch.delitem(Image.OPEN, "HEIF", raising=False)
        patch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
        for known in (register_plugins, image_suffixes):
            known.cache_clear()
        yield
    for known in (register_plugins, image_suffixes):
        known.cache_clear()
