"""What is reported of each channel: deadband and swinging door, and what no reporter may keep back."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge_agent.core.denoise import REPORTERS, AnyReportSettings
from edge_agent.core.denoise.deadband import DeadbandSettings
from edge_agent.core.denoise.reporting import ReportRows
from edge_agent.core.denoise.reports import Reports
from edge_agent.core.denoise.swinging_door import SwingingDoorSettings
from edge_agent.core.segments import segments
from edge_agent.core.state import dump, load
from models.contract.quality import BAD_FROM, Quality

CHANNELS = 3
START_NS = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
BAND = 0.7310585786  # no line between whole numbers passes another by just that
DEADBAND = DeadbandSettings(band=BAND, max_interval_s=20)
DOOR = SwingingDoorSettings(band=BAND, max_interval_s=20)
EITHER = pytest.mark.parametrize("one", [DEADBAND, DOOR], ids=lambda one: one.filter)
SETTINGS: TypeAdapter[AnyReportSettings] = TypeAdapter(AnyReportSettings)


class Reading(NamedTuple):
    """As reported. Its value is the denoised one with the other sign: only one of the two can be what is compared."""

    channel: int
    time_ns: int
    denoised: float
    quality: int = 0

    @property
    def time_s(self) -> int:
        return (self.time_ns - START_NS) // SECOND

    @property
    def is_bad(self) -> bool:
        return self.quality >= BAD_FROM or not np.isfinite(self.denoised)


def channel_of(values: Iterable[float], period_s: float = 1.0) -> list[Reading]:
    return [Reading(0, START_NS + round(i * period_s * SECOND), value) for i, value in enumerate(values)]


qualities = st.sampled_from([Quality.GOOD] * 12 + [Quality.UNCERTAIN_SPIKE, Quality.BAD_RANGE])
steps_s = st.sampled_from([1] * 8 + [2, 5, 25, 0, -3])


@st.composite
def some_readings(draw: st.DrawFn, *, orderly: bool = False) -> list[Reading]:
    """Whole numbers at whole seconds; orderly: good ones, of ascending times."""
    rows = draw(st.lists(st.tuples(st.integers(0, CHANNELS - 1), steps_s, st.integers(-3, 3), qualities), max_size=60))
    now = [0] * CHANNELS
    out = []
    for channel, step_s, move, quality in rows:
        now[channel] += max(step_s, 1) if orderly else step_s
        value = float("nan") if quality == Quality.BAD_RANGE else float(move)
        time_ns = START_NS + now[channel] * SECOND
        out.append(
            Reading(channel, time_ns, float(move)) if orderly else Reading(channel, time_ns, value, int(quality))
        )
    return out


cuts = st.lists(st.integers(0, 60), max_size=8)


def grouped(readings: Sequence[Reading]) -> tuple[Any, ReportRows]:
    by_channel = segments(np.array([one.channel for one in readings], np.intp))
    return by_channel, rows_of([readings[i] for i in by_channel.order])


def rows_of(readings: Sequence[Reading]) -> ReportRows:
    channel, time_ns, denoised, quality = zip(*readings, strict=True)
    values = np.array(denoised, np.float64)
    rows = ReportRows(
        np.array(channel, np.intp), np.array(time_ns, np.int64), -values, values, np.array(quality, np.uint8)
    )
    for column in rows:
        column.flags.writeable = False
    return rows


def listed(rows: ReportRows) -> list[Reading]:
    np.testing.assert_array_equal(rows.value, -rows.denoised)
    columns = (rows.channel, rows.time_ns, rows.denoised, rows.quality)
    return [Reading(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def fresh(chosen: Sequence[AnyReportSettings | None]) -> Reports:
    reports = Reports()
    assert not listed(reports.settle(chosen))
    return reports


def sent(
    chosen: Sequence[AnyReportSettings | None],
    readings: Sequence[Reading],
    cuts: Iterable[int] = (),
    *,
    restarts: bool = False,
    appear: bool = False,
    flush: bool = True,
) -> list[list[Reading]]:
    """What is reported of each channel, in order; in the end what was kept back."""
    known = 0 if appear else len(chosen)
    told = list(chosen[:known])
    reports = fresh(told)
    out: list[Reading] = []
    for start, end in pairwise([0, *sorted(min(cut, len(readings)) for cut in cuts), len(readings)]):
        if start == end:
            continue
        if restarts:
            state = dump(reports.snapshot())
            reports = fresh(told)
            reports.restore(load(state))
        highest = max(one.channel for one in readings[start:end]) + 1
        if highest > known:
            told += chosen[known:highest]
            known = highest
            assert not listed(reports.settle(told))
        out += listed(reports.step(*grouped(readings[start:end])))
    if flush:
        out += listed(reports.flush(np.arange(known)))
        assert not listed(reports.flush(np.arange(known)))
    return [[one for one in out if one.channel == channel] for channel in range(len(chosen))]


def one_channel(one: AnyReportSettings, readings: Sequence[Reading], *, flush: bool = True) -> list[Reading]:
    return sent([one], readings, flush=flush)[0]


def test_the_table_names_exactly_these_reporters() -> None:
    assert list(REPORTERS) == ["deadband", "swinging-door"]


@EITHER
@given(readings=some_readings(), cuts=cuts)
@settings(deadline=None, max_examples=60)
def test_any_cutting_and_restarts_and_late_acquaintance_report_the_same_in_the_same_order(
    one: AnyReportSettings, readings: list[Reading], cuts: list[int]
) -> None:
    chosen = [one, one, None]
    once = str(sent(chosen, readings))  # as text, so that what is no number equals itself
    assert str(sent(chosen, readings, cuts)) == once
    assert str(sent(chosen, readings, cuts, restarts=True)) == once
    assert str(sent(chosen, readings, cuts, appear=True)) == once
    assert str(sent(chosen, readings, range(60))) == once


@given(readings=some_readings(), cuts=cuts)
@settings(deadline=None)
def test_channels_with_different_reporters_send_what_each_would_send_alone(
    readings: list[Reading], cuts: list[int]
) -> None:
    chosen = [DEADBAND, DOOR, None]
    together = sent(chosen, readings, cuts)
    for channel, one in enumerate(chosen):
        mine = [reading._replace(channel=0) for reading in readings if reading.channel == channel]
        alone = [reading._replace(channel=channel) for reading in sent([one], mine)[0]]
        assert str(together[channel]) == str(alone)


@EITHER
@given(readings=some_readings())
@settings(deadline=None, max_examples=100)
def test_each_reading_is_reported_at_most_once_and_trouble_always(
    one: AnyReportSettings, readings: list[Reading]
) -> None:
    for channel, out in enumerate(sent([one] * CHANNELS, readings)):
        mine = [reading for reading in readings if reading.channel == channel]
        assert Counter(map(repr, out)) <= Counter(map(repr, mine))
        always = []
        newest_ns, quality = None, None
        for reading in mine:
            is_late = newest_ns is not None and reading.time_ns <= newest_ns
            if is_late or reading.is_bad or reading.quality != quality:
                always.append(reading)
            if not is_late:
                newest_ns, quality = reading.time_ns, reading.quality
        assert Counter(map(repr, always)) <= Counter(map(repr, out))


@given(readings=some_readings(orderly=True))
@settings(deadline=None, max_examples=100)
def test_a_deadband_reports_what_leaves_the_last_report_and_only_that(readings: list[Reading]) -> None:
    out = sent([DEADBAND] * CHANNELS, readings)
    for channel in range(CHANNELS):
        expected: list[Reading] = []
        for reading in (reading for reading in readings if reading.channel == channel):
            last = expected[-1] if expected else None
            if last is None or abs(reading.denoised - last.denoised) > BAND or reading.time_s - last.time_s >= 20:
                expected.append(reading)
        assert out[channel] == expected


def door_with_fractions(readings: list[Reading]) -> list[Reading]:
    """Each line is tried against all readings it would pass."""

    def passes(start: Reading, end: Reading, between: list[Reading]) -> bool:
        slope = Fraction(end.denoised - start.denoised) / (end.time_s - start.time_s)
        return all(
            abs(Fraction(start.denoised) + slope * (one.time_s - start.time_s) - Fraction(one.denoised))
            <= Fraction(BAND)
            for one in between
        )

    out, since = readings[:1], list[Reading]()
    for reading in readings[1:]:
        if not passes(out[-1], reading, since):
            out.append(since[-1])
            since = []
        since.append(reading)
        if reading.time_s - out[-1].time_s >= 20:
            out.append(reading)
            since = []
    return out + since[-1:]


@given(readings=some_readings(orderly=True))
@settings(deadline=None, max_examples=150)
def test_a_swinging_door_reports_the_ends_of_the_longest_lines_that_pass_all_between(readings: list[Reading]) -> None:
    out = sent([DOOR] * CHANNELS, readings)
    for channel in range(CHANNELS):
        assert out[channel] == door_with_fractions([one for one in readings if one.channel == channel])


@given(
    st.lists(st.tuples(st.integers(1, 10**12), st.floats(-1e6, 1e6)), min_size=1, max_size=80),
    st.floats(1e-3, 1e5),
    st.sampled_from([60.0, 1e9]),
)
@settings(deadline=None, max_examples=150)
def test_linear_interpolation_of_what_a_swinging_door_reports_is_off_by_no_more_than_the_band(
    rows: list[tuple[int, float]], band: float, max_interval_s: float
) -> None:
    times = START_NS + np.cumsum([step_ns for step_ns, _ in rows])
    readings = [Reading(0, int(t), v) for t, (_, v) in zip(times, rows, strict=True)]
    out = one_channel(SwingingDoorSettings(band=band, max_interval_s=max_interval_s), readings)
    assert out[0] == readings[0]
    assert out[-1] == readings[-1]
    since = times - times[0]
    line = np.interp(since, [one.time_ns - times[0] for one in out], [one.denoised for one in out])
    assert np.abs(line - [one.denoised for one in readings]).max() <= band + 1e-8


def test_a_straight_line_is_two_reports_and_a_corner_three() -> None:
    up = [0.5 * i for i in range(15)]
    readings = channel_of([*up, *up[-2::-1]])
    door = SwingingDoorSettings(band=0.01, max_interval_s=600)
    assert [one.time_s for one in one_channel(door, readings[:15])] == [0, 14]
    assert [one.time_s for one in one_channel(door, readings)] == [0, 14, 28]
    assert [one.time_s for one in one_channel(door, readings, flush=False)] == [0, 14]


def test_a_constant_is_reported_once_every_max_interval() -> None:
    readings = channel_of([5.0] * 61)
    assert [one.time_s for one in one_channel(DEADBAND, readings)] == [0, 20, 40, 60]
    assert [one.time_s for one in one_channel(DOOR, readings)] == [0, 20, 40, 60]
    assert [one.time_s for one in one_channel(DOOR, readings[:35])] == [0, 20, 34]


@EITHER
def test_readings_rarer_than_max_interval_are_all_reported_at_once(one: AnyReportSettings) -> None:
    readings = channel_of([5.0] * 9, period_s=20)
    assert one_channel(one, readings, flush=False) == readings


def test_the_end_of_a_line_is_reported_before_a_reading_of_another_quality() -> None:
    readings = channel_of([1.0] * 9)
    readings[4] = readings[4]._replace(quality=Quality.BAD_RANGE, denoised=float("nan"))
    assert [one.time_s for one in one_channel(DOOR, readings)] == [0, 3, 4, 5, 8]
    assert [one.time_s for one in one_channel(DEADBAND, readings)] == [0, 4, 5]


@EITHER
def test_a_late_reading_is_reported_where_it_came_and_changes_nothing_else(one: AnyReportSettings) -> None:
    readings = channel_of([1.0] * 9)
    late = [Reading(0, START_NS + 3 * SECOND, 77.0), Reading(0, START_NS - SECOND, 9.0, Quality.BAD_SOURCE)]
    with_late = [*readings[:6], *late, *readings[6:]]
    without = one_channel(one, readings)
    out = one_channel(one, with_late)
    assert out == [without[0], *late, *without[1:]]


@EITHER
def test_after_a_flush_the_line_goes_on_from_what_was_flushed(one: AnyReportSettings) -> None:
    readings = channel_of([float(i) for i in range(12)])
    reports = fresh([one, one])
    before = listed(reports.step(*grouped(readings[:6]))) + listed(reports.flush(np.array([0])))
    after = listed(reports.step(*grouped(readings[6:]))) + listed(reports.flush(np.array([1, 0])))
    if one is DOOR:
        assert [reading.time_s for reading in before + after] == [0, 5, 11]
    else:
        assert before + after == readings


def test_what_was_kept_back_comes_out_when_the_setting_of_its_channel_changes() -> None:
    both = [Reading(i % 2, START_NS + i // 2 * SECOND, 1.0) for i in range(18)]
    reports = fresh([DOOR, DOOR])
    first = listed(reports.step(*grouped(both[:10])))
    assert [(one.channel, one.time_s) for one in first] == [(0, 0), (1, 0)]
    assert [(one.channel, one.time_s) for one in listed(reports.settle([DEADBAND, DOOR]))] == [(0, 4)]
    rest = listed(reports.step(*grouped(both[10:]))) + listed(reports.flush(np.array([0, 1])))
    assert [(one.channel, one.time_s) for one in rest] == [(0, 5), (1, 8)]
    assert listed(reports.settle([None, None])) == []


def test_what_was_kept_back_comes_out_when_nobody_has_the_setting_any_more() -> None:
    reports = fresh([DOOR])
    reports.step(*grouped(channel_of([1.0] * 5)))
    assert [one.time_s for one in listed(reports.settle([None]))] == [4]


def test_after_a_flush_the_corridor_is_a_new_one() -> None:
    reports = fresh([DOOR])
    readings = channel_of([0.0, 0.0, 0.0, 5.0, 10.0, 15.0])
    out = listed(reports.step(*grouped(readings[:3]))) + listed(reports.flush(np.array([0])))
    out += listed(reports.step(*grouped(readings[3:]))) + listed(reports.flush(np.array([0])))
    assert [one.time_s for one in out] == [0, 2, 5]


def test_a_change_of_just_the_band_is_not_reported() -> None:
    readings = channel_of([0.0, 1.0, -1.0, 1.5, 0.5])
    assert [one.time_s for one in one_channel(DeadbandSettings(band=1), readings)] == [0, 3]


@EITHER
def test_a_reading_after_one_that_is_no_number_is_reported(one: AnyReportSettings) -> None:
    readings = channel_of([1.0, 1.0, float("nan"), 1.0, 1.0, 1.0])
    assert {2, 3} <= {reading.time_s for reading in one_channel(one, readings)}


@EITHER
def test_the_newest_time_outlives_a_batch_of_late_readings(one: AnyReportSettings) -> None:
    on_time = channel_of([1.0] * 10)
    late = [Reading(0, START_NS + second * SECOND, 1.0) for second in (4, 6)]
    out = sent([one], [*on_time, *late], [10, 11], flush=False)[0]
    assert out[-2:] == late


def test_without_a_reporter_everything_is_reported_as_it_is() -> None:
    readings = channel_of([1.0] * 4) + channel_of([1.0] * 2)
    assert sent([None], readings) == [readings]


def test_no_reading_is_no_trouble() -> None:
    reports = fresh([DOOR])
    assert listed(reports.flush(np.array([0]))) == []
    assert listed(reports.flush(np.empty(0, np.intp))) == []


@pytest.mark.parametrize(
    ("draft", "says"),
    [
        ({"filter": "deadband"}, "Field required"),
        ({"filter": "deadband", "band": -1}, "greater than or equal to 0"),
        ({"filter": "swinging-door", "band": 0}, "greater than 0"),
        ({"filter": "swinging-door", "band": 1, "max_interval_s": 0}, "greater than 0"),
        ({"filter": "swinging-door", "band": 1, "window": 3}, "Extra inputs are not permitted"),
        ({"filter": "boxcar", "band": 1}, "'deadband', 'swinging-door'"),
    ],
)
def test_bad_settings_are_refused_and_told_what_is_allowed(draft: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SETTINGS.validate_python(draft)
