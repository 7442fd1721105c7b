"""The pages: the same content as Markdown and HTML, whatever names machines have."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.report import words
from aggregator.core.report.content import (
    Alarm,
    Asset,
    ChannelQuality,
    Forecast,
    Gap,
    Gateway,
    MaintenancePlan,
    ModelInUse,
    Moved,
    Report,
    Work,
)
from aggregator.core.report.html import spark, to_html
from aggregator.core.report.markdown import bars, to_markdown
from aggregator.core.report.pages import page

UTC = ZoneInfo("UTC")
HOUR = 3600 * 10**9
NOW = 490_000 * HOUR
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "p", "div", "span"),
    *("table", "thead", "tbody", "tr", "th", "td", "ol", "ul", "li", "b", "svg", "polyline", "circle"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "width", "height", "viewbox", "role", "aria-label"),
    *("points", "cx", "cy", "r"),
}
VOID = {"meta", "polyline", "circle"}


def report(name: str = "pump-7", others: int = 0) -> Report:
    """Each part with one thing of this name."""
    asset = Asset(
        site=name,
        name=name,
        state="alarm",
        risk=0.8,
        reason=f"alarm {name} is open",
        health=20.0,
        health_curve=(90.0, math.nan, 20.0),
        anomaly=2.0,
        anomaly_peak=2.5,
        anomaly_peak_ns=NOW - HOUR,
        anomaly_curve=(0.1, 2.5, 2.0),
        failure_prob=0.25,
        forecast=Forecast(40.0, 20.0, 60.0, "the model's interval"),
        judged_ns=NOW,
        moved=(Moved(name, 1.0, 2.0, math.inf),),
    )
    well = replace(asset, state="ok", risk=0.0, moved=(), forecast=None)
    work = Work(name, name, NOW + HOUR, name, 4.0, 1000.0, 9000.0, 0.5, "model", f"saves 8,000 {name}")
    return Report(
        since_ns=NOW - 8 * HOUR,
        until_ns=NOW,
        every_ns=HOUR // 6,
        assets=(asset, *(replace(well, name=f"{name}{i}") for i in range(others))),
        alarms=(Alarm(name, name, name, True, 2, NOW - HOUR, 0, 3600.0, 0.8, name),),
        qualities=(ChannelQuality(name, name, name, 100, (("bad: range", 0.3),)),),
        gaps=(Gap(name, name, (name,), 2, NOW - HOUR, NOW, False),),
        gateways=(Gateway(name, name, NOW, False, 1.0, 0.0, (("rows lost on the gateway", 3.0),), ()),),
        models=(ModelInUse(name, name, 1, NOW - HOUR, NOW),),
        plan=MaintenancePlan((work,), ((name, name, "no model says"),), 1, 1000.0, 9000.0, 0.0, 168.0, name),
    )


class Reader(HTMLParser):
    """Refuses what is not closed, and tags and attributes that no page of ours has."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\" onload='x", "&lt;b&gt;", "]]>", "</style><b>"])
def test_a_name_is_text_and_never_markup(name: str) -> None:
    html = to_html(page(report(name), UTC))
    assert name in read(html).text
    assert "<script" not in html


@given(st.text(min_size=1, max_size=40))
def test_whatever_machines_are_called_the_page_stays_what_it_is(name: str) -> None:
    document = page(report(name), UTC)
    read(to_html(document))
    lines = to_markdown(document).splitlines()
    plain = [re.sub(r"\\.", "", line) for line in lines]  # escaped signs mean themselves
    sample = to_markdown(page(report(), UTC)).splitlines()
    assert len(lines) == len(sample)
    assert [line.count("|") for line in plain] == [line.count("|") for line in sample]
    assert not any(set(line) & set("<>`[") for line in plain)


@given(st.text(max_size=1000))
def test_a_terminal_is_told_nothing_but_signs(text: str) -> None:
    shown = words.plain(text)
    assert shown.isprintable()
    assert len(shown) <= 300


def test_a_page_loads_and_runs_nothing() -> None:
    html = to_html(page(report(), UTC))
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|url\(|@import|src=|href=|<script|javascript:| on\w+=", html)


def test_markdown_and_html_say_the_same() -> None:
    document = page(report(), UTC)
    markdown, text = to_markdown(document), read(to_html(document)).text
    for section in document.sections:
        assert f"## {section.title}" in markdown
        assert section.title in text
    for said in ("1 of 1 asset needs a look. Worst: pump-7, alarm pump-7 is open (risk 0.80).", "bad: range 30 %"):
        assert said in markdown
        assert said in text
    assert "pump-7 moved from 1 to 2: it had not moved in the span before" in text
    assert "look at the sensor too: 30 % of pump-7 is bad: range" in text


def test_times_are_of_the_zone_that_is_named() -> None:
    summer = replace(report(), since_ns=1_780_000_000 * 10**9, until_ns=1_780_003_600 * 10**9)
    assert "Thu 2026-05-28 22:26 to Thu 2026-05-28 23:26 (1 h), times in Europe/Berlin" in to_markdown(
        page(summer, ZoneInfo("Europe/Berlin"))
    )


def test_more_rows_than_a_person_reads_are_counted() -> None:
    document = page(report(others=60), UTC)
    assert "and 21 more" in to_markdown(document)
    assert "and 21 more" in read(to_html(document)).text


def test_a_quiet_shift_and_an_empty_store_are_said_in_words() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("alarms", "qualities", "gaps", "gateways", "models"), ())
    text = to_markdown(page(replace(report(), assets=(), plan=None, **nothing), UTC))
    assert "Nothing was heard of any asset in this span." in text
    assert "Maintenance plan" not in text
    read(to_html(page(replace(report(), assets=(), plan=None, **nothing), UTC)))
    ok = replace(report().assets[0], state="ok")
    text = to_markdown(page(replace(report(), assets=(ok, replace(ok, state="silent"))), UTC))
    assert "None of 2 assets needs a look." in text
    assert "1 asset fell silent: pump-7." in text


@given(st.lists(st.floats(allow_infinity=False), max_size=70), st.floats(-10, 10), st.floats(0, 100))
def test_a_curve_stays_within_its_picture(values: list[float], low: float, width: float) -> None:
    svg = spark(tuple(values), low, low + width)
    assert bool(svg) == any(map(math.isfinite, values))
    assert len(bars(tuple(values), low, low + width)) <= 20
    if svg:
        for line in ET.fromstring(svg).iter("polyline"):  # noqa: S314 - our own text
            for x, y in (point.split(",") for point in line.attrib["points"].split()):
                assert 0 <= float(x) <= 120
                assert 0 <= float(y) <= 24


def test_a_curve_is_interrupted_where_nothing_is_known() -> None:
    assert spark((1.0, 2.0, math.nan, 3.0), 0.0, 4.0).count("<polyline") == 2
    assert bars((0.0, 1.0, math.nan, 0.5), 0.0, 1.0) == "▁█ ▅"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "1 h"),
        (7500, "2 h 05 min"),
        (172800, "2 d"),
        (180000, "2 d 2 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert words.lasting(seconds) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0 %"), (0.0002, "< 0.1 %"), (0.053, "5.3 %"), (0.42, "42 %"), (math.nan, "-")],
)
def test_shares_are_never_nothing_for_something(share: float, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.01234, "0.0123"), (12345.6, "12,300"), (-0.5, "-0.5"), (math.nan, "-"), (1e12, "1e+12")]
)
def test_figures_have_three_digits(value: float, said: str) -> None:
    assert words.figure(value) == said
