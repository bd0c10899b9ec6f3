"""Claims about the files of the page that a wheel holds."""

import tomllib
from importlib import resources
from pathlib import Path

from viewkin.explorer.app import PAGE

ROOT = Path(__file__).parents[3]


def test_every_file_of_the_page_is_declared_as_data_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["viewkin"]
    found = {path for pattern in declared for path in (ROOT / "src" / "viewkin").glob(pattern)}
    folder = resources.files("viewkin.explorer").joinpath("page")
    for name, _ in PAGE.values():
        assert folder.joinpath(name).is_file()
        assert ROOT / "src" / "viewkin" / "explorer" / "page" / name in found


def test_the_licences_of_the_bundle_are_named():
    text = resources.files("viewkin.explorer").joinpath("page", "licences.txt").read_text()
    for name in ("regl-scatterplot 1.16.0", "regl 2.1.1", "KDBush"):
        assert name in text
