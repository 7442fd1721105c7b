"""What each filter computes, against scipy and numpy on all that a channel has read; and how far each lags behind."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal
from scipy.stats import median_abs_deviation

from edge_agent.core.denoise import AnyFilterSettings
from edge_agent.core.denoise.butterworth import ButterworthSettings
from edge_agent.core.denoise.chain import Chains
from edge_agent.core.denoise.exponential import ExponentialSettings
from edge_agent.core.denoise.hampel import HampelSettings
from edge_agent.core.denoise.kalman import KalmanSettings
from edge_agent.core.denoise.median import MedianSettings
from edge_agent.core.denoise.notch import NotchSettings
from edge_agent.core.denoise.savitzky_golay import SavitzkyGolaySettings
from edge_agent.core.segments import segments
from tests.denoising import CHANNELS, Filtered, Stream, filtered, single, stream_of, streams, usual, whole

Floats = NDArray[np.float64]
some = settings(deadline=None, max_examples=60)


def check(
    one: AnyFilterSettings, stream: Stream, oracle: Callable[[Floats, Floats], Floats], *, within: float = 1e-9
) -> None:
    """The oracle gets the seconds since the reading before (0 for the first) and the values of a run of one channel."""
    found = filtered([(one,)] * CHANNELS, stream).value
    for channel in range(CHANNELS):
        mine = stream.channel == channel
        time_ns, value, out = stream.time_ns[mine], stream.value[mine], found[mine]
        dt_s = np.diff(time_ns, prepend=time_ns[:1]) / 1e9
        begins = np.flatnonzero(dt_s > (one.gap_s or np.inf))
        for start, end in pairwise([0, *begins, len(value)]):
            if end > start:
                size = max(float(np.abs(value[start:end]).max()), 1.0)
                expected = oracle(np.append(0.0, dt_s[start + 1 : end]), value[start:end])
                np.testing.assert_allclose(out[start:end], expected, rtol=0, atol=within * size)


def judged_by_hampel(values: list[float], window: int, sigmas: float) -> tuple[list[float], list[bool]]:
    out, spikes = [], []
    for i, value in enumerate(values):
        past = values[max(i + 1 - window, 0) : i + 1]
        median = float(np.median(past))
        sigma = 1.4826 * float(median_abs_deviation(past))
        if sigma == 0:
            sigma = 1.2533 * sum(abs(v - median) for v in past) / len(past)
        spikes.append(len(past) >= max(3, (window + 1) // 2) and abs(value - median) > sigmas * sigma)
        out.append(median if spikes[-1] else value)
    return out, spikes


def test_hampel_as_it_comes_takes_less_than_one_in_300_of_pure_noise_for_a_spike() -> None:
    chains = Chains()
    chains.settle([(HampelSettings(),)])
    noise = np.random.default_rng(7).normal(size=20_000)
    _, spikes = chains.step(segments(np.zeros(len(noise), np.intp)), np.arange(len(noise)) * 1_000_000_000, noise)
    assert 0 < spikes.mean() < 1 / 300


@given(streams(whole), st.sampled_from([3, 4, 5, 7, 10, 31]), st.sampled_from([2.0, 3.0, 4.0]))
@settings(deadline=None, max_examples=150)
def test_hampel_judges_each_channel_as_a_loop_over_it_would(stream: Stream, window: int, sigmas: float) -> None:
    found = filtered([(HampelSettings(window=window, sigmas=sigmas),)] * CHANNELS, stream)
    for channel in range(CHANNELS):
        mine = stream.channel == channel
        value, spikes = judged_by_hampel(stream.value[mine].tolist(), window, sigmas)
        assert found.value[mine].tolist() == value
        assert found.is_spike[mine].tolist() == spikes


@pytest.mark.parametrize("window", [3, 5, 7, 9, 21])
def test_hampel_takes_over_a_step_after_half_a_window(window: int) -> None:
    half = (window - 1) // 2
    noise = np.tile([0.0, 0.1, -0.1], window)
    found = filtered([(HampelSettings(window=window),)], single(np.append(noise, 100 + noise)))
    at_step = np.flatnonzero(found.is_spike[len(noise) : len(noise) + window])
    assert at_step.tolist() == list(range(half))
    assert np.abs(found.value[len(noise) : len(noise) + half]).max() < 1
    assert found.value[len(noise) + half :].min() > 99


def test_hampel_replaces_a_single_spike_in_a_constant_by_the_constant() -> None:
    found = filtered([(HampelSettings(),)], single([5.0] * 10 + [50.0] + [5.0] * 10))
    assert found.value.tolist() == [5.0] * 21
    assert np.flatnonzero(found.is_spike).tolist() == [10]


def test_hampel_takes_a_signal_that_toggles_between_two_steps_for_no_row_of_spikes() -> None:
    assert not filtered([(HampelSettings(),)], single([float(i % 4 == 0) for i in range(60)])).is_spike.any()


@given(streams(whole), st.sampled_from([3, 4, 5, 15, 16, 17]))
@some
def test_the_moving_median_is_the_median_of_the_last_readings(stream: Stream, window: int) -> None:
    def oracle(_dt_s: Floats, value: Floats) -> Floats:
        return np.array([np.median(value[max(i + 1 - window, 0) : i + 1]) for i in range(len(value))])

    check(MedianSettings(window=window), stream, oracle, within=0)


@given(streams(usual), st.sampled_from([0.01, 1.0, 30.0, 1e5]), st.sampled_from([None, 5.0]))
@some
def test_exponential_follows_its_formula(stream: Stream, time_constant_s: float, gap_s: float | None) -> None:
    def oracle(dt_s: Floats, value: Floats) -> Floats:
        out = [value[0]]
        for dt, x in zip(dt_s[1:], value[1:], strict=True):
            out.append(out[-1] + (1 - math.exp(-dt / time_constant_s)) * (x - out[-1]))
        return np.array(out)

    check(ExponentialSettings(time_constant_s=time_constant_s, max_gap_s=gap_s), stream, oracle)


def test_exponential_does_not_depend_on_how_often_a_level_was_read() -> None:
    one = ExponentialSettings(time_constant_s=3)
    rare = filtered([(one,)], stream_of([(0, 1.0, 0.0), (0, 6.0, 1.0)])).value[-1]
    often = filtered([(one,)], stream_of([(0, 1.0, 0.0), *[(0, 0.5, 1.0)] * 12])).value[-1]
    assert often == pytest.approx(rare, rel=1e-12)
    assert often == pytest.approx(1 - math.exp(-2), rel=1e-12)


@given(
    streams(usual),
    st.sampled_from([(3, 1), (5, 2), (7, 2), (8, 3), (31, 5), (99, 2), (6, 0)]),
    st.integers(0, 2),
    st.sampled_from([1.0, 50.0]),
)
@some
def test_savitzky_golay_is_the_polynomial_of_the_last_readings_at_the_newest(
    stream: Stream, shape: tuple[int, int], derivative: int, rate_hz: float
) -> None:
    window, order = shape
    derivative = min(derivative, order)

    def oracle(_dt_s: Floats, value: Floats) -> Floats:
        out = []
        for i in range(len(value)):
            past = value[max(i + 1 - window, 0) : i + 1]
            degree = min(order, len(past) - 1)
            if derivative > degree:
                out.append(0.0)
                continue
            weights = signal.savgol_coeffs(
                len(past), degree, derivative, delta=1 / rate_hz, pos=len(past) - 1, use="dot"
            )
            out.append(weights @ past)
        return np.array(out)

    one = SavitzkyGolaySettings(window=window, order=order, derivative=derivative, rate_hz=rate_hz, max_gap_s=50)
    check(one, stream, oracle, within=1e-7 * rate_hz**derivative)


def test_savitzky_golay_follows_a_parabola_and_its_slope_from_the_first_readings_on() -> None:
    t = np.arange(40) / 10.0
    curve = single(3 - t + 0.5 * t**2)
    value = filtered([(SavitzkyGolaySettings(window=9, order=2, rate_hz=10, max_gap_s=2),)], curve).value
    slope = filtered([(SavitzkyGolaySettings(window=9, order=2, derivative=1, rate_hz=10, max_gap_s=2),)], curve).value
    np.testing.assert_allclose(value, curve.value, atol=1e-12)
    np.testing.assert_allclose(slope[2:], t[2:] - 1, atol=1e-11)
    assert slope[0] == 0.0


def through(sections: Floats, value: Floats) -> Floats:
    out: Floats = signal.sosfilt(sections, value, zi=signal.sosfilt_zi(sections) * value[0])[0]
    return out


@pytest.mark.parametrize(
    ("kind", "cutoff_hz", "order"),
    [
        ("lowpass", 0.1, 1),
        ("lowpass", 0.45, 4),
        ("lowpass", 0.01, 8),
        ("lowpass", 1e-5, 2),
        ("highpass", 0.2, 3),
        ("bandpass", (0.05, 0.3), 2),
        ("bandpass", (0.1, 0.11), 4),
    ],
)
@given(stream=streams(usual))
@settings(deadline=None, max_examples=25)
def test_butterworth_is_scipys_on_all_readings_from_the_steady_state_of_the_first(
    stream: Stream, kind: str, cutoff_hz: float | tuple[float, float], order: int
) -> None:
    sections = signal.butter(order, cutoff_hz, kind, fs=1.0, output="sos")
    one = ButterworthSettings.model_validate({"kind": kind, "cutoff_hz": cutoff_hz, "order": order, "rate_hz": 1})
    check(one, stream, lambda _, value: through(sections, value), within=1e-6)


@given(streams(usual), st.sampled_from([(0.2, 2.0), (0.05, 30.0), (0.49, 0.5)]))
@some
def test_notch_is_scipys_on_all_readings_from_the_steady_state_of_the_first(
    stream: Stream, shape: tuple[float, float]
) -> None:
    sections = signal.tf2sos(*signal.iirnotch(*shape, fs=1.0))
    one = NotchSettings(frequency_hz=shape[0], quality=shape[1], rate_hz=1)
    check(one, stream, lambda _, value: through(sections, value))


def amplitude_after(one: AnyFilterSettings, frequency_hz: float) -> float:
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(4000) / 100)
    return float(np.std(filtered([(one,)], single(tone, 0.01)).value[3000:])) * math.sqrt(2)


def test_the_frequencies_named_are_those_that_pass_and_those_that_do_not() -> None:
    low = ButterworthSettings(cutoff_hz=10, rate_hz=100)
    high = ButterworthSettings(kind="highpass", cutoff_hz=10, rate_hz=100)
    band = ButterworthSettings(kind="bandpass", cutoff_hz=(5, 10), rate_hz=100)
    notch = NotchSettings(frequency_hz=5, quality=5, rate_hz=100)
    assert [round(amplitude_after(low, f), 2) for f in (0.5, 10, 40)] == [1.0, 0.71, 0.01]
    assert [round(amplitude_after(high, f), 2) for f in (0.5, 10, 40)] == [0.0, 0.71, 1.0]
    assert [round(amplitude_after(band, f), 2) for f in (0.5, 5, 7.15, 10, 40)] == [0.0, 0.71, 1.0, 0.71, 0.0]
    assert [round(amplitude_after(notch, f), 2) for f in (0.5, 5, 40)] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize("kind", ["lowpass", "highpass"])
def test_butterworth_is_stable_at_the_lowest_cutoff_that_it_allows(kind: str, order: int) -> None:
    one = ButterworthSettings.model_validate({"kind": kind, "cutoff_hz": 1e-5, "order": order, "rate_hz": 1})
    step = np.append(0.0, np.ones(1_500_000))
    out = filtered([(one,)], single_fast(step)).value
    assert np.abs(out).max() < 1.5
    assert out[-1] == pytest.approx(float(kind == "lowpass"), abs=1e-6)


def single_fast(value: Floats) -> Stream:
    return Stream(np.zeros(len(value), np.intp), np.arange(len(value)) * 1_000_000_000, value)


def matrices(model: str, q: float, dt: float) -> tuple[Floats, Floats]:
    if model == "level":
        return np.eye(1), np.array([[q * dt]])
    return np.array([[1, dt], [0, 1]]), q * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])


@pytest.mark.parametrize("model", ["level", "trend"])
@given(streams(usual), st.sampled_from([(1.0, 0.3), (1e-3, 100.0), (50.0, 1e-3)]), st.sampled_from([None, 5.0]))
@some
def test_kalman_is_the_textbooks_with_matrices(
    model: str, stream: Stream, noise: tuple[float, float], gap_s: float | None
) -> None:
    r, q = noise[0] ** 2, noise[1] ** 2

    def oracle(dt_s: Floats, value: Floats) -> Floats:
        size = 1 if model == "level" else 2
        x, p = np.zeros(size), np.zeros((size, size))
        x[0], p[0, 0] = value[0], r
        if size == 2 and len(value) > 1:
            p[1, 1] = 1e6 * r / dt_s[1] ** 2
        h = np.eye(1, size)
        out = [value[0]]
        for dt, y in zip(dt_s[1:], value[1:], strict=True):
            f, noise_of = matrices(model, q, dt)
            x, p = f @ x, f @ p @ f.T + noise_of
            gain = p @ h.T / (h @ p @ h.T + r)
            x = x + gain[:, 0] * (y - x[0])
            p = (np.eye(size) - gain @ h) @ p
            out.append(x[0])
        return np.array(out)

    one = KalmanSettings(model=model, measurement_std=noise[0], process_std=noise[1], max_gap_s=gap_s)
    check(one, stream, oracle, within=1e-6)


def test_kalman_is_nearer_to_the_truth_than_its_readings_by_as_much_as_it_says() -> None:
    rng = np.random.default_rng(11)
    truth = np.cumsum(rng.normal(scale=0.1, size=20_000))
    found = filtered([(KalmanSettings(measurement_std=1, process_std=0.1),)], single(truth + rng.normal(size=20_000)))
    gain = 2 / (1 + math.sqrt(1 + 4 / 0.01))
    assert np.var(found.value - truth) == pytest.approx(gain, rel=0.05)


RAMPS: list[AnyFilterSettings] = [
    HampelSettings(),
    MedianSettings(window=9),
    MedianSettings(window=8),
    ExponentialSettings(time_constant_s=0.5),
    ExponentialSettings(time_constant_s=1e-5),
    SavitzkyGolaySettings(window=9, order=0, rate_hz=100),
    SavitzkyGolaySettings(window=9, order=1, rate_hz=100),
    SavitzkyGolaySettings(window=9, order=3, rate_hz=100),
    ButterworthSettings(cutoff_hz=10, rate_hz=100),
    ButterworthSettings(cutoff_hz=2, order=5, rate_hz=100),
    NotchSettings(frequency_hz=25, quality=3, rate_hz=100),
    KalmanSettings(measurement_std=1, process_std=1),
    KalmanSettings(measurement_std=1, process_std=1, model="trend"),
]


@pytest.mark.parametrize("one", RAMPS, ids=str)
def test_a_ramp_lags_by_the_delay_that_the_settings_state(one: AnyFilterSettings) -> None:
    ramp = 3 * np.arange(4000) / 100
    lag_s = (ramp - filtered([(one,)], single(ramp, 0.01)).value)[-1] / 3
    assert lag_s == pytest.approx(one.delay_s(0.01), rel=1e-6, abs=1e-9)


def test_a_slope_lags_by_the_delay_that_the_settings_state() -> None:
    t = np.arange(400) / 100
    for order in (1, 2):
        one = SavitzkyGolaySettings(window=9, order=order, derivative=1, rate_hz=100)
        slope = filtered([(one,)], single(t**2, 0.01)).value
        assert (2 * t - slope)[-1] / 2 == pytest.approx(one.delay_s(0.01), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "cutoff_hz", "burst_hz"), [("bandpass", [5, 20], None), ("bandpass", [9, 10], None), ("highpass", 5, 49.5)]
)
def test_a_burst_comes_late_by_the_delay_that_the_settings_state(
    kind: str, cutoff_hz: float | list[float], burst_hz: float | None
) -> None:
    one = ButterworthSettings.model_validate({"kind": kind, "cutoff_hz": cutoff_hz, "order": 3, "rate_hz": 100})
    if burst_hz is None:
        low, high = (math.tan(math.pi * edge / 100) for edge in one.edges_hz)
        burst_hz = math.atan(math.sqrt(low * high)) / math.pi * 100
    t = np.arange(6000) / 100 - 30
    burst = np.exp(-((t / 4) ** 2)) * np.cos(2 * np.pi * burst_hz * t)
    out = filtered([(one,)], single(burst, 0.01)).value
    late_s = (out**2 @ t) / (out @ out) - (burst**2 @ t) / (burst @ burst)
    assert late_s == pytest.approx(one.delay_s(0.01), rel=0.02, abs=1e-3)


def test_the_words_of_the_docstrings_about_delays_hold() -> None:
    assert ExponentialSettings(time_constant_s=10).delay_s(0.1) == pytest.approx(10 - 0.05, rel=1e-4)
    assert ButterworthSettings(cutoff_hz=1, rate_hz=100).delay_s(0.01) == pytest.approx(0.22, rel=0.03)
    assert NotchSettings(frequency_hz=1, quality=4, rate_hz=100).delay_s(0.01) == pytest.approx(
        1 / (math.pi * 4), rel=0.6
    )
    assert KalmanSettings(measurement_std=1, process_std=0.01).delay_s(1.0) == pytest.approx(100, rel=0.01)


def test_what_is_compared_here_is_compared_to_the_bit() -> None:
    assert Filtered(np.array([0.0]), np.array([False])) != Filtered(np.array([-0.0]), np.array([False]))
