"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape as html_escape
from pathlib import Path

from viewkin.figures.curve_phrases import phrase_of
from viewkin.figures.curves import NOT_DRAWN, draw_card, format_value, series_of
from viewkin.figures.style import can_draw, content_of
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.wording import one_line

NO_MATPLOTLIB = "Figures were not drawn because matplotlib is missing; install it with: pip install matplotlib."

STYLE = """
:root { --paper: #f6f7f9; --card: #fff; --ink: #1d2127; --faint: #5c6470; --edge: #dfe3e8;
  --warn: #8a4b00; --warn-paper: #fff4e0; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1d2126; --ink: #e8eaed; --faint: #a0a8b3;
  --edge: #343a42; --warn: #ffcf8a; --warn-paper: #3a2a10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 20px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 32px 0 12px; }
.card, .facts, .sheet { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(250px, 100%), 1fr)); gap: 14px 28px;
  margin: 0; padding: 16px 18px; }
dt { color: var(--faint); font-size: .85rem; } dd { margin: 0; overflow-wrap: anywhere; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(310px, 100%), 1fr)); gap: 14px; }
figure { margin: 0; } .card { padding: 12px 14px 8px; min-width: 0; }
.card figcaption { display: flex; justify-content: space-between; align-items: baseline; gap: 12px; }
.card figcaption span { color: var(--faint); overflow-wrap: anywhere; min-width: 0; } .card b { font-size: 1.2rem; }
.card img { display: block; width: 100%; height: auto; border-radius: 6px; }
.lost, .none { color: var(--faint); margin: 4px 0; font-size: .9rem; }
.about { color: var(--faint); margin: 0 0 4px; font-size: .85rem; line-height: 1.35; }
.summary { font-size: 1.05rem; margin: 0 0 16px; }
.notes { margin: 0; padding-left: 22px; } .notes li { overflow-wrap: anywhere; }
details { margin-top: 8px; font-size: .9rem; color: var(--faint); } details li { overflow-wrap: anywhere; }
.sheet { padding: 12px; margin-bottom: 14px; } .sheet figcaption { margin-bottom: 8px; }
.scroll { overflow-x: auto; }
.scroll img { display: block; max-width: 100%; min-width: 640px; height: auto; border-radius: 6px; }
.warnings { background: var(--warn-paper); color: var(--warn); border-radius: 10px; margin: 0 0 20px;
  padding: 12px 18px 12px 36px; }
"""

CLOSING = "</main></body></html>"


@dataclass(frozen=True)
class Sheet:
    """A picture of the report."""

    caption: str
    """Line above it."""
    content: bytes
    """PNG file."""
    files: Sequence[tuple[str, Sequence[str]]] = ()
    """What it shows, row by row: the key of the image on the left, and those of the images beside it."""


