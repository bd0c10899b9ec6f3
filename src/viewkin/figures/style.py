"""One look for all figures, which matplotlib draws: colours, signs, fonts, and how a figure becomes a file.

matplotlib is imported where a figure is drawn and nowhere else: nobody waits for it who draws nothing, and a machine
without it trains and evaluates.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, OTHER = "#24282e", "#60656e", "#e2e5e9", "#aaaeb4"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#807000", "#000000")
"""Told apart with any colour vision (Okabe and Ito, 2008, their yellow darkened to be seen on white)."""
MARKERS = ("o", "^", "s")
"""A second sign beside the colour, where there are more groups than colours."""
UNIT, SHARP = 96, 2
"""Units of length to an inch, as a browser counts its pixels; pixels of a PNG to a unit."""
POINT = 72 / UNIT
"""Points, in which matplotlib counts fonts and lines, to a unit."""
SUFFIXES = (".png", ".svg")
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 12 * POINT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 14 * POINT,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 12 * POINT,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 12 * POINT,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "viewkin",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelsize": 11 * POINT,
    "ytick.color": FAINT,
    "ytick.labelsize": 11 * POINT,
}
"""What differs from matplotlib's own defaults. A dollar sign in a name is no formula, and files repeat themselves."""


def check_drawable() -> None:
    """Refuse to draw without matplotlib.

    Raises:
        UserError: it is missing.
    """
    if not can_draw():
        raise UserError("Figures need matplotlib; install it with: pip install matplotlib.")


def can_draw() -> bool:
    """Whether matplotlib is installed and can be imported."""
    try:
        importlib.import_module("matplotlib.figure")
    except (ImportError, RuntimeError):
        return False
    return True


@contextmanager
def styled() -> Generator[None]:
    """Draw in the one look; a context, or a decorator of what draws.

    Raises:
        UserError: matplotlib is missing.
    """
    check_drawable()
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks has boxes in a PNG and is whole in an SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def panels(count: int, width: float, height: float, names: Sequence[str] = ()) -> tuple[Figure, list[Axes]]:
    """Make a figure with a plot area for each panel, three at most in a line, and room for a legend below.

    Args:
        count: panels.
        width: of a panel with its ticks and labels, units.
        height: of a panel, units.
        names: what :func:`legend` will have to say.
    """
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    key = 20.0 * -(-len(names) // _columns(names, columns * width)) + 28 if names else 0.0
    figure = Figure(figsize=(columns * width / UNIT, (rows * height + key) / UNIT), layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def sign_of(group: int) -> tuple[str, str]:
    """Colour and marker of a group: all colours with one marker first, then the next marker."""
    return COLOURS[group % len(COLOURS)], MARKERS[group // len(COLOURS) % len(MARKERS)]


def signs() -> int:
    """How many groups can be told apart."""
    return len(COLOURS) * len(MARKERS)


def legend(figure: Figure, entries: Sequence[tuple[str, str, str]], title: str = "") -> None:
    """Set a legend of (name, colour, marker) below the panels."""
    from matplotlib.lines import Line2D

    width = UNIT * figure.get_figwidth()
    handles = [Line2D([], [], color=colour, marker=marker, linestyle="none") for _, colour, marker in entries]
    names = [shortened(name, 12, width - 60) for name, *_ in entries]
    made = figure.legend(
        handles,
        names,
        loc="outside lower left",
        ncols=_columns(names, width),
        title=title or None,
        alignment="left",
        handletextpad=0.1,
    )
    made.get_title().set_color(FAINT)


def text_width(text: str, size: float) -> float:
    """Width of a line of text of so many units' size, in units."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family=STYLE["font.family"], size=size)
    return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0])


def shortened(text: str, size: float, width: float) -> str:
    """Cut a text to a width, with dots for what is left out."""
    if text_width(text, size) <= width:
        return text
    while len(text) > 1 and text_width(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def content_of(figure: Figure, kind: str) -> bytes:
    """Turn a figure into a ``png`` or an ``svg``, the same bytes every time."""
    stream = io.BytesIO()
    with styled():
        if kind == "svg":
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(stream, format="png", dpi=SHARP * UNIT, metadata={"Software": None})
    return stream.getvalue()


def write_figure(figure: Figure, path: Path) -> bytes:
    """Write a file, PNG or SVG by its suffix, whole or not at all; return what is in it.

    Raises:
        UserError: another suffix, or a place that cannot be written.
    """
    check_suffix(path)
    content = content_of(figure, path.suffix.lower().removeprefix("."))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose a place you may write to.") from error
    return content


def check_suffix(path: Path) -> None:
    """Refuse a figure of another format.

    Raises:
        UserError: neither PNG nor SVG.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {path} must end in .png or .svg.")


def _columns(names: Sequence[str], width: float) -> int:
    """Columns of a legend within ``width`` units."""
    widest = max((text_width(name, 12) for name in names), default=0.0)
    return max(1, min(len(names), int(width / (min(widest, width - 60) + 52))))
