"""Thinning: the least valuable rows first, every second one of each series, alarms never."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.thinning import LEVELS, Thinner
from models.contract.batch import Batch, ContractError, Readings, decode_batch, encode_batch, indices, ints, pack, rows
from tests.batches import T0, alarm, batch

SERIES = [("pump", "temperature"), ("pump", "vibration.rms"), ("fan", "speed")]


def made(index: list[int], seq: int = 1, start: int = 0) -> Batch:
    """Readings of SERIES whose values count on from `start`, with an inference and an alarm."""
    whole = batch([], seq=seq, alarms=[alarm(T0, is_open=True)])
    n = len(index)
    whole.readings = Readings(
        series=SERIES,
        index=pack(index, "<i4"),
        time_ns=pack([start + i for i in range(n)], "<i8"),
        value=pack([start + i for i in range(n)]),
        denoised=pack([-(start + i) for i in range(n)]),
        quality=pack([i % 3 for i in range(n)], "u1"),
    )
    return whole


def times(payload: bytes, series: int) -> list[int]:
    readings = decode_batch(payload).readings
    return ints(readings.time_ns)[indices(readings.index) == series].tolist()  # type: ignore[no-any-return]


def test_every_second_reading_of_each_channel_stays_and_all_its_columns() -> None:
    thinned = Thinner().thin(encode_batch(made([0, 0, 2, 0, 2, 0, 1, 1])), 1)
    assert thinned is not None
    assert (times(thinned.payload, 0), times(thinned.payload, 2)) == ([0, 3], [2])
    assert times(thinned.payload, 1) == [6, 7]  # features stay whole
    readings = decode_batch(thinned.payload).readings
    assert np.frombuffer(readings.value).tolist() == [0, 2, 3, 6, 7]
    assert np.frombuffer(readings.denoised).tolist() == [0, -2, -3, -6, -7]
    assert list(readings.quality) == [0, 2, 0, 0, 1]
    assert thinned.dropped == Counter(reading=3)


@pytest.mark.parametrize("rows_a_batch", [1, 2, 3, 5])
def test_a_stretch_keeps_its_shape_however_few_rows_lie_in_a_batch(rows_a_batch: int) -> None:
    thinner, kept = Thinner(), []
    for number in range(12):
        payload = encode_batch(made([0] * rows_a_batch, number + 1, number * rows_a_batch))
        thinned = thinner.thin(payload, 1)
        kept += times(thinned.payload if thinned else payload, 0)
    assert kept == list(range(0, 12 * rows_a_batch, 2))


def test_readings_go_before_features_and_these_before_predictions_and_alarms_never() -> None:
    thinner, payload, gone = Thinner(), encode_batch(made([0, 1, 2] * 32)), []
    for level in range(1, LEVELS + 1):
        if thinned := thinner.thin(payload, level):
            payload = thinned.payload
            gone += list(thinned.dropped)
    assert gone == ["reading"] * 5 + ["feature"] * 5 + ["inference"]
    left = decode_batch(payload)
    assert (left.alarms, left.seq, left.epoch) == ([alarm(T0, is_open=True)], 1, "e1")
    assert rows(left) == 2  # the alarm and the gateway's own numbers


@settings(max_examples=60, deadline=None)
@given(index=st.lists(st.integers(0, 2), max_size=60), level=st.integers(1, LEVELS), seq=st.integers(1, 9))
def test_what_is_left_and_what_is_counted_make_up_the_whole_and_nothing_is_changed(
    index: list[int], level: int, seq: int
) -> None:
    whole = made(index, seq)
    thinned = Thinner().thin(encode_batch(whole), level)
    if thinned is None:
        return
    assert thinned == Thinner().thin(encode_batch(whole), level)
    left = decode_batch(thinned.payload)
    assert rows(left) + thinned.dropped.total() == rows(whole)
    assert set(ints(left.readings.time_ns)) <= set(range(len(index)))
    assert all(index[t] == i for t, i in zip(ints(left.readings.time_ns), indices(left.readings.index), strict=True))
    assert left.alarms == whole.alarms


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(ContractError):
        Thinner().thin(b"no batch", 1)
