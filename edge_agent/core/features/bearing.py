"""Bearing faults in the spectrum of the envelope.

Each time a rolling element strikes a fault, the structure rings. A band-pass picks the ringing, the analytic signal its
envelope; in the spectrum of the envelope the strikes stand at the fault's frequency and its harmonics.
Source: R. B. Randall and J. Antoni, Rolling element bearing diagnostics - a tutorial, MSSP 25(2), 2011.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from edge_agent.core.features.block import Block, Floats, Samples
from edge_agent.core.features.filters import gain
from edge_agent.core.features.spectrum import AMPLITUDE, MIN_SAMPLES, hann_power, spectrum

ORDER = 4  # of the band-pass


def bpfo(block: Block) -> Floats | None:
    """Outer race: the amplitudes of the envelope at the first harmonics of the ball-pass frequency, summed.

    In the unit of the samples; of each harmonic the highest line within the tolerance, which is up to 15 % below the
    truth for one that falls between two lines. Not given without a speed, nor where the fundamental lies below two
    lines of the spectrum or beyond half the rate; harmonics beyond it do not count.
    """
    return block.once(_faults).get("bpfo")


def bpfi(block: Block) -> Floats | None:
    """The same of the inner race."""
    return block.once(_faults).get("bpfi")


def bsf(block: Block) -> Floats | None:
    """The same of a rolling element's spin. A fault on it strikes both races: the even harmonics stand out."""
    return block.once(_faults).get("bsf")


def ftf(block: Block) -> Floats | None:
    """The same of the cage, the fundamental train."""
    return block.once(_faults).get("ftf")


def envelope(block: Block) -> Samples | None:
    """float32 [n, samples] of the bearing's `envelope_hz`; None when the rate does not reach that high.

    Without a band: from 1/8 to 3/8 of the rate, the middle half of what the samples hold, away from the shaft's
    harmonics below and from the sensor's own filter above.
    """
    samples, bearing = block.samples.shape[-1], block.rule.bearing
    if samples < MIN_SAMPLES or bearing is None:
        return None
    low_hz, high_hz = bearing.envelope_hz or (block.rate_hz / 8, 3 * block.rate_hz / 8)
    if high_hz > block.rate_hz / 2:
        return None
    lines = block.once(spectrum) * gain(low_hz, high_hz, ORDER, samples, block.dt_ns)
    # The analytic signal as two real ones: the band, and the band a quarter of a period later. Where the end of the
    # block jumps to its beginning both ring; the window over the envelope hides it.
    in_phase: Samples = fft.irfft(lines, samples)
    lines *= np.complex64(-1j)
    quadrature: Samples = fft.irfft(lines, samples)
    in_phase *= in_phase
    quadrature *= quadrature
    in_phase += quadrature
    return np.sqrt(in_phase, out=in_phase)


def envelope_power(block: Block) -> Samples | None:
    """The mean square in each line of the envelope's spectrum, as `hann_power` has it."""
    x = block.once(envelope)
    if x is None:
        return None
    lines: NDArray[np.complex64] = fft.rfft(x - x.mean(axis=-1, keepdims=True))
    return hann_power(lines, x.shape[-1])


def _faults(block: Block) -> dict[str, Floats]:
    """All fault frequencies at once."""
    lines, bearing = block.once(envelope_power), block.rule.bearing
    if lines is None or bearing is None:
        return {}
    orders = bearing.fault_orders
    speed_hz = np.where(np.isfinite(block.speed_rpm), np.abs(block.speed_rpm), 0.0) / 60
    # [n, faults, harmonics], in lines
    fundamental = speed_hz[:, None, None] * np.array(list(orders.values()))[:, None] / block.resolution_hz
    centre = fundamental * np.arange(1, bearing.harmonics + 1)
    first, end = np.floor(centre * (1 - bearing.tolerance)), np.ceil(centre * (1 + bearing.tolerance)) + 1
    counts = (fundamental >= 2) & (end < lines.shape[-1])
    span = np.stack((np.where(counts, first, 0), np.where(counts, end, 1)), axis=-1).astype(np.intp)
    span += (np.arange(len(lines)) * lines.shape[-1])[:, None, None, None]
    # Every other one is the maximum of a span, between them lies what separates two spans.
    highest = np.maximum.reduceat(lines.ravel(), span.ravel())[::2].reshape(counts.shape).astype(np.float64)
    amplitudes = np.where(counts, np.sqrt(AMPLITUDE * highest), 0.0).sum(axis=-1)
    amplitudes[~counts[:, :, 0]] = np.nan
    return {name: amplitudes[:, i] for i, name in enumerate(orders)}
