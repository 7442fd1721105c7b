"""Compares what the plant published with what the store holds. Pure.

A published row counts as stored when a row of the same asset, channel and time holds its value. The agent adds
further features of a waveform (`vibration.crest` beside `vibration.rms`); they belong to the waveform's row.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tocsin.plant.messages import Row

_RELATIVE = 1e-9  # JSON and the stores keep float64; the order of a sum may differ in the last digits

Key = tuple[str, str, int]  # asset, channel, time_ns


class Comparison(NamedTuple):
    """Counts of rows. A value that was changed on the way is both missing and duplicated."""

    published: int
    stored: int
    missing: int
    duplicated: int


def compare(published: Iterable[Row], stored: Iterable[Row]) -> Comparison:
    """`missing`: published and not stored. `duplicated`: stored and not published, or stored more than once."""
    expected = {(row.asset, row.channel, row.time_ns): row.value for row in published}
    waveforms = {_waveform(key) for key in expected if "." in key[1]}
    seen: Counter[Key] = Counter()
    matched: set[Key] = set()
    duplicated = 0
    for row in stored:
        key = (row.asset, row.channel, row.time_ns)
        seen[key] += 1
        if key in expected and math.isclose(row.value, expected[key], rel_tol=_RELATIVE, abs_tol=1e-12):
            duplicated += key in matched
            matched.add(key)
        elif key in expected or _waveform(key) not in waveforms or seen[key] > 1:
            duplicated += 1
    return Comparison(len(expected), len(matched), len(expected) - len(matched), duplicated)


def _waveform(key: Key) -> Key:
    asset, channel, time_ns = key
    return asset, channel.partition(".")[0] if "." in channel else "", time_ns
