"""Small tables as text and as HTML, for what objects show of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from viewkin.runtime.wording import one_line


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write rows below a header, columns aligned: words to the left, numbers to the right; cells are one line each."""
    header, rows = [one_line(name) for name in header], [[one_line(cell) for cell in row] for row in rows]
    numbers = [all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = (c.rjust(w) if number else c.ljust(w) for c, w, number in zip(row, widths, numbers))
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in (header, *rows))


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Write the same as an HTML table; every text is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").replace(" ± ", "").isdecimal() or cell in ("-", "")
