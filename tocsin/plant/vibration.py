"""The acceleration at a machine's bearing housing, as a waveform in g.

Shaft harmonics and noise when healthy. A pit in a bearing's outer race strikes once for each rolling
element that passes (BPFO) and rings the housing; collapsing bubbles in a pump hiss at high frequency.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.features.extract import WaveformFeatures
from tocsin.plant.faults import Fault, severity
from tocsin.plant.machines import Machine, speed_rpm

Floats = NDArray[np.float64]

SAMPLES = 1024
SAMPLE_RATE_HZ = 12_800.0

_HARMONICS_G = (0.20, 0.08, 0.04)  # once, twice, three times per turn: unbalance, misalignment, looseness
_NOISE_G = 0.05
_ELEMENTS, _DIAMETER_RATIO, _CONTACT_RAD = 9, 0.2, 0.0  # a deep-groove ball bearing
_RESONANCE_HZ, _DECAY_PER_S = 3200.0, 900.0  # of the housing
_IMPULSE_G = 3.0  # at full wear
_HISS_G = 0.5  # at full cavitation


def bpfo_hz(shaft_hz: Floats) -> Floats:
    """Ball pass frequency of the outer race: how often a rolling element passes one spot of it."""
    return np.asarray(_ELEMENTS / 2 * shaft_hz * (1.0 - _DIAMETER_RATIO * np.cos(_CONTACT_RAD)))


def waveforms(machine: Machine, times_s: Floats, faults: Sequence[Fault], rng: np.random.Generator) -> Floats:
    """Waveforms [n, SAMPLES] in g, whose first samples are taken at `times_s` [n]."""
    own = [fault for fault in faults if fault.asset == machine.asset]
    n = len(times_s)
    shaft_hz = speed_rpm(machine, times_s)[:, None] / 60.0  # steady over the 80 ms of a waveform
    clock_s = np.arange(SAMPLES) / SAMPLE_RATE_HZ
    turns = shaft_hz * clock_s + rng.random((n, 1))
    signal = _NOISE_G * rng.standard_normal((n, SAMPLES))
    for order, amplitude_g in enumerate(_HARMONICS_G, 1):
        signal += amplitude_g * np.sin(2 * np.pi * order * turns + order)
    strikes_hz = bpfo_hz(shaft_hz)
    since_strike_s = ((strikes_hz * clock_s + rng.random((n, 1))) % 1.0) / strikes_hz
    ringing = np.exp(-_DECAY_PER_S * since_strike_s) * np.sin(2 * np.pi * _RESONANCE_HZ * since_strike_s)
    signal += _IMPULSE_G * severity(own, "bearing_wear", times_s)[:, None] * ringing
    # The difference of neighbouring samples of white noise is noise that rises with frequency.
    hiss = np.diff(rng.standard_normal((n, SAMPLES + 1))) / np.sqrt(2.0)
    signal += _HISS_G * severity(own, "cavitation", times_s)[:, None] * hiss
    return np.asarray(signal)


def features_of(waves: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """What the agent makes of waveforms [n, samples] where nothing else is configured: values [n] by name."""
    return WaveformFeatures(WaveformRule()).step(waves, round(1e9 / SAMPLE_RATE_HZ))
