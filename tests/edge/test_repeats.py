"""Repetitions and conflicts among readings, against a loop."""

from collections import defaultdict, deque
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.repeats import DEPTH, Repeats
from edge_agent.core.segments import segments

Reading = tuple[int, int, float]  # channel, time, value
readings = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.sampled_from([0.0, 1.0])), max_size=90)


def in_steps(rows: list[Reading], cuts: list[int]) -> list[tuple[bool, int]]:
    repeats, found = Repeats(), []
    repeats.grow(3)
    bounds = sorted({0, *(c for c in cuts if c < len(rows)), len(rows)})
    for begin, end in pairwise(bounds):
        ids, times, values = (np.array(column) for column in zip(*rows[begin:end], strict=True))
        grouped = segments(ids.astype(np.intp))
        columns = repeats.step(grouped, times.astype(np.int64)[grouped.order], values.astype(float)[grouped.order])
        is_repeated, conflicts = (np.empty_like(column) for column in columns)
        is_repeated[grouped.order], conflicts[grouped.order] = columns
        found += list(zip(is_repeated.tolist(), conflicts.tolist(), strict=True))
    return found


@given(readings, st.lists(st.integers(1, 89), max_size=5))
def test_what_is_found_is_what_a_loop_finds_however_the_readings_are_cut(rows: list[Reading], cuts: list[int]) -> None:
    last: dict[int, deque[tuple[int, float]]] = defaultdict(lambda: deque(maxlen=DEPTH))
    expected = []
    for channel, time_ns, value in rows:
        at_that_time = [v for t, v in last[channel] if t == time_ns]
        expected.append((value in at_that_time, sum(v != value for v in at_that_time)))
        last[channel].append((time_ns, value))
    assert in_steps(rows, cuts) == expected
