"""Journal entries as rows for people and other programs.

JSON lines hold one reading or waveform each. CSV holds one line for the readings of an asset at one time, a column
for each channel: the form that `tocsin edge replay` reads back.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from edge_agent.core.entries import Data, JournalEntry
from models.contract.quality import label

FIXED = ("time_ns", "asset", "quality")  # the other columns of a CSV are channels


class Record(NamedTuple):
    """One reading."""

    time_ns: int
    asset: str
    channel: str
    value: float
    quality: str


class Span(NamedTuple):
    """Event times from `since_ns`, before `until_ns`."""

    since_ns: int
    until_ns: int


def records(entry: JournalEntry, span: Span) -> Iterator[Record]:
    """The readings of an entry in their order."""
    if not isinstance(entry, Data):
        return
    readings = entry.readings()
    for at in np.flatnonzero((readings.time_ns >= span.since_ns) & (readings.time_ns < span.until_ns)).tolist():
        asset, channel = readings.channels[readings.index[at]]
        value, quality = float(readings.value[at]), label(readings.quality[at])
        yield Record(int(readings.time_ns[at]), asset, channel, value, quality)


def waveforms(entry: JournalEntry, span: Span) -> Iterator[dict[str, Any]]:
    """The waveforms of an entry, ready for JSON."""
    if not isinstance(entry, Data):
        return
    for wave in entry.waveforms:
        if span.since_ns <= wave.time_ns < span.until_ns:
            asset, channel = wave.channel
            samples = np.frombuffer(wave.samples, "<f4").tolist()
            yield {"time_ns": wave.time_ns, "asset": asset, "channel": channel, "dt_ns": wave.dt_ns, "samples": samples}


def lines(found: Iterable[Record], channels: list[str]) -> Iterator[list[str]]:
    """Cells of time_ns, asset, each of `channels`, quality. Neighbours that belong together share a line."""
    line: dict[str, str] = {}
    last: tuple[int, str, str] | None = None
    for one in found:
        key = (one.time_ns, one.asset, one.quality)
        if last is not None and (key != last or one.channel in line):
            yield _line(last, line, channels)
            line = {}
        last = key
        line[one.channel] = repr(one.value)
    if last is not None:
        yield _line(last, line, channels)


def _line(key: tuple[int, str, str], line: dict[str, str], channels: list[str]) -> list[str]:
    time_ns, asset, quality = key
    return [str(time_ns), asset, *(line.get(channel, "") for channel in channels), quality]
