"""Windows with missing values: left to the model by a mask, or not scored."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_agent.core import window
from edge_agent.core.align import NEVER, Frames
from edge_agent.core.entries import Tick
from edge_agent.core.readings import Value
from edge_agent.core.window import Windowing
from models.bundle import Channel, Manifest, Threshold
from tests import signal_path
from tests.signal_path import Group, entries_of, run

T0 = 1_760_000_000
INPUTS = np.array([[0, 1], [2, -1]])


def frames(values: NDArray[np.float64], asset: int = 0, first: int = T0) -> Frames:
    """Of the two channels of an asset: values [frames, 2], NaN = missing."""
    n = len(values)
    row, column = np.nonzero(~np.isnan(values))
    channel, cell = column + 2 * asset, np.arange(first, first + n)
    keys = channel * n + row
    order = np.argsort(keys)
    return Frames(
        np.full(n, asset),
        cell,
        cell * 10**9,
        np.zeros(n, np.int64),
        keys[order],
        values[row, column][order],
        first,
        n,
        np.full(4, NEVER),
        np.full(4, np.nan),
    )


def masked(window: int, stride: int = 1) -> Windowing:
    windowing = Windowing(window, stride, 2, masked=True)
    windowing.grow(2)
    return windowing


@given(st.data(), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_a_mask_says_which_values_are_there_however_frames_were_cut(data: st.DataObject, window: int) -> None:
    n = data.draw(st.integers(1, 12))
    flat = data.draw(st.lists(st.just(math.nan) | st.integers(-9, 9).map(float), min_size=2 * n, max_size=2 * n))
    values = np.array(flat).reshape(n, 2)
    cut = data.draw(st.integers(0, n))
    windowing = masked(window)
    parts = [windowing.step(frames(part, 0, first), INPUTS) for part, first in
             ((values[:cut], T0), (values[cut:], T0 + cut))]  # fmt: skip
    expected = [values[end - window : end] for end in range(window, n + 1)]
    scored = [x for x in expected if not np.isnan(x).all()]
    found = np.concatenate([part.frames for part in parts])
    assert found.dtype == np.float32
    assert found.shape == (len(scored), window, 4)
    for content, x in zip(found, scored, strict=True):
        np.testing.assert_array_equal(content[:, 2:], ~np.isnan(x))
        np.testing.assert_array_equal(content[:, :2], np.where(np.isnan(x), 0, x))
    assert sum(part.unscored for part in parts) == n - len(scored)  # those without all their frames as well


def test_a_channel_that_the_asset_does_not_have_is_masked() -> None:
    found = masked(1).step(frames(np.array([[3.0, math.nan]]), 1), INPUTS)
    assert found.frames.tolist() == [[[3.0, 0.0, 1.0, 0.0]]]


def test_a_mask_does_not_bridge_a_gap() -> None:
    windowing = masked(2)
    windowing.step(frames(np.ones((3, 2))), INPUTS)
    found = windowing.step(frames(np.ones((1, 2)), 0, T0 + 4), INPUTS)
    assert (len(found.frames), found.unscored) == (0, 1)


@pytest.mark.parametrize("is_masked", [True, False])
def test_frames_in_parts_give_the_windows_of_all_at_once_and_no_part_is_large(
    monkeypatch: pytest.MonkeyPatch, *, is_masked: bool
) -> None:
    values = np.random.default_rng(3).normal(size=(100, 2))
    values[40:42, 0] = math.nan
    both = [frames(values, asset) for asset in (0, 1)]
    keys = np.concatenate([part.keys for part in both])
    order = np.argsort(keys, kind="stable")
    closed = both[0]._replace(
        asset=np.repeat([0, 1], 100),
        cell=np.tile(both[0].cell, 2),
        time_ns=np.tile(both[0].time_ns, 2),
        hold=np.zeros(200, np.int64),
        keys=keys[order],
        values=np.concatenate([part.values for part in both])[order],
    )
    inputs = np.array([[0, 1], [2, 3]])
    at_once, in_parts = (Windowing(5, 2, 2, masked=is_masked) for _ in range(2))
    at_once.grow(2)
    in_parts.grow(2)
    whole = at_once.step(closed, inputs)
    assert [len(part.asset) for part in at_once.parts(closed)] == [200]
    monkeypatch.setattr(window, "AT_ONCE", 7 * 5 * 2 + 1)
    parts = list(in_parts.parts(closed))
    assert [len(part.asset) for part in parts] == [7] * 28 + [4]
    found = [in_parts.step(part, inputs) for part in parts]
    assert np.concatenate([part.asset for part in found]).tolist() == whole.asset.tolist()
    assert np.concatenate([part.time_ns for part in found]).tolist() == whole.time_ns.tolist()
    assert np.concatenate([part.frames for part in found]).tobytes() == whole.frames.tobytes()
    assert sum(part.unscored for part in found) == whole.unscored > 0
    np.testing.assert_array_equal(in_parts.frames, at_once.frames)
    assert not list(in_parts.parts(closed._replace(asset=np.empty(0, np.intp))))


def test_a_model_scores_the_same_windows_and_raises_the_same_alarms_a_frame_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Tick(arrival_ns=signal_path.T0, listened_ns=1)
    sent = [
        (signal_path.T0 + i, Value((asset, name), signal_path.T0 + i * signal_path.SECOND, 90.0 * (i % 20 > 10) + part))
        for i in range(60)
        for asset in ("m1", "n1")
        for part, name in enumerate(("t1", "t2", "load"))
    ]
    entries = entries_of([Group(start, list(sent))], lambda _count: ())
    whole = run(entries)
    monkeypatch.setattr(window, "AT_ONCE", 1)
    assert whole.rows.scores
    assert whole.rows.alarms
    assert run(entries) == whole


def test_a_value_that_no_float32_can_hold_counts_as_missing() -> None:
    found = masked(1).step(frames(np.array([[1e39, 2.0]])), INPUTS)
    assert found.frames.tolist() == [[[0.0, 2.0, 0.0, 1.0]]]


def test_a_manifest_says_whether_its_graph_takes_a_mask() -> None:
    manifest = Manifest(
        name="m",
        version="1",
        kind="anomaly",
        channels=(Channel(name="a"), Channel(name="b")),
        sample_period_s=1.0,
        window=1,
        outputs=("anomaly_score",),
        threshold=Threshold(output="anomaly_score", open_at=1, close_at=0.5),
        trained_on="made here",
    )
    assert (manifest.missing, manifest.width) == ("abstain", 2)
    assert Manifest.model_validate(manifest.model_dump() | {"missing": "mask"}).width == 4
    with pytest.raises(ValidationError, match="'abstain' or 'mask'"):
        Manifest.model_validate(manifest.model_dump() | {"missing": "zero"})
