"""Rules for waveforms: what is taken, and what is refused with which words."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.config import waveforms
from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.features import WAVEFORM_FEATURES
from edge_agent.core.features.extract import WaveformFeatures

BEARING = {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04}
ZONES = {"features": ["zone"], "unit": "g"}


def fault(**bearing: Any) -> dict[str, Any]:
    return {"features": ["bpfo"], "bearing": bearing, "speed_rpm": 1500}


def filtered(**settings: Any) -> dict[str, Any]:
    return {"denoise": [settings]}


def test_who_sets_nothing_gets_rms_crest_and_kurtosis() -> None:
    assert WaveformRule() == WaveformRule(features=("rms", "crest", "kurtosis"))


def test_each_feature_of_the_table_can_be_configured_and_loaded() -> None:
    rule = WaveformRule.model_validate(
        {
            "features": list(WAVEFORM_FEATURES),
            "bands_hz": {"low": [10, 100]},
            "unit": "m/s2",
            "zone_edges_mm_s": [1, 2, 3],
            "bearing": BEARING,
            "speed_channel": "speed",
            "denoise": [{"filter": "butterworth", "cutoff_hz": 500}, {"filter": "wavelet", "noise": "coloured"}],
        }
    )
    WaveformFeatures(rule)
    assert WaveformRule.model_validate_json(rule.model_dump_json()) == rule


def test_edges_stand_in_the_journalled_rule_so_that_another_table_changes_no_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = WaveformRule.model_validate(ZONES | {"zones": "iso20816-3-group1-rigid"})
    journalled = rule.model_dump_json()
    monkeypatch.setattr(waveforms, "zone_table", dict)
    assert WaveformRule.model_validate_json(journalled).zone_edges_mm_s == (2.3, 4.5, 7.1)


def test_edges_of_ones_own_hold_before_those_of_the_table() -> None:
    rule = WaveformRule.model_validate(ZONES | {"zones": "iso20816-3-group1-rigid", "zone_edges_mm_s": [1, 2, 3]})
    assert rule.zone_edges_mm_s == (1, 2, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"features": ["rms", "loudness"]}, "features loudness: not known; there are rms, peak, peak_to_peak, crest"),
        ({"features": ["rms", "rms"]}, "each may stand there once"),
        ({"features": []}, "at least 1 item"),
        ({"features": ["bands"]}, "features: bands needs bands_hz"),
        ({"bands_hz": {"low": [1, 2]}}, "bands_hz is given, but used by none of the features rms, crest, kurtosis"),
        ({"features": ["bands"], "bands_hz": {"low": [100, 10]}}, "bands_hz.low.*each must lie above the one before"),
        ({"features": ["bands"], "bands_hz": {"a b/c": [10, 100]}}, "string_pattern_mismatch|match pattern"),
        ({"features": ["velocity_rms"]}, "features: velocity_rms needs unit"),
        ({"features": ["velocity_rms"], "unit": "mm"}, "'g' or 'm/s2'"),
        (ZONES, "features: zone needs zones or zone_edges_mm_s"),
        (ZONES | {"zones": "iso"}, "zones 'iso' is not in the table; there are iso20816-3-group1-rigid, "),
        (ZONES | {"zone_edges_mm_s": [1, 3, 2]}, "each must lie above the one before"),
        (ZONES | {"zone_edges_mm_s": [1, 2]}, "Field required"),
        ({"features": ["bpfo"]}, "features: bpfo needs bearing"),
        ({"features": ["bpfo"], "bearing": BEARING}, "either speed_rpm or speed_channel"),
        (fault(**BEARING) | {"speed_channel": "speed"}, "either speed_rpm or speed_channel"),
        ({"speed_rpm": 1500}, "only a bearing"),
        (fault(balls=9), "either balls, ball_diameter_mm and pitch_diameter_mm, or its fault orders"),
        (fault(**BEARING, bpfo=3.5), "either balls, ball_diameter_mm and pitch_diameter_mm, or its fault orders"),
        (fault(balls=9, ball_diameter_mm=40, pitch_diameter_mm=39), "each must lie above the one before"),
        (fault(bpfi=5.4), "bpfo needs an order of that name in bearing"),
        (fault(**BEARING, tolerance=0.5), "less than or equal to 0.1"),
        (fault(**BEARING, envelope_hz=[4000, 2000]), "each must lie above the one before"),
        (fault(**BEARING, envelope_hz=[0, 2000]), "the lower edge must lie above 0"),
        (filtered(filter="butterworth", kind="bandpass", cutoff_hz=9), "a bandpass takes .low, high."),
        (filtered(filter="butterworth", cutoff_hz=[3, 9]), "lowpass and highpass take one number"),
        (filtered(filter="butterworth", kind="bandpass", cutoff_hz=[9, 3]), "each must lie above the one before"),
        (filtered(filter="butterworth", cutoff_hz=9, order=99), "less than or equal to 8"),
        (filtered(filter="median"), "'butterworth', 'wavelet'"),
        (filtered(filter="wavelet", wavelet="db5"), "'haar', 'db2', 'db4'"),
        (filtered(filter="wavelet", levels=0), "greater than or equal to 1"),
        ({"feature": ["rms"]}, "Extra inputs are not permitted"),
    ],
)
def test_a_rule_that_cannot_hold_is_refused_with_what_is_allowed(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WaveformRule.model_validate(settings)
