"""The picture shows what was recorded, its texts can be read, and any results can be drawn."""

import struct
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from numpy.typing import NDArray

from models.contract.batch import Alarm, Batch, Inferences, Readings, pack
from models.contract.quality import Quality, label
from tocsin.errors import UserError
from tocsin.replaying.page import page
from tocsin.replaying.panels import mark_of
from tocsin.replaying.picture import compose, draw
from tocsin.replaying.recording import Channel, Recording, Score, Span, View

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def channel(name: str, value: NDArray[np.float64], quality: int = 0, unit: str = "bar") -> Channel:
    n = len(value)
    marks = np.zeros(n, np.uint8)
    marks[n // 2] = quality
    return Channel(name, unit, T0 + np.arange(n) * SECOND, value, value * 0.9, marks)


def busy(n: int = 3000) -> View:
    """All there can be: twelve panels, long names, every quality."""
    rng = np.random.default_rng(0)
    marks = [quality.value for quality in Quality if quality]
    names = [
        "vibration_drive_end_bearing_radial_horizontal_acceleration.rms",
        "x" * 64,
        "a $x$ b",
        *(f"c{i}" for i in range(18)),
    ]
    channels = [
        channel(name, rng.normal(size=n) * 10.0**i, code)
        for i, (name, code) in enumerate(zip(names, marks, strict=False))
    ]
    times = T0 + np.arange(n) * SECOND
    fields = ("anomaly_score", "failure_prob", "health", "rul_h")
    scores = [Score(model, field, times, np.abs(rng.normal(size=n))) for model in ("one", "two") for field in fields]
    spans = [Span("one", int(times[9]), int(times[99]), 0.5, "why"), Span("two", None, int(times[5]), 0.5, "")]
    return View("lab", "pump-1", channels, 3, scores, [*spans, Span("one", int(times[200]), None, 0.5, "<b>why</b>")])


def texts(view: View) -> list[Text]:
    """All that are drawn: ticks beyond an axis' limits are not."""
    figure = compose(view)
    FigureCanvasAgg(figure).draw()
    beyond = set[int]()
    for ax in figure.axes:
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            ticks = zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=True)
            beyond |= {id(tick.label1) for tick, at in ticks if not low <= at <= high}
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in beyond]
    return [text for text in found if text.get_visible() and text.get_text()]


def test_each_quality_and_channel_and_model_is_named_and_no_other() -> None:
    view = busy()
    said = [text.get_text() for text in texts(view)]
    for quality in Quality:
        shown = any((channel.quality == quality).any() for channel in view.channels)
        assert said.count(label(quality)) == (shown and quality != Quality.GOOD)
    assert "".join(said).count("x" * 20) == 3
    assert {
        "one",
        "two",
        "a $x$ b",
        "anomaly score",
        "remaining life [h]",
        "alarm open",
        "limit",
        "lab / pump-1",
    } <= set(said)
    calm = View("lab", "p", [channel("t", np.arange(9.0))], 0, [], [])
    assert not {"alarm open", "limit", "anomaly score"} & {text.get_text() for text in texts(calm)}


@pytest.mark.parametrize(
    "view", [busy(), busy()._replace(channels=busy().channels[:1], scores=[])], ids=["many", "one"]
)
def test_no_text_lies_on_another(view: View) -> None:
    shown = [(text.get_text(), text.get_window_extent()) for text in texts(view)]
    meeting = [(a, b) for (a, one), (b, two) in combinations(shown, 2) if one.padded(-1).overlaps(two.padded(-1))]
    assert not meeting


def test_marks_of_all_qualities_differ_and_the_shape_tells_the_severity() -> None:
    codes = [code for code in range(1, 256) if code in {quality.value for quality in Quality}]
    marks = [mark_of(code) for code in codes]
    assert len(set(marks)) == len(marks)
    uncertain = {shape for code, (_, shape) in zip(codes, marks, strict=True) if code < 0x80}
    bad = {shape for code, (_, shape) in zip(codes, marks, strict=True) if code >= 0x80}
    assert uncertain.isdisjoint(bad)
    assert mark_of(0xFF)[1] in "XsvP"  # of a newer agent


def size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def test_a_picture_is_1600_by_1000_and_higher_only_with_many_panels() -> None:
    few = View("lab", "p", [channel(f"c{i}", np.arange(9.0)) for i in range(8)], 0, [], [])
    assert size(draw(few)) == (1600, 1000)
    many = few._replace(channels=[channel(f"c{i}", np.arange(9.0)) for i in range(16)])
    width, height = size(draw(many))
    assert width == 1600
    assert height > 1400


def test_a_bad_value_far_off_does_not_flatten_the_panel_and_a_gap_breaks_the_line() -> None:
    value = np.sin(np.arange(1000.0))
    value[500] = 1e9
    times = T0 + np.arange(1000) * SECOND
    times[700:] += 500 * SECOND
    found = channel("t", value, Quality.BAD_RANGE)._replace(time_ns=times)
    figure = compose(View("lab", "p", [found], 0, [], []))
    low, high = figure.axes[0].get_ylim()
    assert -2 < low < high < 2
    raw = np.asarray(figure.axes[0].lines[0].get_ydata(), float)
    assert np.isnan(raw).sum() == 1
    dots = next(line for line in figure.axes[0].lines if line.get_linestyle() == "None" and len(line.get_xdata()))  # type: ignore[arg-type]
    assert np.asarray(dots.get_ydata()).tolist() == [high]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.sampled_from([0.0, 1.0, -7.5, 1e12]), st.sampled_from([0, 0, 0x41, 0x81])),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=12)
