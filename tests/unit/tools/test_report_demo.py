"""A demonstration that was stopped goes on where it was."""

from pathlib import Path

import pytest
import report_demo


def test_a_run_is_begun_gone_on_with_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(report_demo, "run", lambda *arguments: asked.append(arguments))
    monkeypatch.chdir(tmp_path)
    report_demo.trained("a", "images", "--recipe", "demo")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "last.ckpt").touch()
    report_demo.trained("a", "images", "--recipe", "demo")
    (tmp_path / "a" / "report.html").touch()
    report_demo.trained("a", "images", "--recipe", "demo")
    # A resumed run refuses the settings it was begun with.
    assert asked == [
        ("train", "images", "--recipe", "demo", "--out", "a"),
        ("train", "images", "--out", "a", "--resume"),
    ]
