"""The panels of the picture: one of a channel, and one of a kind of score.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind people tell apart; the shape of
a mark tells its severity.
"""

import re
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from models.contract.quality import BAD_FROM, Quality
from tocsin.replaying.recording import Channel, Score
from tocsin.replaying.thin import thin

LEFT = 260  # pixels, for names and the axis
WIDTH = 1310  # pixels, of the panel itself
FIELDS = {
    "anomaly_score": "anomaly score",
    "failure_prob": "failure probability",
    "health": "health",
    "rul_h": "remaining life [h]",
}
GREY, BLUE, ALARM, INK, SOFT = "#8f8f8f", "#0072B2", "#D55E00", "#1a1a1a", "#666666"
COLOURS = ("#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#000000")
_SHAPES, _BAD_SHAPES = "oD^p", "XsvP"
_LIMIT = 1.0  # of the anomaly score
_WIDE = 20.0  # scores above this are drawn on a scale that is logarithmic beyond the limit
_NAME_CHARS, _NAME_LINES, _LINES = 22, 3, 5
_AFTER_SEPARATOR, _SPACE_AFTER_SEPARATOR = re.compile(r"(?<=[_.])"), re.compile(r"(?<=[_.]) ")
_GAP_STEPS, _GAP_SHARE = 10, 0.01  # of the usual distance of two points, and of the width
_DOTS = 300  # more are drawn smaller
DAY_NS = 86_400e9
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def draw_channel(ax: Axes, channel: Channel) -> None:
    """Raw, denoised where it differs, and a dot for each reading that is not good."""
    usable = channel.quality < BAD_FROM
    low, high = _limits(np.concatenate((channel.value[usable], channel.denoised[usable])), channel.value)
    _line(ax, channel.time_ns, channel.value, color=GREY, linewidth=0.8, zorder=2)
    if not np.array_equal(channel.denoised[usable], channel.value[usable], equal_nan=True):
        _line(ax, channel.time_ns, channel.denoised, color=BLUE, linewidth=1.2, zorder=3)
    for code in np.unique(channel.quality[channel.quality != Quality.GOOD]).tolist():
        here = channel.quality == code
        time_ns, value = channel.time_ns[here], channel.value[here]
        kept = thin(time_ns, value, WIDTH)
        colour, shape = mark_of(code)
        size = 5.5 if len(kept) < _DOTS else 3.5
        style: dict[str, Any] = {"marker": shape, "color": colour, "markersize": size, "linestyle": "none"}
        edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
        dots = np.clip(value[kept], low, high)
        ax.plot(time_ns[kept] / DAY_NS, dots, clip_on=False, zorder=4, **style, **edge)
    ax.set_ylim(low, high)
    about = [channel.unit, f"{channel.marked:,} marked" if channel.marked else ""]
    _name(ax, channel.name, [(" · ".join(filter(None, about)), SOFT)])


def draw_scores(ax: Axes, field: str, scores: list[Score], colours: dict[str, str]) -> None:
    """One output of all models; `colours` by model."""
    for score in scores:
        _line(ax, score.time_ns, score.value, color=colours[score.model], linewidth=1.2, zorder=3)
    values = np.concatenate([score.value for score in scores])
    low, high = float(values.min(initial=0.0)), float(values.max(initial=1.0))
    if field == "anomaly_score":
        ax.axhline(_LIMIT, color=ALARM, linestyle=(0, (5, 3)), linewidth=1.0, zorder=4)
        high = max(high, 1.2 * _LIMIT)
        if high > _WIDE:
            ax.set_yscale("symlog", linthresh=_LIMIT)
            decades = int(np.log10(high))
            ax.set_yticks(sorted({0.0, _LIMIT, 10.0 ** max(1, decades // 2), 10.0**decades}))
    ax.set_ylim(low - 0.05 * (high - low) if low < 0 else 0.0, high * 1.08)
    _name(ax, FIELDS[field], [(score.model, colours[score.model]) for score in scores])


def mark_of(code: int) -> tuple[str, str]:
    """Colour and shape of a quality's dots: the shape tells the severity, colours are used up before shapes."""
    known = [q.value for q in Quality if q != Quality.GOOD and (q >= BAD_FROM) == (code >= BAD_FROM)]
    number = known.index(code) if code in known else len(known)
    shapes = _BAD_SHAPES if code >= BAD_FROM else _SHAPES
    return COLOURS[(number + 3 * (code >= BAD_FROM)) % len(COLOURS)], shapes[number // len(COLOURS) % len(shapes)]


def _line(ax: Axes, time_ns: Ints, value: Floats, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    """A line through all that is a number, broken at gaps; a point between two gaps is a dot."""
    is_number = ~np.isnan(value)
    time_ns, value = time_ns[is_number], value[is_number]
    if not len(time_ns):
        return
    before = np.concatenate(([0], np.cumsum(_gaps(time_ns))))  # gaps before each point
    kept = thin(time_ns, value, WIDTH)
    x, y = time_ns[kept] / DAY_NS, value[kept]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(before[kept])) + 1))
    lengths = np.diff(np.append(starts, len(x)))
    ax.plot(np.insert(x, starts[1:], np.nan), np.insert(y, starts[1:], np.nan), **style)
    alone = starts[lengths == 1]
    ax.plot(x[alone], y[alone], linestyle="none", marker=".", markersize=3, **style)


def _gaps(time_ns: Ints) -> NDArray[np.bool_]:
    """Between which points nothing was recorded: far more than usual lies between them, and enough to be seen."""
    steps = np.diff(time_ns)
    usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0
    return np.asarray(steps > max(_GAP_STEPS * usual, _GAP_SHARE * (time_ns[-1] - time_ns[0])))


def _limits(usable: Floats, everything: Floats) -> tuple[float, float]:
    """The panel's range, with a margin."""
    usable = usable[~np.isnan(usable)]
    values = usable if len(usable) else everything
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _name(ax: Axes, name: str, below: list[tuple[str, str]]) -> None:
    """Left of the panel: a name, and (text, colour) lines below it."""
    parts = textwrap.wrap(_AFTER_SEPARATOR.sub(" ", name), _NAME_CHARS)
    if len(parts) > _NAME_LINES:
        parts = textwrap.wrap(name, _NAME_CHARS)
    lines = [_SPACE_AFTER_SEPARATOR.sub("", part) for part in parts[:_NAME_LINES]]
    texts = [(line, INK, "bold") for line in lines] + [(text[:30], colour, "normal") for text, colour in below if text]
    for number, (text, colour, weight) in enumerate(texts[:_LINES]):
        down = (number - (min(len(texts), _LINES) - 1) / 2) * -11.5
        ax.annotate(
            text,
            (-(LEFT - 14) / WIDTH, 0.5),
            (0, down),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight=weight,
            annotation_clip=False,
        )