def write_report(
    path: Path | str,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    history: Sequence[Mapping[str, object]] = (),
    sheets: Sequence[Sheet] = (),
    warnings: Sequence[str] = (),
    summary: str = "",
    left_out: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the report atomically: warnings, summary, facts, a curve for every logged series, pictures, notes.

    Args:
        path: HTML file to write; it needs no other files.
        title: heading.
        facts: (name, value) pairs.
        history: one mapping per logged line; every numeric entry except ``NOT_DRAWN`` becomes a curve over ``step``.
        sheets: pictures with their captions, such as sheets of neighbours.
        warnings: plain sentences on what is wrong, shown first.
        summary: a sentence that says what came out.
        left_out: plain sentences on images that were not used.
        notes: plain sentences on what was chosen.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            lists = [("Left out", left_out), ("Good to know", notes)]
            _write(part, _page(title, summary, facts, history, sheets, warnings, lists))
    except OSError as error:
        raise UserError(
            f"cannot write the report to {path} ({error.strerror}): choose a place you may write to."
        ) from error


def add_figure(path: Path, name: str, caption: str, content: bytes, kind: str) -> None:
    """Add a figure to the end of a report; it replaces an earlier figure of the same name.

    Args:
        path: the report.
        name: a word that identifies the figure within the report.
        caption: text above the figure.
        content: bytes of the image file.
        kind: ``png`` or ``svg``.

    Raises:
        UserError: the report cannot be read or written, or the file is not a report.
    """
    begin, end = f"<!-- figure {name} -->", f"<!-- end of figure {name} -->"
    try:
        page = path.read_text(encoding="utf-8")
        head, earlier, rest = page.partition(begin)
        page = head + rest.partition(end)[2] if earlier else page
        if CLOSING not in page:
            raise UserError(f"{path} is no report of a run; leave it out or train again.")
        before, _, after = page.rpartition(CLOSING)
        with replacing(path) as part:
            _write(part, f"{before}{begin}{_picture(caption, content, kind)}{end}{CLOSING}{after}")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no report of a run; leave it out or train again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be changed ({error.strerror}); choose a place you may write to.") from error


def _write(path: Path, page: str) -> None:
    path.write_text(page, encoding="utf-8", errors="backslashreplace")  # a path may hold bytes that are no UTF-8


def _page(
    title: str,
    summary: str,
    facts: Sequence[tuple[str, str]],
    history: Sequence[Mapping[str, object]],
    sheets: Sequence[Sheet],
    warnings: Sequence[str],
    lists: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """Build the HTML document."""
    terms = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    series = {name: points for name, points in series_of(history).items() if name not in NOT_DRAWN}
    cards = "".join(_card(name, points) for name, points in series.items()) if can_draw() else ""
    none = NO_MATPLOTLIB if series else "Nothing was logged."
    curves = f'<div class="curves">{cards}</div>' if cards else f'<p class="none">{none}</p>'
    pictures = "".join(_picture(sheet.caption, sheet.content, files=sheet.files) for sheet in sheets)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        + (_list(warnings, "warnings") if warnings else "")
        + (f'<p class="summary">{escape(summary)}</p>' if summary else "")
        + (f'<dl class="facts">{terms}</dl>' if terms else "")
        + "".join(f"<h2>{heading}</h2>{_list(sentences, 'notes')}" for heading, sentences in lists if sentences)
        + f"<h2>Training, by step</h2>{curves}"
        + f"<h2>Figures</h2>{pictures}"
        + CLOSING
        + "\n"
    )


def _list(sentences: Sequence[str], kind: str) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)}</ul>'


def escape(text: str) -> str:
    """Write a text of unknown origin for HTML, control characters written out."""
    return html_escape(one_line(text))


def _card(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Show one series: name, last value and curve; values that are not finite are counted below."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    infinite = len(points) - len(finite)
    note = f'<p class="lost">{infinite} of {len(points)} values are not finite numbers</p>' if infinite else ""
    curve = ""
    if finite:
        (start, first), (end, last) = finite[0], finite[-1]
        span = f"{name}: {format_value(first)} at step {start:g} to {format_value(last)} at step {end:g}"
        drawn = _embedded(content_of(draw_card(points), "svg"), "svg")
        curve = f'<img alt="{escape(span)}" title="{escape(span)}" src="{drawn}">'
    value, phrase = format_value(points[-1][1]), phrase_of(name)
    about = f'<p class="about">{escape(phrase)}</p>' if phrase else ""
    caption = f"<figcaption><span>{escape(name)}</span><b>{value}</b></figcaption>"
    return f'<figure class="card">{caption}{about}{curve}{note}</figure>'


def _picture(
    caption: str, content: bytes, kind: str = "png", *, files: Sequence[tuple[str, Sequence[str]]] = ()
) -> str:
    """Embed one picture, with the files that it shows below; it scrolls sideways in a narrow window."""
    named = "".join(f"<li>{escape(one)}: {escape(', '.join(others))}</li>" for one, others in files)
    listed = f"<details><summary>Names of the files</summary><ul>{named}</ul></details>" if files else ""
    return (
        f'<figure class="sheet"><figcaption>{escape(caption)}</figcaption><div class="scroll">'
        f'<img alt="{escape(caption)}" src="{_embedded(content, kind)}"></div>{listed}</figure>'
    )


def _embedded(content: bytes, kind: str) -> str:
    """Encode a file as a data URL."""
    data = base64.b64encode(content).decode("ascii")
    return f"data:image/{'svg+xml' if kind == 'svg' else kind};base64,{data}"
