"""Velocity of vibration from acceleration, and its zone: how ISO 20816 judges machines.

Integration divides each line of the spectrum by 2 pi f. The standard asks for 10 to 1000 Hz.
"""

import numpy as np

from edge_agent.core.features.block import Block, Floats
from edge_agent.core.features.spectrum import power, within

LOW_HZ, HIGH_HZ = 10.0, 1000.0
MM_PER_S2 = {"g": 9806.65, "m/s2": 1000.0}


def velocity_rms(block: Block) -> Floats | None:
    """mm/s, 10 to 1000 Hz. Not given for waveforms shorter than 0.1 s or of less than 2000 samples a second.

    The window spreads each line over the two beside it: below 0.3 s, what swings slower than 10 Hz leaks in.
    """
    lines = within(block, LOW_HZ, HIGH_HZ)
    if lines is None or block.resolution_hz > LOW_HZ or block.rule.unit is None:
        return None
    f_hz = np.arange(lines.start, lines.stop) * block.resolution_hz
    per_line = ((MM_PER_S2[block.rule.unit] / (2 * np.pi * f_hz)) ** 2).astype(np.float32)
    out: Floats = np.sqrt((block.once(power)[:, lines] * per_line).sum(axis=-1)).astype(np.float64)
    return out


def zone(block: Block) -> Floats | None:
    """1 to 4 for the zones A to D: newly commissioned, fit for long, for a limited time, not fit for operation."""
    velocity, edges = block.once(velocity_rms), block.rule.zone_edges_mm_s
    if velocity is None or edges is None:
        return None
    return np.where(np.isfinite(velocity), np.searchsorted(edges, velocity) + 1.0, np.nan)
