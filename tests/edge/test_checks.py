"""Rate of change and flat line, against a loop."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.checks import Neighbours

SECOND = 1_000_000_000
NO_LIMIT = np.iinfo(np.int64).max
Reading = tuple[int, int, float]  # channel, time in s, value
readings = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 40) | st.just(4_000_000_000), st.sampled_from([0.0, 1.0, 1.0, 5.0])),
    max_size=60,
)
RATE, FLAT_S = 2.0, 3


def in_steps(rows: list[Reading], cuts: list[int]) -> list[tuple[bool, bool]]:
    neighbours, found = Neighbours(), []
    neighbours.grow(3)
    bounds = sorted({0, *(c for c in cuts if c < len(rows)), len(rows)})
    for begin, end in pairwise(bounds):
        ids, times, values = (np.array(column) for column in zip(*rows[begin:end], strict=True))
        n = len(ids)
        fast, flat = neighbours.step(
            ids.astype(np.intp),
            times.astype(np.int64) * SECOND,
            values.astype(float),
            np.full(n, RATE),
            np.full(n, FLAT_S * SECOND),
        )
        found += list(zip(fast.tolist(), flat.tolist(), strict=True))
    return found


@given(readings, st.lists(st.integers(1, 59), max_size=5))
def test_marks_are_those_of_a_loop_however_the_readings_are_cut(rows: list[Reading], cuts: list[int]) -> None:
    last: dict[int, tuple[int, float, int]] = {}  # channel -> time, value, since
    expected = []
    for channel, time_s, value in rows:
        before = last.get(channel)
        if before is not None and time_s <= before[0]:
            expected.append((False, False))
            continue
        if before is None:
            last[channel] = (time_s, value, time_s)
            expected.append((False, False))
            continue
        since_s = before[2] if value == before[1] else time_s
        expected.append((abs(value - before[1]) > RATE * (time_s - before[0]), time_s - since_s > FLAT_S))
        last[channel] = (time_s, value, since_s)
    assert in_steps(rows, cuts) == expected


def test_without_limits_nothing_is_marked() -> None:
    neighbours = Neighbours()
    neighbours.grow(1)
    ids, time_ns = np.zeros(5, np.intp), np.arange(5) * 1000 * SECOND
    fast, flat = neighbours.step(
        ids, time_ns, np.array([0.0, 1e300, 1e300, 1e300, 0.0]), np.full(5, np.inf), np.full(5, NO_LIMIT)
    )
    assert not fast.any()
    assert not flat.any()