def test_whatever_was_recorded_can_be_drawn(rows: list[tuple[int, float, int]], is_scored: bool) -> None:
    times = np.sort(np.array([T0 + s * SECOND for s, *_ in rows], np.int64))
    value, quality = np.array([v for _, v, _ in rows]), np.array([q for *_, q in rows], np.uint8)
    denoised = np.where(quality >= 0x80, np.nan, value)
    scores = [Score("m", "anomaly_score", times, np.abs(value))] if is_scored else []
    view = View(
        "lab", "p", [Channel("t", "", times, value, denoised, quality)], 0, scores, [Span("m", None, None, 1, "")]
    )
    assert size(draw(view)) == (1600, 1000)


def batch(asset: str, count: int, *, is_alarm: bool = False) -> Batch:
    return Batch(
        site="lab",
        gateway="gw1",
        epoch="e",
        seq=1,
        readings=Readings(
            series=[(asset, "b"), (asset, "a")],
            index=pack([0, 1] * count, "<i4"),
            time_ns=pack(T0 + np.arange(2 * count, 0, -1) * SECOND, "<i8"),
            value=pack(np.arange(2.0 * count)),
            denoised=pack(np.arange(2.0 * count)),
            quality=pack([0x41, 0] * count, "u1"),
        ),
        inferences=Inferences(
            series=[(asset, "m", "1")],
            index=pack([0], "<i4"),
            time_ns=pack([T0 + SECOND], "<i8"),
            fields={"health": pack([np.nan]), "anomaly_score": pack([1.5])},
        ),
        alarms=[
            Alarm(asset=asset, code="m", time_ns=T0 + s, is_open=s == 1, severity=0.5, id="i", message=f"why {s}")
            for s in ((1, 2) if is_alarm else ())
        ],
    )


def recording(*batches: Batch, asset: str = "") -> Recording:
    found = Recording(asset)
    for part in batches:
        found.add(part)
    return found


def test_the_asset_with_the_most_alarms_is_drawn_then_that_with_the_most_readings() -> None:
    assert recording(batch("p", 9), batch("q", 2, is_alarm=True)).view("lab").asset == "q"
    assert recording(batch("p", 2), batch("q", 9)).view("lab").asset == "q"
    assert recording(batch("p", 2), batch("q", 9), asset="p").view("lab").asset == "p"


def test_readings_are_put_in_the_order_of_time_and_alarms_in_spans() -> None:
    view = recording(batch("p", 3, is_alarm=True)).view("lab", unit_of=lambda asset, name: f"{asset}/{name}")
    assert [(c.name, c.unit, c.marked, c.value.tolist()) for c in view.channels] == [
        ("b", "p/b", 3, [4, 2, 0]),
        ("a", "p/a", 0, [5, 3, 1]),
    ]
    assert view.spans == [Span("m", T0 + 1, T0 + 2, 0.5, "why 1")]
    assert [(s.field, s.value.tolist()) for s in view.scores if len(s.value)] == [("anomaly_score", [1.5])]
    assert view.range_ns == (T0 + SECOND, T0 + 6 * SECOND)


def test_channels_of_the_model_come_first_then_those_with_marks_and_eight_are_shown() -> None:
    wide = batch("p", 1)
    wide.readings = Readings(
        series=[("p", f"c{i}") for i in range(20)],
        index=pack(range(20), "<i4"),
        time_ns=pack([T0] * 20, "<i8"),
        value=pack([1.0] * 20),
        denoised=pack([1.0] * 20),
        quality=pack([0x41 if i > 14 else 0 for i in range(20)], "u1"),
    )
    view = recording(wide).view("lab", preferred=lambda _asset: ["c3", "c19", "c7"])
    assert [channel.name for channel in view.channels] == ["c0", "c3", "c7", "c15", "c16", "c17", "c18", "c19"]
    assert view.hidden == 12
    chosen = recording(wide).view("lab", ["c9", "c1"])
    assert [channel.name for channel in chosen.channels] == ["c9", "c1"]


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(UserError, match=r"no reading of asset 'x' \(there are: p, q\)"):
        recording(batch("p", 1), batch("q", 1), asset="x").view("lab")
    with pytest.raises(UserError, match=r"--plot-channels 'z': there is no such channel of p \(there are: a, b\)"):
        recording(batch("p", 1)).view("lab", ["z"])
    with pytest.raises(UserError, match=r"nothing to draw: there is no reading$"):
        recording().view("lab")


class Page(HTMLParser):
    """What a page refers to, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_needs_nothing_from_elsewhere_and_its_texts_are_no_markup(tmp_path: Path) -> None:
    view = busy(300)
    view = view._replace(channels=[view.channels[0]._replace(name="<script>alert(1)</script>", unit="m³/h")], scores=[])
    (tmp_path / "out.html").write_text(page(view), encoding="utf-8")
    found = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert [link[:22] for link in found.links] == ["data:image/png;base64,"]
    assert "script" not in found.tags
    assert {"<script>alert(1)</script>", "m³/h", "<b>why</b>", "still open", "before", "90"} <= set(found.texts)
