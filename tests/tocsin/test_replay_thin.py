"""A thinned line looks like the whole one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tocsin.replaying.thin import thin

Line = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def lines(draw: st.DrawFn) -> Line:
    n = draw(st.integers(1, 300))
    steps = draw(hnp.arrays(np.int64, n, elements=st.sampled_from([0, 1, 10, 10, 100_000])))
    value = draw(hnp.arrays(np.float64, n, elements=st.floats(-1e300, 1e300)))
    return np.cumsum(steps) + draw(st.integers(0, 2**61)), value


@given(lines(), st.integers(1, 30))
def test_extremes_ends_and_order_of_the_whole_are_in_the_result(line: Line, columns: int) -> None:
    time_ns, value = line
    kept = thin(time_ns, value, columns)
    assert len(kept) <= 4 * columns
    assert (np.diff(kept) > 0).all()
    assert {0, len(value) - 1} <= set(kept.tolist())
    assert (value[kept].min(), value[kept].max()) == (value.min(), value.max())


@given(lines(), st.integers(1, 30))
def test_each_column_of_pixels_keeps_its_own_extremes(line: Line, columns: int) -> None:
    time_ns, value = line
    kept = thin(time_ns, value, columns)
    offset = (time_ns - time_ns[0]) / max(time_ns[-1] - time_ns[0], 1)
    column = np.minimum((offset * columns).astype(int), columns - 1)
    # A point on the border of two columns may be counted to either.
    inside = np.abs(offset * columns - np.round(offset * columns)) > 1e-9
    for number in np.unique(column[inside]):
        here = value[(column == number) & inside]
        near = value[kept[np.abs(column[kept] - number) <= 1]]
        assert near.min() <= here.min()
        assert near.max() >= here.max()


def test_a_single_spike_among_a_million_points_stays() -> None:
    value = np.zeros(1_000_000)
    value[123_456] = 9.0
    kept = thin(np.arange(1_000_000), value, 1000)
    assert 123_456 in kept
    assert len(kept) <= 4000


def test_what_fits_is_left_as_it_is() -> None:
    assert thin(np.arange(40), np.zeros(40), 10).tolist() == list(range(40))
    assert thin(np.empty(0, np.int64), np.empty(0), 10).tolist() == []
