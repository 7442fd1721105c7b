"""Grouping of interleaved series, and windows over them, against a loop over each."""

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.segments import segments, windows


@given(st.lists(st.integers(0, 5), max_size=40))
@settings(deadline=None)
def test_grouping_keeps_each_series_in_order(ids: list[int]) -> None:
    grouped = segments(np.array(ids, np.intp))
    expected = [i for series in sorted(set(ids)) for i, owner in enumerate(ids) if owner == series]
    assert grouped.order.tolist() == expected
    assert grouped.series.tolist() == sorted(set(ids))
    assert [grouped.series[rank] for rank in grouped.rank] == sorted(ids)
    assert [ids[expected[start]] for start in grouped.starts] == sorted(set(ids))


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), max_size=5), st.integers(1, 5))
@settings(deadline=None)
def test_each_value_sees_the_last_values_of_its_own_series_across_batches(batches: list[list[int]], width: int) -> None:
    history = np.full((4, width - 1, 2), -1)
    past: dict[int, list[int]] = defaultdict(lambda: [-1] * width)
    counter = 0
    for batch in batches:
        grouped = segments(np.array(batch, np.intp))
        value = np.arange(counter, counter + len(batch))
        found = windows(grouped, np.stack((value, value), axis=1), history)
        expected = []
        for number, series in zip(value.tolist(), batch, strict=True):
            past[series] = [*past[series], number][-width:]
            expected.append(past[series])
        assert found[..., 0].tolist() == [expected[i] for i in grouped.order]
        assert (found[..., 0] == found[..., 1]).all()
        counter += len(batch)
