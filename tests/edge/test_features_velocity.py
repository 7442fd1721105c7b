"""Velocity from acceleration, and its zones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.config.waveforms import WaveformRule, zone_table
from edge_agent.core.features.extract import WaveformFeatures

EDGES = (2.3, 4.5, 7.1)
Samples = NDArray[np.float32]


def acceleration(f_hz: float, amplitude: float, samples: int, rate_hz: float) -> Samples:
    turns = f_hz * np.arange(samples) / rate_hz
    return np.asarray(amplitude * np.sin(2 * np.pi * turns + 0.4), np.float32)[None]


def velocity(x: Samples, rate_hz: float, unit: str = "m/s2") -> dict[str, float]:
    rule = WaveformRule.model_validate(
        {"features": ("velocity_rms", "zone"), "unit": unit, "zones": "iso20816-3-group1-rigid"}
    )
    return {name: values[0] for name, values in WaveformFeatures(rule).step(x, round(1e9 / rate_hz)).items()}


@given(f_hz=st.floats(30, 950), amplitude=st.floats(0.1, 50))
def test_a_sine_has_the_velocity_of_its_integral(f_hz: float, amplitude: float) -> None:
    out = velocity(acceleration(f_hz, amplitude, 8000, 8000), 8000)
    expected_mm_s = 1000 * amplitude / (2 * np.pi * f_hz) / np.sqrt(2)
    assert out["velocity_rms"] == pytest.approx(expected_mm_s, rel=2e-3)
    assert out["zone"] == 1 + sum(out["velocity_rms"] > edge for edge in EDGES)


def test_one_m_per_s2_at_100_hz_is_1_13_mm_per_s_and_g_is_9_81_times_as_much() -> None:
    x = acceleration(100, 1, 5000, 5000)
    assert velocity(x, 5000)["velocity_rms"] == pytest.approx(1000 / (2 * np.pi * 100) / np.sqrt(2), rel=1e-4)
    assert velocity(x, 5000, "g")["velocity_rms"] == pytest.approx(9806.65 / (2 * np.pi * 100) / np.sqrt(2), rel=1e-4)


def test_what_lies_outside_10_to_1000_hz_does_not_count_nor_do_offset_and_drift() -> None:
    x = acceleration(100, 1, 5000, 5000)
    much = x + acceleration(4, 2, 5000, 5000) + acceleration(1500, 50, 5000, 5000) + np.linspace(100, 101, 5000)
    assert velocity(much.astype("f4"), 5000)["velocity_rms"] == pytest.approx(
        velocity(x, 5000)["velocity_rms"], rel=1e-2
    )


@pytest.mark.parametrize(("samples", "rate_hz"), [(499, 5000), (5000, 1999)])
def test_waveforms_too_short_or_too_slow_for_10_to_1000_hz_have_no_velocity_and_no_zone(
    samples: int, rate_hz: float
) -> None:
    assert velocity(acceleration(100, 1, samples, rate_hz), rate_hz) == {}


@pytest.mark.parametrize(("mm_s", "zone"), [(0.0, 1), (2.2, 1), (2.4, 2), (4.4, 2), (4.6, 3), (7.0, 3), (7.2, 4)])
def test_zones_change_at_the_edges(mm_s: float, zone: int) -> None:
    x = acceleration(160, 2 * np.pi * 160 * np.sqrt(2) * mm_s / 1000, 8000, 8000)
    assert velocity(x, 8000)["zone"] == zone


def test_the_table_of_zones_rises_and_has_the_confirmed_edges() -> None:
    table = zone_table()
    assert table["iso20816-3-group1-rigid"] == EDGES
    assert all(a < b < c for a, b, c in table.values())
