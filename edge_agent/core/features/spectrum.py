"""Features of the spectrum. One real FFT of the centred samples in float32 serves them all, and the envelope.

Leakage is held down by a Hann window, put on in the frequency domain: with X the spectrum of what is not windowed,
line k of the windowed one is X[k] / 2 - (X[k-1] + X[k+1]) / 4. Single precision tells amplitudes from 1e-18 to 1e18.
Sources: F. J. Harris, On the use of windows for harmonic analysis with the DFT, Proc. IEEE 66(1), 1978 (the window);
T. Grandke, Interpolation algorithms for discrete Fourier transforms of weighted signals, IEEE TIM 32(2), 1983 (peaks).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from edge_agent.core.features.block import Block, Floats, Samples
from edge_agent.core.features.moments import centred

Spectrum = NDArray[np.complex64]
MIN_SAMPLES = 8  # below, the window leaves nothing to tell lines apart
AMPLITUDE = 3.0  # the squared amplitude of a sine over its power in the nearest line: 2 x the window's 1.5 lines


def bands(block: Block) -> dict[str, Floats]:
    """RMS within each of the rule's `bands_hz`, in the unit of the samples; the upper edge is not of the band.

    A band that reaches beyond half the rate, or holds no line of the spectrum, is not given.
    """
    given = {}
    for name, (low_hz, high_hz) in block.rule.bands_hz.items():
        lines = within(block, low_hz, high_hz)
        if lines is not None:
            given[name] = np.sqrt(block.once(power)[:, lines].sum(axis=-1)).astype(np.float64)
    return given


def peaks(block: Block) -> dict[str, Floats]:
    """The highest lines: frequency in Hz as `1_hz`, …, and amplitude of the sine as `1`, …, the largest first.

    Between the lines by the ratio of the two highest, which is exact for a sine in a Hann window; a parabola through
    three would be up to 0.02 lines and 3 % off.
    """
    if block.samples.shape[-1] < MIN_SAMPLES:
        return {}
    lines = block.once(power)
    inner, rows = lines[:, 1:-1], np.arange(len(lines))
    heights = np.where((inner > lines[:, :-2]) & (inner >= lines[:, 2:]), inner, np.float32(0))
    given = {}
    for rank in range(1, block.rule.peak_count + 1):
        at = heights.argmax(axis=-1)
        is_peak = heights[rows, at] > 0
        heights[rows, at] = 0
        before, top, after = lines[rows[:, None], at[:, None] + np.arange(3)].T.astype(np.float64)
        top = np.where(is_peak, top, np.nan)
        ratio = np.sqrt(np.maximum(before, after) / top)
        shift = np.clip((2 * ratio - 1) / (ratio + 1), 0, 0.5)
        given[f"{rank}_hz"] = (at + 1 + np.where(after > before, shift, -shift)) * block.resolution_hz
        given[f"{rank}"] = np.sqrt(AMPLITUDE * top) * (1 - shift**2) / np.sinc(shift)
    return given


def centroid_hz(block: Block) -> Floats | None:
    """The mean frequency, weighted by power; not given for a constant."""
    if block.samples.shape[-1] < MIN_SAMPLES:
        return None
    lines = block.once(power)
    total = lines.sum(axis=-1).astype(np.float64)
    moment = (lines * np.arange(lines.shape[-1], dtype=np.float32)).sum(axis=-1) * block.resolution_hz
    out: Floats = np.divide(moment, total, out=np.full(len(total), np.nan), where=total > 0)
    return out


def spectrum(block: Block) -> Spectrum:
    """Complex64 [n, samples // 2 + 1], not windowed, not scaled."""
    out: Spectrum = fft.rfft(block.once(centred).astype(np.float32))
    return out


def power(block: Block) -> Samples:
    """The mean square that each line holds, windowed by Hann: see `hann_power`."""
    return hann_power(block.once(spectrum), block.samples.shape[-1])


def hann_power(lines: Spectrum, samples: int) -> Samples:
    """The mean square in each line: float32 [n, samples // 2 + 1], of a spectrum that was not windowed.

    The same as a periodogram with a Hann window, scaled so that the sum over noise is its mean square.
    """
    flat = lines.view(np.float32)  # real and imaginary parts in turn: arithmetic on reals is faster
    twice = np.empty_like(flat)  # twice the windowed spectrum
    np.add(flat[:, 4:], flat[:, :-4], out=twice[:, 2:-2])
    # Beyond both ends lie the conjugates: of line 1, and of the last line but one, or the last of an odd length.
    twice[:, 0], twice[:, 1] = 2 * flat[:, 2], 0
    beyond = flat[:, -4:-2] if samples % 2 == 0 else flat[:, -2:]
    twice[:, -2], twice[:, -1] = flat[:, -4] + beyond[:, 0], flat[:, -3] - beyond[:, 1]
    np.multiply(twice, np.float32(-0.5), out=twice)
    twice += flat
    np.square(twice, out=twice)
    out = twice[:, ::2] + twice[:, 1::2]
    # 1/4 for twice, 8/3 for what the window takes away, 2 for the negative frequencies: both ends have none.
    out *= np.float32(2 * 8 / 3 / 4 / samples**2)
    out[:, 0] /= 2
    if samples % 2 == 0:
        out[:, -1] /= 2
    return out


def within(block: Block, low_hz: float, high_hz: float) -> slice | None:
    """The lines from `low_hz` up to, but not at, `high_hz`; None when the spectrum does not hold them."""
    samples = block.samples.shape[-1]
    first, end = max(1, math.ceil(low_hz / block.resolution_hz)), math.ceil(high_hz / block.resolution_hz)
    if samples < MIN_SAMPLES or high_hz > block.rate_hz / 2 or first >= end:
        return None
    return slice(first, end)
