"""Features of waveforms, and the table that names them.

A waveform channel `v` yields readings of the channels `v.rms`, `v.crest`, …; a feature of several values adds their
names: `v.bands.low`. Modules are named by text and loaded on use, so that only those who want spectra load scipy.
"""

from typing import NamedTuple


class Feature(NamedTuple):
    """Where its function lies, as `module:name`, and which settings of the waveform rule it cannot do without."""

    place: str
    needs: tuple[str, ...] = ()


WAVEFORM_FEATURES: dict[str, Feature] = {
    "rms": Feature("moments:rms"),
    "peak": Feature("moments:peak"),
    "peak_to_peak": Feature("moments:peak_to_peak"),
    "crest": Feature("moments:crest"),
    "kurtosis": Feature("moments:kurtosis"),
    "skewness": Feature("moments:skewness"),
    "bands": Feature("spectrum:bands", ("bands_hz",)),
    "peaks": Feature("spectrum:peaks"),
    "centroid_hz": Feature("spectrum:centroid_hz"),
    "velocity_rms": Feature("velocity:velocity_rms", ("unit",)),
    "zone": Feature("velocity:zone", ("unit", "zone_edges_mm_s")),
    "bpfo": Feature("bearing:bpfo", ("bearing",)),
    "bpfi": Feature("bearing:bpfi", ("bearing",)),
    "bsf": Feature("bearing:bsf", ("bearing",)),
    "ftf": Feature("bearing:ftf", ("bearing",)),
}
