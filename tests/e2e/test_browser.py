"""Claims about a report in a real browser; skipped where there is none."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from commandline import TIMEOUT, viewkin

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs the browser Chromium (Debian: apt-get install chromium)")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"),
)
LOOK = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, svg"));
  parent.document.body.dataset.seen = JSON.stringify({
    inner: innerWidth,
    reach: Math.max(document.documentElement.scrollWidth, ...wide.map(e => e.getBoundingClientRect().right)),
    headings: [...document.querySelectorAll("h1, h2")].filter(e => e.offsetHeight).map(e => e.textContent),
    images: [...document.images].map(e => [e.naturalWidth, e.offsetWidth, e.offsetHeight]),
    fetched: performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
  });
});</script>"""
"""Notes on the page, or on the one around it, what a person would see of it."""
NARROWEST = 500
"""Narrower windows Chromium does not open; a frame in one can be as narrow as a phone."""


def seen(page: Path, width: int, folder: Path) -> dict:
    """Open a page in a window so wide; what is seen of it, and what the console says."""
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{LOOK}")
    if width < NARROWEST:
        text = f'<body><iframe width="{width}" height="800" frameborder="0" srcdoc="{escape(text)}"></iframe></body>'
    looking = folder / "looking.html"
    looking.write_text(text, encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, NARROWEST)},900"]
    done = subprocess.run(
        [*command, "--dump-dom", looking.as_uri()], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found is not None, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return {**json.loads(unescape(found[1])), "console": console}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """The report of a run with a figure of each format; read only."""
    run = tmp_path_factory.mktemp("seen") / "run"
    shutil.copytree(trained, run)
    assert viewkin("figures", "curves", run).code == 0
    assert viewkin("figures", "neighbours", run, "--queries", 2, "--out", run / "n.svg").code == 0
    return run / "report.html"


@pytest.mark.parametrize("width", [1200, 400])
def test_a_report_opens_whole_and_alone(report, width, tmp_path):
    page = seen(report, width, tmp_path)
    assert page["inner"] == width
    assert page["reach"] <= width, "the page scrolls sideways"
    assert page["headings"] == ["run", "Good to know", "Training, by step", "Figures"]
    assert len(page["images"]) == report.read_text().count("<img") > 5
    assert all(min(sizes) > 50 for sizes in page["images"])
    assert page["fetched"] == []
    assert page["console"] == []


def test_a_broken_report_is_seen(report, tmp_path):
    text = report.read_text().replace("base64,", "base64,x", 1)
    extra = '<p style="width: 900px">wide</p><img src="http://example.org/a.png"><script>console.error("no")</script>'
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("</main>", f"{extra}</main>"))
    page = seen(broken, NARROWEST, tmp_path)
    assert page["reach"] >= 900
    assert page["images"][0][0] == 0
    assert page["fetched"] == ["http://example.org/a.png"]
    assert any("no" in line for line in page["console"])
