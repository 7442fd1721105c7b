"""Samples per second through band-pass, envelope and features of float32 waveforms, and where the time goes.

    ./run bench            tables
    ./run bench --json     one JSON object

What is timed is `WaveformFeatures.step` from samples in memory to features, on one core; decoding, disk and network
are not. Each figure is the median of nine passes, in CPU time: all of it is computing. `at once` is how many
waveforms are handed in together.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.features.bearing import envelope, envelope_power
from edge_agent.core.features.block import Block, Samples
from edge_agent.core.features.extract import WaveformFeatures
from edge_agent.core.features.filters import ButterworthFilter
from edge_agent.core.features.moments import centred
from edge_agent.core.features.spectrum import power, spectrum
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json

PASSES = 9
PASS_SAMPLES = 2_000_000
SAMPLES = 4096
DT_NS = 83_333  # 12 kHz
PARTS_AT_ONCE = 8  # what `step` takes in one go

_BAND = {"filter": "butterworth", "kind": "bandpass", "cutoff_hz": (500, 5500)}
_FULL: dict[str, Any] = {
    "features": ("rms", "peak", "crest", "kurtosis", "skewness", "bands", "bpfo", "bpfi", "bsf", "ftf"),
    "denoise": [_BAND],
    "bands_hz": {"low": (10, 1000), "high": (2000, 5000)},
    "bearing": {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04},
    "speed_rpm": 1797,
}
_SPEED: dict[str, Any] = {"features": ("velocity_rms", "zone"), "unit": "g", "zones": "iso20816-3-group2-rigid"}
RULES: dict[str, dict[str, Any]] = {
    "rms, crest, kurtosis": {},
    "velocity and zone": _SPEED,
    "band-pass, moments, bands, bearing": _FULL,
    "the same after wavelet shrinkage": _FULL | {"denoise": [{"filter": "wavelet"}, _BAND]},
}
ASKED = "band-pass, moments, bands, bearing"
AT_ONCE = (1, 8, 256)


class Measured(NamedTuple):
    """One row of the first table."""

    features: str
    at_once: int
    samples_per_s: int


class Part(NamedTuple):
    """One row of the second: the time of one step of `ASKED`."""

    part: str
    ns_per_sample: float


def main() -> None:
    """Measure all and print."""
    as_json = wants_json(__doc__)
    waveforms(1024)  # once freed, the C library keeps smaller blocks for reuse: as in any agent that has read a commit
    measured = []
    for name, settings in RULES.items():
        sys.stderr.write(f"bench_waveform: {name}\n")
        measured += [measure(name, WaveformRule.model_validate(settings), at_once) for at_once in AT_ONCE]
    parts = measure_parts(WaveformRule.model_validate(RULES[ASKED]))
    if as_json:
        print_json("waveform", samples=SAMPLES, cases=measured, parts=parts)
        return
    sys.stdout.write(f"waveforms of {SAMPLES} float32, median of {PASSES}; {machine()}\n")
    sys.stdout.write(f"{'features':<36} {'at once':>8} {'samples/s':>14}\n")
    for m in measured:
        sys.stdout.write(f"{m.features:<36} {m.at_once:>8,} {m.samples_per_s:>14,}\n")
    sys.stdout.write(f"\nwhere it goes: {ASKED}, {PARTS_AT_ONCE} at once\n{'part':<36} {'ns a sample':>12}\n")
    for p in parts:
        sys.stdout.write(f"{p.part:<36} {p.ns_per_sample:>12.2f}\n")


def measure(name: str, rule: WaveformRule, at_once: int) -> Measured:
    """The whole step."""
    features, x = WaveformFeatures(rule), waveforms(at_once)
    return Measured(name, at_once, round(1e9 / ns_per_sample(lambda: features.step(x, DT_NS), x)))


def measure_parts(rule: WaveformRule) -> list[Part]:
    """Each part alone, with what it builds on made beforehand; the rest is what the whole step takes beside them."""
    x, band = waveforms(PARTS_AT_ONCE), ButterworthFilter(rule.denoise[0])  # type: ignore[arg-type]
    speed_rpm = np.full(PARTS_AT_ONCE, rule.speed_rpm)
    block = Block(x, DT_NS, rule, speed_rpm)
    block.once(centred)
    filtered = band.apply(block)
    assert filtered is not None
    for view in (centred, spectrum, envelope):
        filtered.once(view)
    moments_only = WaveformFeatures(WaveformRule(features=("rms", "peak", "crest", "kurtosis", "skewness")))
    parts = {
        "band-pass (FFT there and back)": ns_per_sample(lambda: band.apply(block), x),
        "moments": ns_per_sample(lambda: moments_only.step(x, DT_NS), x),
        "spectrum (FFT)": ns_per_sample(lambda: spectrum(filtered), x),
        "power (window, squares)": ns_per_sample(lambda: power(filtered), x),
        "envelope (two inverse FFTs)": ns_per_sample(lambda: envelope(filtered), x),
        "envelope's spectrum": ns_per_sample(lambda: envelope_power(filtered), x),
    }
    whole = 1e9 / measure(ASKED, rule, PARTS_AT_ONCE).samples_per_s
    parts |= {"bands, fault frequencies, the rest": whole - sum(parts.values()), "all": whole}
    return [Part(name, round(ns, 2)) for name, ns in parts.items()]


def ns_per_sample(step: Callable[[], object], x: Samples) -> float:
    """The median over the passes, after one to warm up."""
    times = max(1, PASS_SAMPLES // x.size)
    taken_s = []
    for _ in range(PASSES + 1):
        since_s = time.process_time()
        for _ in range(times):
            step()
        taken_s.append(time.process_time() - since_s)
    return statistics.median(taken_s[1:]) / times / x.size * 1e9


def waveforms(count: int) -> Samples:
    """Noise: what it holds makes no difference to the time."""
    return np.random.default_rng(1).standard_normal((count, SAMPLES)).astype(np.float32)


if __name__ == "__main__":
    main()
