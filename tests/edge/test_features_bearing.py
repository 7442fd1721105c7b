"""Bearing faults: synthetic ones of which the truth is known, and those of the Case Western data set."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from edge_agent.config.waveforms import Bearing, WaveformRule
from edge_agent.core.features.bearing import envelope, envelope_power
from edge_agent.core.features.block import Block
from edge_agent.core.features.extract import WaveformFeatures
from edge_agent.core.features.filters import gain

RATE_HZ = 12_500.0
DT_NS = 80_000
RPM = 1797.0
FAULTS = ("bpfo", "bpfi", "bsf", "ftf")
SKF_6205 = {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04}
Floats = NDArray[np.float64]


def rule(**bearing: Any) -> WaveformRule:
    return WaveformRule.model_validate({"features": FAULTS, "bearing": SKF_6205 | bearing, "speed_channel": "speed"})


def faults(x: NDArray[Any], speed_rpm: float, settings: WaveformRule, dt_ns: int = DT_NS) -> dict[str, float]:
    speed = np.full(len(x), speed_rpm)
    return {k: float(v[0]) for k, v in WaveformFeatures(settings).step(x.astype("f4"), dt_ns, speed).items()}


def struck(order: float, *, slip: float = 0.0, samples: int = 8192, noise: float = 0.03) -> Floats:
    """Impacts `order` times a turn, each of which a resonance at 3 kHz answers."""
    rng = np.random.default_rng(7)
    time_s = np.arange(samples) / RATE_HZ
    gap_s = 60 / RPM / order / (1 + slip)
    x = rng.normal(0, noise, samples)
    for start_s in np.arange(0.003, time_s[-1], gap_s):
        after = np.clip(time_s - start_s, 0, None)
        x += (time_s >= start_s) * np.exp(-800 * after) * np.sin(2 * np.pi * 3000 * after)
    return x[None]


def test_fault_orders_follow_from_the_geometry() -> None:
    # As published for the drive end bearing of the Case Western rig; its rolling element frequency is twice the spin's.
    published = {"bpfo": 3.5848, "bpfi": 5.4152, "bsf": 4.7135 / 2, "ftf": 0.39828}
    assert Bearing.model_validate(SKF_6205).fault_orders == pytest.approx(published, rel=1e-4)


def test_a_contact_angle_brings_the_races_together() -> None:
    slanted = Bearing.model_validate(SKF_6205 | {"contact_angle_deg": 40.0}).fault_orders
    flat = Bearing.model_validate(SKF_6205).fault_orders
    assert flat["bpfo"] < slanted["bpfo"] < 4.5 < slanted["bpfi"] < flat["bpfi"]
    assert slanted["bpfo"] + slanted["bpfi"] == pytest.approx(9)
    assert slanted["bpfo"] == pytest.approx(9 * slanted["ftf"])


@pytest.mark.parametrize("fault", ["bpfo", "bpfi"])
@pytest.mark.parametrize("slip", [-0.008, 0.0, 0.008])
def test_impacts_at_a_fault_frequency_stand_out_at_that_fault(fault: str, slip: float) -> None:
    x = struck(Bearing.model_validate(SKF_6205).fault_orders[fault], slip=slip)
    # Of this bearing 3 BPFO lies beside 2 BPFI, and 3 BSF beside 2 BPFO: more harmonics share some of each other.
    for harmonics, factor in ((1, 10), (3, 2.5)):
        out = faults(x, RPM, rule(harmonics=harmonics))
        assert max(out, key=out.__getitem__) == fault
        assert out[fault] > factor * sorted(out.values())[-2]


def test_slip_beyond_the_tolerance_is_not_seen() -> None:
    for slip in (-0.03, 0.03):
        x = struck(3.584784836065573, slip=slip, samples=16_384)
        seen, unseen = (faults(x, RPM, rule(tolerance=tolerance))["bpfo"] for tolerance in (0.035, 0.005))
        assert seen > 10 * unseen


def test_declared_orders_serve_as_well_as_the_geometry_and_only_those_declared_are_given() -> None:
    x = struck(3.5848)
    declared = WaveformRule.model_validate(
        {"features": ["bpfo"], "bearing": {"bpfo": 3.584784836065573}, "speed_rpm": RPM}
    )
    (given,) = WaveformFeatures(declared).step(x.astype("f4"), DT_NS).values()
    assert given[0] == faults(x, RPM, rule())["bpfo"]


def test_the_amplitude_is_that_of_the_modulation() -> None:
    # An amplitude-modulated carrier: its envelope is 1 + 0.4 sin, so the harmonic is 0.4 and there is no other.
    time_s, fault_hz = np.arange(12_500) / RATE_HZ, 107.0
    speed_rpm = 60 * fault_hz / Bearing.model_validate(SKF_6205).fault_orders["bpfo"]
    x = (1 + 0.4 * np.sin(2 * np.pi * fault_hz * time_s)) * np.sin(2 * np.pi * 3100 * time_s)
    out = faults(x[None], speed_rpm, rule(envelope_hz=(1500, 5000)))
    assert out["bpfo"] == pytest.approx(0.4, rel=0.01)


def test_the_envelope_is_that_of_scipys_hilbert_and_its_spectrum_that_of_a_periodogram() -> None:
    x = struck(3.6, samples=2000)
    block = Block(x.astype("f4"), DT_NS, rule(envelope_hz=(2000, 4000)), np.array([RPM]))
    spectrum = np.fft.rfft(x - x.mean()) * gain(2000, 4000, 4, 2000, DT_NS)
    expected = np.abs(signal.hilbert(np.fft.irfft(spectrum, 2000)))
    got, lines = block.once(envelope), block.once(envelope_power)
    assert got is not None
    assert lines is not None
    np.testing.assert_allclose(got, expected, atol=1e-5)
    _, periodogram = signal.periodogram(expected, RATE_HZ, "hann", detrend="constant", scaling="spectrum")
    np.testing.assert_allclose(lines[:, 1:] * 1.5, periodogram[:, 1:], atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("speed_rpm", [float("nan"), 0.0, 1.0, 1e9, float("inf")])
def test_without_a_speed_or_with_one_at_which_nothing_can_be_told_no_fault_is_given(speed_rpm: float) -> None:
    assert faults(struck(3.6, samples=4096), speed_rpm, rule()) == {}


def test_the_sense_of_rotation_does_not_matter() -> None:
    x = struck(3.6, samples=4096)
    assert faults(x, -RPM, rule()) == faults(x, RPM, rule())


def test_each_waveform_has_its_own_speed_and_who_has_none_is_left_out() -> None:
    x = np.repeat(struck(3.5848), 3, axis=0)
    out = WaveformFeatures(rule()).step(x.astype("f4"), DT_NS, np.array([RPM, np.nan, 0.77 * RPM]))
    assert np.isnan([values[1] for values in out.values()]).all()
    assert out["bpfo"][0] > 4 * out["bpfo"][2] > 0


def test_harmonics_beyond_half_the_rate_do_not_count_and_a_fundamental_there_is_not_given() -> None:
    x = struck(3.6, samples=4096)
    out = faults(x, 60 * 6000 / 5, rule())
    assert set(out) == {"bpfo", "bsf", "ftf"}
    assert faults(x, 60 * 6000 / 5, rule(harmonics=1))["bpfo"] == out["bpfo"]


def test_a_band_of_the_envelope_beyond_half_the_rate_gives_no_faults() -> None:
    assert faults(struck(3.6, samples=4096), RPM, rule(envelope_hz=(3000, 7000))) == {}


def test_no_speed_at_all_is_one_too_many() -> None:
    x = struck(3.6, samples=64)
    for speed_rpm in np.geomspace(60, 600_000, 400):
        out = faults(x, float(speed_rpm), rule(harmonics=20))
        assert np.isfinite(list(out.values())).all()


CWRU = Path(__file__).parents[3] / "shared/data/cwru"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "fault"),
    [("IR007_0", "bpfi"), ("IR014_0", "bpfi"), ("IR021_0", "bpfi"), ("OR007at6_0", "bpfo"), ("OR021at6_0", "bpfo")],
)
def test_race_faults_of_the_case_western_bearing_show_at_their_frequency(name: str, fault: str) -> None:
    if not CWRU.exists():
        pytest.skip("cwru of the public data sets is not there")

    def blocks(file: str) -> NDArray[np.float32]:
        x = np.load(CWRU / f"{file}.npz")["DE"].ravel()
        return np.asarray(x[: len(x) // 8192 * 8192].reshape(-1, 8192), np.float32)

    features = WaveformFeatures(WaveformRule(features=FAULTS, bearing=Bearing(**SKF_6205), speed_rpm=RPM))
    faulty, healthy = (features.step(blocks(file), round(1e9 / 12_000)) for file in (name, "Normal_0"))
    typical = {each: float(np.median(values)) for each, values in faulty.items()}
    assert max(typical, key=typical.__getitem__) == fault
    assert faulty[fault].min() > 5 * healthy[fault].max()
