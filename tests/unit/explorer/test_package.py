"""Claims about the files of the page that a wheel holds."""

import re
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


def contrast(one: str, other: str) -> float:
    """Contrast of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_texts_stand_out_from_what_is_behind_them():
    style = resources.files("viewkin.explorer").joinpath("page", "page.css").read_text()
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style))
    behind = {"ink": ("white", "soft", "accent-soft"), "faint": ("white", "soft", "accent-soft")}
    behind |= {"white": ("accent", "keep", "remove", "check"), "accent": ("accent-soft",), "remove": ("white", "soft")}
    for front, backs in behind.items():
        for back in backs:
            assert contrast(colour[front], colour[back]) >= 4.5, (front, back)
    assert contrast("#000000", "#ffffff") == 21
