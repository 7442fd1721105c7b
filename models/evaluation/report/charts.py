"""Pictures as SVG that stands in a page and takes its colours: readable on a light and on a dark ground.

Text and axes are drawn in the page's own colour (`currentColor`). The same figures give the same bytes.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Told apart on both grounds, and by people who do not tell red from green (after Okabe & Ito 2008).
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3b8fd0", "#e08a1e", "#1fa07a", "#d9534f", "#b07cc6", "#8a8f98"
_INK = "#010203"  # no picture's own; becomes currentColor
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "tocsin",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
}
WIDE, HALF = (9.0, 2.6), (4.4, 3.2)  # inches


class Chart(NamedTuple):
    """A picture and what it shows, in words for a reader who cannot see it."""

    title: str
    caption: str
    svg: str
    is_wide: bool = True


class Canvas:
    """Axes to draw on, and the picture afterwards."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def canvas(size: tuple[float, float] = WIDE) -> Iterator[Canvas]:
    """Draw within the block; `svg` is there after it."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        made = Canvas(figure.add_subplot())
        yield made
        out = io.StringIO()
        metadata: dict[str, Any] = {"Date": None, "Creator": None}
        figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    text = out.getvalue()
    made.svg = text[text.index("<svg") :].replace(_INK, "currentColor")


def thinned(time: Floats, value: Floats, most: int = 800) -> tuple[Floats, Floats]:
    """A long series as lowest and highest of each of at most `most` stretches: no peak is lost."""
    if len(value) <= 2 * most:
        return time, value
    edges = np.linspace(0, len(value), most, endpoint=False).astype(np.intp)
    low, high = np.minimum.reduceat(value, edges), np.maximum.reduceat(value, edges)
    return np.repeat(time[edges], 2), np.column_stack((low, high)).ravel()


def diagonal(axes: Axes, low: float, high: float) -> None:
    """Where both axes are equal."""
    axes.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1)


def bars(axes: Axes, names: Sequence[str], groups: dict[str, Floats], colours: Sequence[str]) -> None:
    """Horizontal bars, the first name on top; a group beside another."""
    place = np.arange(len(names), dtype=np.float64)
    height = 0.8 / len(groups)
    for number, ((label, values), colour) in enumerate(zip(groups.items(), colours, strict=False)):
        shift = (number - (len(groups) - 1) / 2) * height
        axes.barh(place + shift, values, height, color=colour, label=label)
    axes.set_yticks(place, list(names))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
