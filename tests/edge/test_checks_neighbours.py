"""Range, order, rate of change and flat line, against a loop over readings."""

from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.contract.quality import BAD_FROM, Quality
from tests.edge.checks_stream import SECOND, Reading, Stream, config

LOW, HIGH, OPERATING_LOW, OPERATING_HIGH = -5.0, 8.0, 0.0, 4.0
RATE, FLAT_S, BAND = 2.0, 3, 0.5
KEYS = [("pump", "a"), ("pump", "b"), ("fan", "a")]
LIMITED = config(
    {
        "range": [LOW, HIGH],
        "operating_range": [OPERATING_LOW, OPERATING_HIGH],
        "max_rate_per_s": RATE,
        "flat_s": FLAT_S,
        "flat_band": BAND,
    }
)
readings = st.builds(
    Reading,
    st.integers(0, 2),
    (st.integers(0, 40) | st.just(4_000_000_000)).map(lambda s: s * SECOND),
    st.sampled_from([0.0, 0.5, 1.0, 1.0, 4.5, 5.0, 8.0, 9.0, -6.0]),
    st.sampled_from([0, 0, 0, 0, 0, Quality.BAD_SOURCE]),
)
streams = st.lists(readings, max_size=60) | st.lists(readings, max_size=60).map(
    lambda rows: [row._replace(time_ns=i * SECOND) for i, row in enumerate(rows)]
)


class Last(NamedTuple):
    time_ns: int
    value: float
    since_ns: int


def looped(rows: list[Reading]) -> list[set[int]]:
    """What may be said of each reading; the gravest of it must be its mark."""
    newest: dict[int, int] = {}
    last: dict[int, Last] = {}
    out = []
    for channel, time_ns, value, quality in rows:
        said = {quality}
        if not LOW <= value <= HIGH:
            said.add(Quality.BAD_RANGE)
        if not OPERATING_LOW <= value <= OPERATING_HIGH:
            said.add(Quality.UNCERTAIN_OPERATING)
        if time_ns <= newest.get(channel, -1):
            said.add(Quality.UNCERTAIN_ORDER)
        elif max(said) < BAD_FROM:
            before = last.get(channel)
            since_ns = time_ns
            if before is not None:
                if abs(value - before.value) > RATE * (time_ns - before.time_ns) / SECOND:
                    said.add(Quality.UNCERTAIN_RATE)
                if abs(value - before.value) <= BAND:
                    since_ns = before.since_ns
                if time_ns - since_ns > FLAT_S * SECOND:
                    said.add(Quality.UNCERTAIN_FLAT)
            last[channel] = Last(time_ns, value, since_ns)
        newest[channel] = max(newest.get(channel, -1), time_ns)
        out.append(said)
    return out


def gravest(said: set[int]) -> int:
    order = (
        Quality.GOOD,
        Quality.UNCERTAIN_ORDER,
        Quality.UNCERTAIN_OPERATING,
        Quality.UNCERTAIN_RATE,
        Quality.UNCERTAIN_FLAT,
        Quality.BAD_RANGE,
        Quality.BAD_SOURCE,
    )
    return max(said, key=lambda code: order.index(Quality(code)))


@given(streams, st.lists(st.integers(1, 59), max_size=5))
@settings(deadline=None, max_examples=200)
@example([Reading(0, s * SECOND, 1.0) for s in range(8)], [])
@example([Reading(c, s * SECOND, v) for s, c, v in ((0, 0, 1.0), (0, 1, 1.0), (4, 0, 4.5), (4, 1, 1.0))], [2])
@example([Reading(0, s * SECOND, v) for s, v in enumerate((1.0, 1.5, 2.0, 2.5, 3.0, 3.5))], [2])
def test_marks_are_those_of_a_loop_however_the_readings_are_cut(rows: list[Reading], cuts: list[int]) -> None:
    found = Stream(LIMITED, KEYS).run(rows, cuts)
    assert found.quality == [gravest(said) for said in looped(rows)]


@given(streams)
@settings(deadline=None)
def test_a_reading_ascends_when_it_is_newer_than_all_before(rows: list[Reading]) -> None:
    found = Stream(LIMITED, KEYS).run(rows)
    for i, (row, ascends) in enumerate(zip(rows, found.ascends, strict=True)):
        assert ascends == all(row.time_ns > other.time_ns for other in rows[:i] if other.channel == row.channel)


def test_a_value_at_a_limit_is_inside() -> None:
    rows = [Reading(0, i * 9 * SECOND, v) for i, v in enumerate((OPERATING_LOW, OPERATING_HIGH, LOW, HIGH))]
    assert Stream(LIMITED).run(rows).quality == [0, 0] + [Quality.UNCERTAIN_OPERATING] * 2


@pytest.mark.parametrize(("band", "expected"), [(0.0, [0] * 8), (0.1, [0] * 4 + [Quality.UNCERTAIN_FLAT] * 4)])
def test_noise_within_the_band_is_flat_and_without_a_band_is_not(band: float, expected: list[int]) -> None:
    rows = [Reading(0, i * SECOND, 5.0 + 0.05 * (i % 2)) for i in range(8)]
    assert Stream(config({"flat_s": FLAT_S, "flat_band": band})).run(rows).quality == expected


def test_each_channel_has_its_own_limits() -> None:
    found = config({"match": "*/a", "range": [0, 1]}, {"match": "*/b", "operating_range": [0, 1]}, {"match": "fan/*"})
    rows = [Reading(channel, SECOND, 7.0) for channel in (1, 0, 2)]
    keys = [("pump", "a"), ("pump", "b"), ("fan", "c")]
    assert Stream(found, keys).run(rows).quality == [Quality.UNCERTAIN_OPERATING, Quality.BAD_RANGE, 0]


def test_a_bad_reading_is_nobodys_neighbour() -> None:
    rows = [Reading(0, SECOND, 1.0), Reading(0, 2 * SECOND, 99.0), Reading(0, 3 * SECOND, 1.0)]
    assert Stream(LIMITED).run(rows).quality == [0, Quality.BAD_RANGE, 0]
