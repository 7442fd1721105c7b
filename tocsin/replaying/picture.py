"""The picture of a replay: a panel a channel, then one for each kind of score, over one axis of time.

    grey line   the readings as they came            dots     readings that are not good, by reason
    blue line   as the denoiser left them            shading  an open alarm

Panels are scaled to what is usable: a bad value beyond that is a dot at the panel's edge.
"""

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from models.contract.quality import Quality, label
from tocsin.replaying.panels import (
    ALARM,
    BLUE,
    COLOURS,
    DAY_NS,
    FIELDS,
    GREY,
    INK,
    LEFT,
    SOFT,
    WIDTH,
    draw_channel,
    draw_scores,
    mark_of,
)
from tocsin.replaying.recording import Score, Span, View

_WIDTH, _HEIGHT, _DPI = 1600, 1000, 100
_PANEL, _HEAD, _BOTTOM = 80, 84, 56  # pixels; a panel's is the least, the head's is without the legend
_LEGEND_ROW, _LEGEND_COLUMNS = 18, 9
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": "#bbbbbb",
    "axes.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # names may hold a dollar sign
    "path.simplify": False,  # thinned already, without loss
}


def draw(view: View, dpi: int = _DPI) -> bytes:
    """A PNG, 1600 x 1000 at 100 dpi; higher where there are more than ten panels."""
    content = io.BytesIO()
    compose(view).savefig(content, format="png", dpi=dpi, facecolor="white")
    return content.getvalue()


def compose(view: View) -> Figure:
    """The picture as matplotlib has it."""
    fields = [field for field in FIELDS if any(score.field == field for score in view.scores)]
    panels = len(view.channels) + len(fields)
    legend = _legend(view)
    top = _HEAD + _LEGEND_ROW * -(-len(legend) // _LEGEND_COLUMNS)
    height = max(_HEIGHT, top + _BOTTOM + _PANEL * panels)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI)
        grid = figure.subplots(panels, 1, sharex=True, squeeze=False)
        figure.subplots_adjust(LEFT / _WIDTH, _BOTTOM / height, (LEFT + WIDTH) / _WIDTH, 1 - top / height, hspace=0.16)
        axes: list[Axes] = list(grid[:, 0])
        colours = _model_colours(view.scores)
        for ax, channel in zip(axes, view.channels, strict=False):
            draw_channel(ax, channel)
        for ax, field in zip(axes[len(view.channels) :], fields, strict=True):
            draw_scores(ax, field, [score for score in view.scores if score.field == field], colours)
        for ax in axes:
            _dress(ax, view)
        _label_time(axes[-1])
        _head(figure, height, view, legend)
    return figure


def _dress(ax: Axes, view: View) -> None:
    """What all panels share: range, alarms, ticks."""
    begin_ns, end_ns = view.range_ns
    begin, end = begin_ns / DAY_NS, end_ns / DAY_NS
    margin = (end - begin) * 0.005 or 0.5 / 86_400
    ax.set_xlim(begin - margin, end + margin)
    bars = [(start, stop - start) for start, stop in (_ends(span, begin_ns, end_ns) for span in view.spans)]
    if bars:
        across = ax.get_xaxis_transform()
        ax.broken_barh(bars, (0, 1), transform=across, color=ALARM, alpha=0.14, linewidth=0, zorder=1)
        starts = [start for start, _ in bars]
        ax.vlines(starts, 0, 1, transform=across, color=ALARM, alpha=0.6, linewidth=0.8, zorder=1)
    if ax.get_yscale() == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    ax.yaxis.set_major_formatter("{x:.10g}")  # each number whole: there is no room for a common factor
    ax.tick_params(length=2, color="#bbbbbb", labelcolor=SOFT, labelsize=8)
    ax.grid(axis="x", color="#e6e6e6", linewidth=0.6, zorder=0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _ends(span: Span, begin_ns: int, end_ns: int) -> tuple[float, float]:
    opened = begin_ns if span.opened_ns is None else span.opened_ns
    closed = end_ns if span.closed_ns is None else span.closed_ns
    return opened / DAY_NS, closed / DAY_NS


def _label_time(ax: Axes) -> None:
    locator = AutoDateLocator(tz=UTC)
    ax.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=UTC)
    formatter.formats[2] = formatter.zero_formats[3] = "%d %b"  # days
    formatter.formats[5] = formatter.zero_formats[5] = "%H:%M:%S.%f"  # seconds; noughts at the end are left out
    formatter.offset_formats[5] = "%Y-%b-%d"
    ax.xaxis.set_major_formatter(formatter)
    ax.tick_params(axis="x", labelsize=9, labelcolor=INK)
    ax.annotate(
        "time (UTC)", (0, 0), (-10, -6), xycoords="axes fraction", textcoords="offset points", ha="right", va="top"
    )


def _head(figure: Figure, height: int, view: View, legend: list[Line2D | Patch]) -> None:
    left = 14 / _WIDTH
    title = f"{view.site} / {view.asset}"
    figure.text(left, 1 - 12 / height, title, va="top", fontsize=15, fontweight="bold")
    figure.text(left, 1 - 44 / height, about(view), va="top", fontsize=10, color=SOFT)
    figure.legend(
        handles=legend,
        loc="upper left",
        bbox_to_anchor=(left, 1 - 66 / height),
        ncols=min(len(legend), _LEGEND_COLUMNS),
        frameon=False,
        borderaxespad=0,
        borderpad=0,
    )


def _legend(view: View) -> list[Line2D | Patch]:
    """What occurs, and no other."""
    codes = {code for channel in view.channels for code in np.unique(channel.quality).tolist()} - {Quality.GOOD}
    entries: list[Line2D | Patch] = [
        Line2D([], [], color=GREY, linewidth=1.2, label="raw"),
        Line2D([], [], color=BLUE, linewidth=1.6, label="denoised"),
    ]
    for code in sorted(codes):
        colour, shape = mark_of(code)
        entries.append(Line2D([], [], color=colour, marker=shape, linestyle="none", markersize=6, label=label(code)))
    if view.spans:
        entries.append(Patch(color=ALARM, alpha=0.2, linewidth=0, label="alarm open"))
    if any(score.field == "anomaly_score" for score in view.scores):
        entries.append(Line2D([], [], color=ALARM, linestyle="--", linewidth=1.2, label="limit"))
    return entries


def about(view: View) -> str:
    """The view in a line."""
    begin, end = (datetime.fromtimestamp(t // 10**9, UTC) for t in view.range_ns)
    until = f"{end:%H:%M:%S}" if begin.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    shown = len(view.channels)
    parts = [f"{begin:%Y-%m-%d %H:%M:%S} to {until} UTC"]
    parts.append(
        f"{shown} of {shown + view.hidden} channels" if view.hidden else f"{shown} channel{'s' * (shown != 1)}"
    )
    parts.append(f"{len(view.spans)} alarm{'s' * (len(view.spans) != 1)}")
    return "  ·  ".join(parts)


def _model_colours(scores: list[Score]) -> dict[str, str]:
    models = list(dict.fromkeys(score.model for score in scores))
    palette = (BLUE, *COLOURS)
    return {model: palette[number % len(palette)] for number, model in enumerate(models)}
