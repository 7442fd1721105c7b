"""Windows with missing values: left to the model by a mask, or not scored."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_agent.core.align import NEVER, Frames
from edge_agent.core.window import Windowing
from models.bundle import Channel, Manifest, Threshold

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
