"""The published health index."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.health import Health
from edge_agent.core.rounds import rounds

values = st.lists(st.floats(0, 100), min_size=1, max_size=40)


def published(health: Health, given_: list[float], asset: int = 0) -> list[float]:
    health.grow(asset + 1)
    found: list[float] = health.step(np.full(len(given_), asset), np.array(given_)).tolist()
    return found


@given(values, st.integers(0, 40), st.sampled_from([1.0, 10.0]))
@settings(deadline=None)
def test_it_is_a_whole_point_within_one_of_the_mean_however_windows_were_cut(
    health: list[float], cut: int, windows: float
) -> None:
    found = published(Health(windows), health)
    mean = health[0]
    for now, out in zip(health, found, strict=True):
        mean += (1 - math.exp(-1 / windows)) * (now - mean)
        assert out == round(out)
        assert abs(out - mean) < 1 + 1e-9
    parts = Health(windows)
    assert (published(parts, health[:cut]) if cut else []) + (
        published(parts, health[cut:]) if health[cut:] else []
    ) == found


def test_noise_does_not_move_it_and_a_step_does_within_its_windows() -> None:
    rng = np.random.default_rng(5)
    noisy = (72.5 + rng.normal(0, 0.5, 2000)).tolist()
    assert len(set(published(Health(10.0), noisy)[100:])) == 1
    step = published(Health(10.0), [90.0] * 5 + [40.0] * 30)
    assert step[4] == 90
    assert 90 - step[14] == pytest.approx(0.63 * 50, abs=1)
    assert 90 - step[34] == pytest.approx(0.95 * 50, abs=1)


@given(st.dictionaries(st.integers(0, 5), values, min_size=1))
@settings(deadline=None)
def test_assets_do_not_touch_each_other(health: dict[int, list[float]]) -> None:
    together = Health(3.0)
    together.grow(6)
    asset = np.repeat(sorted(health), [len(health[key]) for key in sorted(health)])
    found = together.step(asset, np.concatenate([health[key] for key in sorted(health)]))
    for key, alone in health.items():
        assert found[asset == key].tolist() == published(Health(3.0), alone, key)


@given(st.lists(st.integers(0, 4), max_size=20).map(sorted))
def test_rounds_take_each_row_once_an_asset_at_most_once_a_round_and_in_order(asset: list[int]) -> None:
    found = [rows.tolist() for rows in rounds(np.array(asset, np.intp))]
    assert sorted(row for rows in found for row in rows) == list(range(len(asset)))
    for rows in found:
        assert len({asset[row] for row in rows}) == len(rows)
    for key in set(asset):
        mine = [row for rows in found for row in rows if asset[row] == key]
        assert mine == sorted(mine)
