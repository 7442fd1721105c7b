"""Rows over time as a picture: a panel for each column, a line for each combination of tags."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from aggregator.core.views import Row, number
from models.contract.schema import MEASUREMENTS

_TAGS = {tag for measurement in MEASUREMENTS.values() for tag in measurement.tags}
_INCHES, _HEAD_INCHES, _DPI = 12.0, 1.2, 100
_FEW, _PANEL_INCHES, _LOW_PANEL_INCHES = 4, 2.6, 1.4  # more panels than a few are lower
_LEGEND_CHARS = 150  # in a line
_NAMED = 12  # more lines than this are not told apart by a legend
_DAY_NS = 86_400 * 10**9


def draw(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """Writes a picture of the kind of its suffix. Raises ValueError without a value to draw, and OSError."""
    drawn = [column for column in columns if any(row.get(column) is not None for row in rows)]
    if not drawn:
        raise ValueError("there is nothing to draw")
    tags = [name for name in rows[0] if name in _TAGS]
    shared = [tag for tag in tags if len({row[tag] for row in rows}) == 1]
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(" ".join(str(row[tag]) for tag in tags if tag not in shared), []).append(row)
    height = _HEAD_INCHES + (_PANEL_INCHES if len(drawn) <= _FEW else _LOW_PANEL_INCHES) * len(drawn)
    with rc_context({"font.size": 9, "text.parse_math": False, "svg.fonttype": "none"}):
        figure = Figure(figsize=(_INCHES, height), dpi=_DPI, layout="constrained")
        panels: list[Axes] = list(figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0])
        for axes, column in zip(panels, drawn, strict=True):
            _panel(axes, column, lines)
        locator = AutoDateLocator()
        panels[-1].xaxis.set_major_locator(locator)
        panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
        panels[-1].set_xlabel("time (UTC)")
        figure.suptitle(" · ".join(str(rows[0][tag]) for tag in shared), x=0.01, ha="left")
        if 1 < len(lines) <= _NAMED:
            beside = max(1, _LEGEND_CHARS // (max(map(len, lines)) + 6))
            handles = panels[0].get_legend_handles_labels()
            figure.legend(*handles, loc="outside lower left", ncols=beside, frameon=False)
        with warnings.catch_warnings():  # a script that the font lacks is drawn as boxes
            warnings.filterwarnings("ignore", message="Glyph")
            figure.savefig(path, facecolor="white")


def _panel(axes: Axes, column: str, lines: dict[str, list[Row]]) -> None:
    for name, rows in lines.items():
        days = np.array([number(row, "time") for row in rows]) / _DAY_NS
        values = [number(row, column, np.nan) for row in rows]
        [line] = axes.plot(days, values, linewidth=1.0, marker=".", markersize=3, label=name)
        if {"mean", "min", "max"} <= rows[0].keys() and column == "mean":
            low, high = ([number(row, end, np.nan) for row in rows] for end in ("min", "max"))
            axes.fill_between(days, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_ylabel(column.replace("_", " "))
    axes.grid(color="#e6e6e6", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
