"""Wavelet shrinkage against the formulas on PyWavelets' own coefficients."""

from typing import Any

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.config.waveforms import Wavelet
from edge_agent.core.denoise.wavelet import WaveletShrinkage

Samples = NDArray[np.float32]


def shrunk(x: Samples, **settings: Any) -> Samples:
    return WaveletShrinkage(Wavelet.model_validate({"filter": "wavelet"} | settings)).shrink(x)


def impacts(samples: int = 2048) -> NDArray[np.float64]:
    after = np.arange(samples) % 512
    return 3 * np.exp(-after / 20) * np.sin(after)


def noisy(n: int, samples: int = 2048, seed: int = 0) -> Samples:
    return (impacts(samples) + np.random.default_rng(seed).normal(0, 0.3, (n, samples))).astype("f4")


@pytest.mark.parametrize("samples", [2048, 999])
@pytest.mark.parametrize("threshold", ["soft", "hard"])
@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_coefficients_are_shrunk_by_the_universal_threshold(samples: int, threshold: str, noise: str) -> None:
    x = noisy(1, samples)
    mean = x.astype("f8").mean()
    approximation, *details = pywt.wavedec(x[0].astype("f8") - mean, "sym8", level=4)
    sigmas = [np.median(np.abs(detail)) / 0.6745 for detail in details]
    kept = [
        pywt.threshold(detail, np.sqrt(2 * np.log(samples)) * (sigmas[-1] if noise == "white" else sigma), threshold)
        for detail, sigma in zip(details, sigmas, strict=True)
    ]
    expected = pywt.waverec([approximation, *kept], "sym8")[:samples] + mean
    out = shrunk(x, wavelet="sym8", levels=4, threshold=threshold, noise=noise)
    np.testing.assert_allclose(out[0], expected, atol=2e-4)
    assert out.dtype == np.float32


def test_most_of_white_noise_goes_and_the_impacts_stay() -> None:
    x, truth = noisy(8), impacts()
    before, after = (np.sqrt(np.mean((signal - truth) ** 2)) for signal in (x, shrunk(x, threshold="hard")))
    assert after < 0.6 * before
    assert shrunk(x, threshold="hard").max() > 0.8 * truth.max()


def test_hard_keeps_the_height_of_impacts_that_soft_takes_down() -> None:
    x = noisy(1)
    assert np.abs(shrunk(x, threshold="hard")).max() > np.abs(shrunk(x, threshold="soft")).max()


def test_noise_that_is_stronger_at_long_scales_asks_for_a_threshold_of_each_level() -> None:
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.normal(0, 0.1, 2048))[None].astype("f4")  # a random walk: nothing but coloured noise
    truth = pywt.waverec([pywt.wavedec(x[0], "db4", level=4)[0], *[None] * 4], "db4")[:2048]
    white, coloured = (np.std(shrunk(x, levels=4, noise=noise)[0] - truth) for noise in ("white", "coloured"))
    assert coloured < 0.6 * white


def test_a_constant_and_an_offset_stay_what_they_are() -> None:
    assert (shrunk(np.full((2, 300), 1e6, "f4")) == 1e6).all()
    np.testing.assert_allclose(shrunk(noisy(1) + np.float32(1000)), shrunk(noisy(1)) + np.float32(1000), atol=1e-3)


@pytest.mark.parametrize("samples", [1, 2, 7, 13])
def test_waveforms_shorter_than_the_wavelet_are_left_as_they_are(samples: int) -> None:
    x = np.arange(samples, dtype="f4")[None] ** 2
    assert (shrunk(x, wavelet="db8") == x).all()


def test_more_levels_than_the_length_allows_are_as_many_as_it_allows() -> None:
    assert (shrunk(noisy(1, 100), levels=16) == shrunk(noisy(1, 100))).all()


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(2, 20),
    samples=st.integers(1, 500),
    seed=st.integers(0, 99),
    noise=st.sampled_from(["white", "coloured"]),
)
def test_a_waveform_is_shrunk_the_same_to_the_bit_whatever_else_is_in_the_block(
    n: int, samples: int, seed: int, noise: str
) -> None:
    x = noisy(n, samples, seed) * np.arange(1, n + 1, dtype="f4")[:, None]
    whole = shrunk(x, noise=noise)
    assert whole.shape == x.shape
    assert all((whole[i] == shrunk(x[i : i + 1].copy(), noise=noise)[0]).all() for i in range(n))
