"""Matches of a search as a page with thumbnails: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from viewkin.collection.matches import Match, Matches
from viewkin.runtime.wording import one_line

STYLE = """
:root { --paper: #f6f7f9; --card: #fff; --ink: #1d2127; --faint: #5c6470; --edge: #dfe3e8; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1d2126; --ink: #e8eaed; --faint: #a0a8b3;
  --edge: #343a42; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.5rem; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 12px; overflow-wrap: anywhere; }
.notes { color: var(--faint); margin: 0 0 18px; overflow-wrap: anywhere; }
section { margin: 0 0 28px; }
"""
GRID = """
.viewkin-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 12px; }
.viewkin-grid figure { margin: 0; padding: 8px; border: 1px solid var(--edge, #dfe3e8); border-radius: 10px;
  background: var(--card, transparent); min-width: 0; }
.viewkin-grid figure.query { border: 2px solid #2f6fde; }
.viewkin-grid .picture { height: 160px; display: flex; align-items: center; justify-content: center; }
.viewkin-grid img { max-width: 100%; max-height: 160px; image-rendering: auto; border-radius: 4px; }
.viewkin-grid img.tiny { width: 100%; height: 160px; object-fit: contain; image-rendering: pixelated; }
.viewkin-grid .none { color: var(--faint, #5c6470); font-size: .85rem; text-align: center; }
.viewkin-grid figcaption { font-size: .82rem; margin-top: 6px; overflow-wrap: anywhere; }
.viewkin-grid figcaption b { display: block; font-size: .95rem; }
.viewkin-grid figcaption span { color: var(--faint, #5c6470); }
"""
TINY = 96
"""Side below which an image is enlarged without smoothing, pixels."""
Picture = Callable[[Match], str | None]
"""Gives the address of a match's picture, such as ``data:image/jpeg;base64,...``; None: there is none."""


def match_page(title: str, matches: Matches, picture: Picture, query_picture: Callable[[str], str | None]) -> str:
    """Write a page: a section for each query, its image first, then what was found with similarity and path.

    Args:
        title: what was searched.
        matches: what was found.
        picture: gives the picture of a match.
        query_picture: gives the picture of a query by its name.
    """
    found = matches.queries
    sections = "".join(
        f"<section><h2>{_text(name)}</h2>{match_grid(name, some, picture, query_picture)}</section>"
        for name, some in found.items()
    )
    notes = "".join(f'<p class="notes">{_text(note)}</p>' for note in matches.notes)
    head = f"{len(matches):,} match{'' if len(matches) == 1 else 'es'} in {one_line(title)}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(head)}</title><style>{STYLE}{GRID}</style></head>"
        f"<body><main><h1>{escape(head)}</h1>{notes}{sections}</main></body></html>\n"
    )


def match_grid(query: str, matches: list[Match], picture: Picture, query_picture: Callable[[str], str | None]) -> str:
    """Write the matches of one query as a grid of figures, the query itself first, where it is one picture."""
    own = query_picture(query)
    first = "" if own is None else _figure(own, "<b>query</b>", query, "query", None)
    rest = "".join(
        _figure(
            picture(match), f"<b>{match.rank}. &nbsp;{match.similarity:.3f}</b>{_class(match)}", match.key, "", match
        )
        for match in matches
    )
    return f'<div class="viewkin-grid">{first}{rest}</div>'


def fragment(matches: Matches, picture: Picture, query_picture: Callable[[str], str | None]) -> str:
    """Write the grids as a part of another page, such as a notebook."""
    grids = "".join(
        f"<p>{_text(name)}</p>{match_grid(name, some, picture, query_picture)}"
        for name, some in matches.queries.items()
    )
    return f"<style>{GRID}</style>{grids}"


def _figure(address: str | None, heading: str, name: str, kind: str, match: Match | None) -> str:
    """Write one figure; a picture's address is made here, texts are escaped."""
    small = match is not None and match.width is not None and max(match.width, match.height or 0) < TINY
    mark = ' class="tiny"' if small else ""
    shown = f'<img{mark} alt="" src="{escape(address)}">' if address else '<span class="none">no picture</span>'
    place = match.path if match is not None and match.path is not None else name
    return (
        f'<figure class="{kind}" title="{_text(place)}"><div class="picture">{shown}</div>'
        f"<figcaption>{heading}<span>{_text(name)}</span></figcaption></figure>"
    )


def _class(match: Match) -> str:
    name = match.class_name if match.class_name is not None else match.label
    return "" if name is None else f"{_text(str(name))}<br>"


def _text(text: str) -> str:
    """Write a text of unknown origin for HTML, on one line."""
    return escape(one_line(text))
