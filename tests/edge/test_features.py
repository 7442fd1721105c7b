"""Features of waveforms against scipy and against sines, of which everything is known."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import fft, signal, stats

from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.features import WAVEFORM_FEATURES
from edge_agent.core.features.extract import WaveformFeatures
from edge_agent.core.features.filters import gain
from edge_agent.core.features.spectrum import hann_power

RATE_HZ = 10_000.0
DT_NS = 100_000
BEARING = {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04, "envelope_hz": (1000, 4000)}
EVERYTHING: dict[str, Any] = {
    "features": tuple(WAVEFORM_FEATURES),
    "bands_hz": {"low": (10, 1000), "high": (1000, 4000)},
    "unit": "g",
    "zones": "iso20816-3-group1-rigid",
    "bearing": BEARING,
    "speed_channel": "speed",
}
CHAIN = ({"filter": "butterworth", "kind": "bandpass", "cutoff_hz": (20, 4500)}, {"filter": "wavelet"})
Samples = NDArray[np.float32]


def noise(n: int, samples: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, samples)) * rng.uniform(0.1, 100, (n, 1)) + rng.normal(size=(n, 1))
    return x.astype(np.float32)


def sine(frequency_hz: float, amplitude: float = 1.0, samples: int = 4000, phase: float = 0.0) -> Samples:
    turns = frequency_hz * np.arange(samples) / RATE_HZ
    return np.asarray(amplitude * np.sin(2 * np.pi * turns + phase), np.float32)[None]


def taken(x: Samples, **rule: Any) -> dict[str, Any]:
    """The features of the first waveform."""
    return {name: values[0] for name, values in WaveformFeatures(WaveformRule(**rule)).step(x, DT_NS).items()}


def test_moments_are_those_of_scipy() -> None:
    x = noise(5, 999) ** 3
    names = ("rms", "peak", "peak_to_peak", "crest", "kurtosis", "skewness")
    out = WaveformFeatures(WaveformRule(features=names)).step(x, DT_NS)
    centred = x.astype("f8") - x.astype("f8").mean(axis=1, keepdims=True)
    expected = {
        "rms": centred.std(axis=1),
        "peak": np.abs(centred).max(axis=1),
        "peak_to_peak": np.ptp(x.astype("f8"), axis=1),
        "crest": np.abs(centred).max(axis=1) / centred.std(axis=1),
        "kurtosis": stats.kurtosis(x.astype("f8"), axis=1, fisher=False),
        "skewness": stats.skew(x.astype("f8"), axis=1),
    }
    for name in names:
        np.testing.assert_allclose(out[name], expected[name], rtol=1e-9)


def test_the_fourth_power_of_large_counts_does_not_overflow() -> None:
    assert taken(sine(100) * np.float32(1e12), features=("kurtosis",))["kurtosis"] == pytest.approx(1.5)


@pytest.mark.parametrize("samples", [8, 9, 255, 1000])
def test_each_line_of_the_power_spectrum_is_that_of_scipys_hann_periodogram(samples: int) -> None:
    x = noise(3, samples)
    _, expected = signal.periodogram(x.astype("f8"), RATE_HZ, "hann", detrend="constant", scaling="spectrum")
    got = hann_power(fft.rfft(x - x.mean(axis=1, keepdims=True)), samples)
    np.testing.assert_allclose(got * 1.5, expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.mark.parametrize("samples", [8, 9, 255, 1000, 1021])
def test_band_rms_is_the_sum_over_scipys_hann_periodogram(samples: int) -> None:
    x = noise(3, samples)
    bands = {"all": (0, 5000), "some": (600, 3700)}
    out = WaveformFeatures(WaveformRule(features=("bands",), bands_hz=bands)).step(x, DT_NS)
    f_hz, density = signal.periodogram(x.astype("f8"), RATE_HZ, "hann", detrend="constant")
    for name, (low, high) in bands.items():
        inside = (f_hz >= max(low, f_hz[1])) & (f_hz < high)
        expected = np.sqrt(density[:, inside].sum(axis=1) * f_hz[1])
        np.testing.assert_allclose(out[f"bands.{name}"], expected, rtol=1e-4)


def test_a_band_holds_the_rms_of_the_sine_within_it_and_nothing_of_the_one_outside() -> None:
    bands = {"mine": (200, 400), "other": (1000, 4000)}
    out = taken(sine(303.3, 2.0) + 50, features=("bands",), bands_hz=bands)
    assert out["bands.mine"] == pytest.approx(2 / np.sqrt(2), rel=1e-3)
    assert out["bands.other"] < 1e-4


def test_a_band_that_the_rate_does_not_reach_or_that_holds_no_line_is_not_given() -> None:
    bands = {"beyond": (4000, 5001), "narrow": (100.1, 101), "fits": (4000, 5000)}
    assert set(taken(sine(100), features=("bands",), bands_hz=bands)) == {"bands.fits"}


@given(
    f_hz=st.floats(50, 4900), amplitude=st.floats(0.1, 10), phase=st.floats(0, 6), other=st.sampled_from([0.0, 0.001])
)
def test_the_highest_peak_is_the_sine_between_the_lines(
    f_hz: float, amplitude: float, phase: float, other: float
) -> None:
    x = sine(f_hz, amplitude, phase=phase) + sine(f_hz / 3, other * amplitude)
    out = taken(x, features=("peaks",), peak_count=1)
    assert set(out) == {"peaks.1_hz", "peaks.1"}
    assert out["peaks.1_hz"] == pytest.approx(f_hz, abs=0.01 * RATE_HZ / 4000)
    assert out["peaks.1"] == pytest.approx(amplitude, rel=0.002)


def test_peaks_come_in_the_order_of_their_amplitudes_and_no_more_than_there_are() -> None:
    out = taken(sine(400, 1.0) + sine(1200, 3.0) + sine(50, 2.0), features=("peaks",), peak_count=3)
    assert [out[f"peaks.{i}_hz"] for i in (1, 2, 3)] == pytest.approx([1200, 50, 400], abs=0.1)
    assert [out[f"peaks.{i}"] for i in (1, 2, 3)] == pytest.approx([3, 2, 1], rel=1e-3)
    assert taken(np.full((1, 100), 7, "f4"), features=("peaks",)) == {}


def test_the_centroid_lies_between_two_sines_by_their_power() -> None:
    out = taken(sine(1000, 1.0) + sine(2000, 2.0), features=("centroid_hz",))
    assert out["centroid_hz"] == pytest.approx((1000 + 4 * 2000) / 5, rel=1e-3)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(None, 800.0), (300.0, None), (300.0, 800.0)])
@pytest.mark.parametrize("order", [1, 4, 9])
def test_the_gain_is_that_of_scipys_analogue_butterworth(
    low_hz: float | None, high_hz: float | None, order: int
) -> None:
    edges = [edge for edge in (low_hz, high_hz) if edge is not None]
    kind = "bandpass" if len(edges) == 2 else "highpass" if low_hz else "lowpass"
    f_hz = np.fft.rfftfreq(1001, 1 / RATE_HZ)[1:]
    wanted = 2 * np.pi * np.array(edges)
    zeros, poles, factor = signal.butter(
        order, wanted if len(edges) == 2 else wanted[0], kind, analog=True, output="zpk"
    )
    _, expected = signal.freqs_zpk(zeros, poles, factor, 2 * np.pi * f_hz)
    np.testing.assert_allclose(gain(low_hz, high_hz, order, 1001, DT_NS)[1:], np.abs(expected), rtol=1e-4, atol=1e-7)


def test_features_are_taken_of_what_the_filters_leave() -> None:
    x = sine(100, 5.0) + sine(1000, 1.0) + sine(4000, 3.0)
    band = ({"filter": "butterworth", "kind": "bandpass", "cutoff_hz": (500, 2000), "order": 8},)
    edges = (("highpass", 500), ("lowpass", 2000))
    pair = tuple({"filter": "butterworth", "kind": kind, "cutoff_hz": edge, "order": 8} for kind, edge in edges)
    for chain in (band, pair):
        out = taken(x, features=("rms", "kurtosis", "bands"), bands_hz={"all": (0, 5000)}, denoise=chain)
        assert out["rms"] == pytest.approx(np.sqrt(0.5), rel=2e-3)
        assert out["kurtosis"] == pytest.approx(1.5, rel=1e-2)
        assert out["bands.all"] == pytest.approx(np.sqrt(0.5), rel=2e-3)


@pytest.mark.parametrize("kind", ["highpass", "bandpass"])
@pytest.mark.parametrize("f_hz", [1.0, 7.0, 52.0])
def test_a_strong_slow_swing_cut_off_at_the_ends_does_not_ring_like_an_impact(kind: str, f_hz: float) -> None:
    quiet = np.random.default_rng(0).normal(0, 0.1, (1, 4096))
    swing = 10 * np.sin(2 * np.pi * f_hz * np.arange(4096) / RATE_HZ + 1)
    chain = ({"filter": "butterworth", "kind": kind, "cutoff_hz": 500 if kind == "highpass" else (500, 2000)},)
    alone, swinging = (taken(x.astype("f4"), denoise=chain) for x in (quiet, quiet + swing))
    assert swinging["rms"] == pytest.approx(alone["rms"], rel=0.03)
    assert swinging["kurtosis"] == pytest.approx(alone["kurtosis"], rel=0.05)


def test_a_straight_drift_is_taken_out_whole_up_to_the_ends() -> None:
    x = np.linspace(-100, 100, 1000, dtype="f4")[None]
    out = taken(x, features=("peak",), denoise=({"filter": "butterworth", "kind": "highpass", "cutoff_hz": 100},))
    assert out["peak"] < 1e-3


def test_a_lowpass_leaves_what_is_slower_than_the_waveform_is_long() -> None:
    x = np.linspace(-1, 1, 1000, dtype="f4")[None] + sine(1000, samples=1000)
    out = taken(x, features=("rms", "peak"), denoise=({"filter": "butterworth", "cutoff_hz": 100},))
    assert out["rms"] == pytest.approx(np.sqrt(1 / 3), rel=0.02)
    assert out["peak"] == pytest.approx(1, rel=0.03)


def test_a_filter_whose_band_the_rate_does_not_reach_leaves_nothing_to_give() -> None:
    assert taken(sine(100), denoise=({"filter": "butterworth", "kind": "highpass", "cutoff_hz": 5000},)) == {}


def test_a_wavelet_in_the_chain_takes_the_noise_and_leaves_the_impact() -> None:
    x = (np.random.default_rng(1).normal(0, 0.1, (1, 4096))).astype("f4")
    x[0, 2000:2008] += [0, 3, -5, 4, -3, 2, -1, 0]
    plain, shrunk = taken(x), taken(x, denoise=({"filter": "wavelet", "threshold": "hard"},))
    assert shrunk["kurtosis"] > 2 * plain["kurtosis"]
    assert shrunk["rms"] < 0.8 * plain["rms"]


@pytest.mark.filterwarnings("error")
@settings(max_examples=100, deadline=None)
@given(x=arrays(np.float32, st.integers(1, 300), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
@pytest.mark.parametrize("chain", [(), CHAIN])
def test_whatever_samples_a_sensor_sends_there_is_no_error_no_warning_and_no_nan(
    x: Samples, chain: tuple[Any, ...]
) -> None:
    out = WaveformFeatures(WaveformRule(denoise=chain, **EVERYTHING)).step(x[None], DT_NS, np.array([1800.0]))
    assert np.isfinite(list(out.values())).all()


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("chain", [(), CHAIN])
def test_short_and_constant_waveforms_give_what_can_be_told_and_never_nan(samples: int, chain: tuple[Any, ...]) -> None:
    for x in (np.full((1, samples), 3, "f4"), noise(1, samples)):
        out = taken(x, denoise=chain, **EVERYTHING)
        assert {"rms", "peak", "peak_to_peak", "crest", "kurtosis", "skewness"} <= set(out)
        assert np.isfinite(list(out.values())).all()
        assert "velocity_rms" not in out


def test_samples_beyond_what_can_be_squared_give_no_spectrum_and_no_warning() -> None:
    out = taken(sine(100) * np.float32(1e35), features=("rms", "bands", "peaks"), bands_hz={"low": (10, 1000)})
    assert set(out) == {"rms"}


def test_a_feature_that_only_one_waveform_of_a_block_lacks_is_nan_there() -> None:
    x = np.concatenate((sine(100), sine(100) * np.float32(1e35)))
    out = WaveformFeatures(WaveformRule(features=("bands",), bands_hz={"low": (10, 1000)})).step(x, DT_NS)
    np.testing.assert_allclose(out["bands.low"], [np.sqrt(0.5), np.nan], rtol=1e-3)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), samples=st.integers(1, 700), seed=st.integers(0, 99), data=st.data())
def test_a_waveforms_features_are_the_same_to_the_bit_whatever_else_is_in_the_block(
    n: int, samples: int, seed: int, data: st.DataObject
) -> None:
    x = noise(n, samples, seed)
    speed = np.random.default_rng(seed).choice([np.nan, 0.0, 1800.0, 2950.0], n)
    chain = data.draw(st.sampled_from([(), CHAIN[:1], CHAIN[1:], CHAIN]))
    features = WaveformFeatures(WaveformRule(denoise=chain, **EVERYTHING))
    whole, row = features.step(x, DT_NS, speed), data.draw(st.integers(0, n - 1))
    alone = features.step(x[row : row + 1].copy(), DT_NS, speed[row : row + 1])
    in_block = {name: values[row] for name, values in whole.items() if np.isfinite(values[row])}
    assert in_block == {name: values[0] for name, values in alone.items()}


def test_a_block_larger_than_one_chunk_is_the_same_to_the_bit_as_its_waveforms_one_by_one() -> None:
    x = noise(37, 4096)
    features = WaveformFeatures(WaveformRule(denoise=CHAIN, **EVERYTHING))
    speed = np.linspace(1000, 3000, 37)
    whole = features.step(x, DT_NS, speed)
    assert len(whole) > len(WAVEFORM_FEATURES)
    for row in range(37):
        alone = features.step(x[row : row + 1], DT_NS, speed[row : row + 1])
        assert {name: values[row] for name, values in whole.items()} == {name: v[0] for name, v in alone.items()}


def test_the_samples_handed_in_are_left_as_they_are() -> None:
    x = noise(3, 256)
    x.flags.writeable = False
    WaveformFeatures(WaveformRule(denoise=CHAIN, **EVERYTHING)).step(x, DT_NS, np.full(3, 1800.0))


def test_who_wants_no_spectrum_and_no_wavelet_loads_neither_scipy_nor_pywavelets() -> None:
    code = (
        "import sys; from edge_agent.core.features.extract import WaveformFeatures as F\n"
        "from edge_agent.config.waveforms import WaveformRule\n"
        "import numpy as np; print(sorted(F(WaveformRule()).step(np.ones((1, 9), 'f4'), 1000)))\n"
        "print({'scipy', 'pywt'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['crest', 'kurtosis', 'rms']", "set()"]
