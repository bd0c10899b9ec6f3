"""The common style of all matplotlib figures: colours, markers, fonts, and writing files.

matplotlib is imported only where a figure is drawn. Commands that draw nothing do not wait for it, and training and
evaluation work without it.
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
from viewkin.runtime.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, OTHER = "#24282e", "#60656e", "#e2e5e9", "#aaaeb4"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#807000", "#000000")
"""Safe for colour-blind readers (Okabe and Ito, 2008, with the yellow darkened to be visible on white)."""
MARKERS = ("o", "^", "s")
"""Used in addition to the colour if there are more groups than colours."""
UNIT, PIXELS_PER_UNIT = 96, 2
"""Units of length per inch (one unit is a CSS pixel); pixels of a PNG per unit."""
POINT = 72 / UNIT
"""matplotlib's points (the size of fonts and lines) per unit."""
LONGEST = 300
"""Characters of which no width is measured beyond: no place of a figure takes as many."""
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
"""Settings that differ from matplotlib's defaults: dollar signs are not formulas, and SVG ids are reproducible."""


def check_drawable() -> None:
    """Check that matplotlib is available.

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
    """Apply the common style, as a context manager or as a decorator of a drawing function.

    Raises:
        UserError: matplotlib is missing.
    """
    check_drawable()
    import matplotlib

    with matplotlib.rc_context(STYLE), _any_script():
        yield


@contextmanager
def _any_script() -> Generator[None]:
    """Let matplotlib be quiet about characters that the font lacks: a PNG shows boxes, an SVG keeps them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def panels(count: int, width: float, height: float, names: Sequence[str] = ()) -> tuple[Figure, list[Axes]]:
    """Make a figure with ``count`` panels, at most three per line, and room for a legend below.

    Args:
        count: number of panels.
        width: width of a panel with its ticks and labels, units.
        height: height of a panel, units.
        names: entries of the later :func:`legend`.
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


def colour_and_marker(group: int) -> tuple[str, str]:
    """Colour and marker of a group: all colours with one marker first, then the next marker."""
    return COLOURS[group % len(COLOURS)], MARKERS[group // len(COLOURS) % len(MARKERS)]


def max_groups() -> int:
    """Number of groups with distinct colour and marker."""
    return len(COLOURS) * len(MARKERS)


def legend(figure: Figure, entries: Sequence[tuple[str, str, str]], title: str = "") -> None:
    """Add a legend with entries (name, colour, marker) below the panels."""
    from matplotlib.lines import Line2D

    width = UNIT * figure.get_figwidth()
    handles = [Line2D([], [], color=colour, marker=marker, linestyle="none") for _, colour, marker in entries]
    names = [shortened(name, 12, width - 60) for name, *_ in entries]
    added = figure.legend(
        handles,
        names,
        loc="outside lower left",
        ncols=_columns(names, width),
        title=title or None,
        alignment="left",
        handletextpad=0.1,
    )
    added.get_title().set_color(FAINT)


def text_width(text: str, size: float) -> float:
    """Width of a line of text at a font size, both in units."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family=STYLE["font.family"], size=size)
    with _any_script():
        return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0])


def shortened(text: str, size: float, width: float, *, keep_end: bool = False) -> str:
    """Shorten a text to a width, with dots where something was cut; control characters are written out.

    Args:
        text: one line.
        size: of the font, units.
        width: units.
        keep_end: cut the beginning instead of the end.
    """
    text = one_line(text)
    if len(text) <= LONGEST and text_width(text, size) <= width:
        return text

    def cut(length: int) -> str:
        return f"...{text[-length:].lstrip()}" if keep_end else f"{text[:length].rstrip()}..."

    fitting = 1
    while fitting < min(len(text), LONGEST) and text_width(cut(fitting + 1), size) <= width:
        fitting += 1
    return cut(fitting)


def content_of(figure: Figure, kind: str) -> bytes:
    """Encode a figure as ``png`` or ``svg``; the same figure always gives the same bytes."""
    stream = io.BytesIO()
    with styled():
        if kind == "svg":
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(stream, format="png", dpi=PIXELS_PER_UNIT * UNIT, metadata={"Software": None})
    return stream.getvalue()


def write_figure(figure: Figure, path: Path) -> bytes:
    """Write a PNG or SVG file atomically, by its suffix, and return its bytes.

    Raises:
        UserError: the path has another suffix or cannot be written.
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
    """Check the suffix of a figure's path.

    Raises:
        UserError: it is neither ``.png`` nor ``.svg``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {path} must end in .png or .svg.")


def _columns(names: Sequence[str], width: float) -> int:
    """Number of legend columns that fit in ``width`` units."""
    widest = max((text_width(name, 12) for name in names), default=0.0)
    return max(1, min(len(names), int(width / (min(widest, width - 60) + 52))))
