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


def draw(rows: Sequence[Row], columns: Sequence[str], path: Path, name: str = "") -> None:
    """Writes a picture of the kind of its suffix. Raises ValueError without a value to draw, and OSError.

    `name` is what a column `value` shows. A few channels have a panel each, for their units differ.
    """
    drawn = [column for column in columns if any(row.get(column) is not None for row in rows)]
    if not drawn:
        raise ValueError("there is nothing to draw")
    tags = [tag for tag in rows[0] if tag in _TAGS]
    shared = [tag for tag in tags if len({row[tag] for row in rows}) == 1]
    channels = sorted({str(row["channel"]) for row in rows}) if "channel" in tags else []
    apart = channels if len(drawn) == 1 and 1 < len(channels) <= _NAMED else []
    told = [tag for tag in tags if tag not in shared and not (apart and tag == "channel")]
    pictures: list[tuple[str, str, dict[str, list[Row]]]] = []  # label, column, rows of each line
    for channel in apart or [""]:
        lines: dict[str, list[Row]] = {}
        for row in rows:
            if channel in {"", row.get("channel")}:
                lines.setdefault(" ".join(str(row[tag]) for tag in told), []).append(row)
        pictures += [(channel or (name if name and column == "value" else column), column, lines) for column in drawn]
    height = _HEAD_INCHES + (_PANEL_INCHES if len(pictures) <= _FEW else _LOW_PANEL_INCHES) * len(pictures)
    with rc_context({"font.size": 9, "text.parse_math": False, "svg.fonttype": "none"}):
        figure = Figure(figsize=(_INCHES, height), dpi=_DPI, layout="constrained")
        panels: list[Axes] = list(figure.subplots(len(pictures), 1, sharex=True, squeeze=False)[:, 0])
        for axes, (label, column, lines) in zip(panels, pictures, strict=True):
            _panel(axes, label, column, lines)
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


def _panel(axes: Axes, label: str, column: str, lines: dict[str, list[Row]]) -> None:
    for name, rows in lines.items():
        days = np.array([number(row, "time") for row in rows]) / _DAY_NS
        values = [number(row, column, np.nan) for row in rows]
        [line] = axes.plot(days, values, linewidth=1.0, marker=".", markersize=3, label=name)
        if {"mean", "min", "max"} <= rows[0].keys() and column == "mean":
            low, high = ([number(row, end, np.nan) for row in rows] for end in ("min", "max"))
            axes.fill_between(days, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_ylabel(label.replace("_", " "))
    axes.grid(color="#e6e6e6", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
