"""The documentation site: it builds without a warning, and shows every public name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import viewkin

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return out


def test_every_page_is_in_the_navigation(site: Path):
    home = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix().replace("README.html", "index.html")
        assert (site / name).exists(), name
        assert name == "index.html" or f'href="{name}"' in home, name


def test_every_public_name_has_its_documentation(site: Path):
    text = (site / "api" / "index.html").read_text()
    for name in viewkin.__all__:
        if name != "__version__":
            assert re.search(rf'id="viewkin\.[a-z_.]*{name}"', text), name


def test_links_of_the_site_stay_on_it(site: Path):
    for page in site.rglob("*.html"):
        for target in re.findall(r'<a [^>]*href="(?!https?:)([^"#]+)', page.read_text()):
            aim = (page.parent / target).resolve()
            assert page.name == "404.html" or aim.exists(), (page, target)


def test_no_markup_of_docstrings_is_left(site: Path):
    assert not re.search(r":(class|func|meth|attr):<code>", (site / "api" / "index.html").read_text())
