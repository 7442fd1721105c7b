"""Butterworth filters for whole waveforms: the amplitude response laid over the spectrum, without phase or delay.

An FFT takes its block for one period, so a jump from the last sample to the first would ring like an impact. Therefore
a tenth is put on at both ends, mirrored through the end points as `scipy.signal.filtfilt` does, and the line from
first to last is taken out. Nothing is remembered from block to block.
Sources: S. Butterworth, On the theory of filter amplifiers, 1930; the band-pass is the low-pass transformed.
"""

from functools import lru_cache

import numpy as np
from scipy import fft

from edge_agent.config.waveforms import Butterworth
from edge_agent.core.features.block import Block, Samples
from edge_agent.core.features.moments import centred


class ButterworthFilter:
    """A stage of a waveform's `denoise` chain."""

    def __init__(self, settings: Butterworth) -> None:
        self._settings = settings

    def apply(self, block: Block) -> Block | None:
        """None when all that the filter lets through lies beyond half the rate: there is nothing to tell."""
        low_hz, high_hz = self._settings.edges_hz
        if low_hz is not None and low_hz >= block.rate_hz / 2:
            return None
        x, before = _extended(block.once(centred).astype(np.float32))
        length, inside = x.shape[-1], slice(before, before + block.samples.shape[-1])
        line = x[:, :1] + (x[:, -1:] - x[:, :1]) * _rise(length)
        x -= line
        lines = fft.rfft(x)
        lines *= gain(low_hz, high_hz, self._settings.order, length, block.dt_ns)
        filtered: Samples = fft.irfft(lines, length)[:, inside]
        return block.replaced(filtered + line[:, inside] if low_hz is None else filtered)


@lru_cache(maxsize=64)
def gain(low_hz: float | None, high_hz: float | None, order: int, samples: int, dt_ns: int) -> Samples:
    """The amplitude response at each line, float32 [samples // 2 + 1], 0 at 0 Hz; 0.71 at the edges."""
    f_hz = np.arange(1, samples // 2 + 1) * (1e9 / dt_ns / samples)
    if low_hz is not None and high_hz is not None:
        detuning = (f_hz**2 - low_hz * high_hz) / (f_hz * (high_hz - low_hz))
    elif high_hz is not None:
        detuning = f_hz / high_hz
    else:
        detuning = (low_hz or 0.0) / f_hz
    out = np.zeros(samples // 2 + 1, np.float32)
    with np.errstate(over="ignore"):  # far outside it becomes infinite, and the gain 0
        out[1:] = 1 / np.sqrt(1 + detuning ** (2 * order))
    out.flags.writeable = False
    return out


@lru_cache(maxsize=64)
def _rise(length: int) -> Samples:
    """From 0 to 1."""
    return np.linspace(0, 1, length, dtype=np.float32)


def _extended(x: Samples) -> tuple[Samples, int]:
    """With a tenth of the whole, or a little more for a length that the FFT likes, at both ends; how much in front."""
    n, count = x.shape
    length = fft.next_fast_len(count + count // 4, real=True)
    before = (length - count) // 2
    after = length - count - before
    out = np.empty((n, length), np.float32)
    out[:, before : before + count] = x
    out[:, :before] = 2 * x[:, :1] - x[:, before:0:-1]
    out[:, before + count :] = 2 * x[:, -1:] - x[:, -2 : -2 - after : -1]
    return out, before
