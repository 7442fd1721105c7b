"""Waveforms become readings: the features of each, put in where the waveform stood among the readings of its entry.

All waveforms of a step that have the same rule, length and rate are worked on as one block. What is remembered is the
last speed of each shaft that a rule names a channel for.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.entries import Data
from edge_agent.core.features.extract import WaveformFeatures
from edge_agent.core.readings import ChannelKey, Readings, Waveform
from models.contract.quality import BAD_FROM

_Block = tuple[str, int, int]  # rule as JSON, bytes of samples, dt_ns
_Place = tuple[int, int, float]  # entry, waveform in it, speed in rpm
_Given = tuple[int, str, float]  # waveform in its entry, feature, value


class Waveforms:
    """The features of all waveform channels."""

    def __init__(self) -> None:
        self._config: EdgeConfig | None = None
        self._rules: dict[ChannelKey, tuple[str, WaveformRule]] = {}
        self._features: dict[str, WaveformFeatures] = {}
        self.notes_speeds = False
        self._speeds_rpm: dict[ChannelKey, float] = {}

    def settle(self, config: EdgeConfig) -> None:
        """Take over a configuration; known speeds stay known."""
        self._config, self._rules, self._features = config, {}, {}
        self.notes_speeds = any(rule.waveform.speed_channel for rule in config.channels)

    def readings(self, entries: Sequence[Data]) -> list[Readings]:
        """The readings of each entry, those of its waveforms among them."""
        plain = [entry.readings() for entry in entries]
        blocks: dict[_Block, list[_Place]] = {}
        for number, (entry, readings) in enumerate(zip(entries, plain, strict=True)):
            for nth, waveform in enumerate(entry.waveforms):
                key, rule = self._rule(waveform.channel)
                place = (number, nth, self._speed_rpm(rule, waveform, readings))
                blocks.setdefault((key, len(waveform.samples), waveform.dt_ns), []).append(place)
            if self.notes_speeds:
                self._note_speeds(readings)
        given: list[list[_Given]] = [[] for _ in entries]
        for (key, _, dt_ns), places in blocks.items():
            samples = np.stack([np.frombuffer(entries[n].waveforms[nth].samples, "<f4") for n, nth, _ in places])
            for i, name, value in self._taken(self._features[key], dt_ns, samples, [rpm for *_, rpm in places]):
                number, nth, _ = places[i]
                given[number].append((nth, name, value))
        return [
            _inserted(readings, entry.waveforms, sorted(features, key=itemgetter(0))) if features else readings
            for entry, readings, features in zip(entries, plain, given, strict=True)
        ]

    @staticmethod
    def _taken(
        features: WaveformFeatures, dt_ns: int, samples: NDArray[np.float32], speeds_rpm: list[float]
    ) -> Iterator[_Given]:
        columns = features.step(samples, dt_ns, np.array(speeds_rpm) if features.needs_speeds else None)
        for i in range(len(samples)):
            for name, column in columns.items():
                if not np.isnan(column[i]):
                    yield i, name, float(column[i])

    def _rule(self, channel: ChannelKey) -> tuple[str, WaveformRule]:
        found = self._rules.get(channel)
        if found is None:
            declared = self._config.channel_rule(*channel) if self._config else None
            rule = declared.waveform if declared else WaveformRule()
            found = self._rules[channel] = rule.model_dump_json(), rule
            self._features.setdefault(found[0], WaveformFeatures(rule))
        return found

    def _speed_rpm(self, rule: WaveformRule, waveform: Waveform, readings: Readings) -> float:
        """The last speed that came before the waveform; NaN: none did, or the rule names no channel."""
        if rule.speed_channel is None:
            return np.nan
        key = (waveform.channel[0], rule.speed_channel)
        if key in readings.channels:
            sound = np.isfinite(readings.value) & (readings.quality < BAD_FROM)
            mine = (readings.index == readings.channels.index(key)) & sound
            before = np.flatnonzero(mine[: waveform.position])
            if len(before):
                return float(readings.value[before[-1]])
        return self._speeds_rpm.get(key, np.nan)

    def _note_speeds(self, readings: Readings) -> None:
        wanted = {rule.waveform.speed_channel for rule in self._config.channels} if self._config else set()
        for number, key in enumerate(readings.channels):
            if key[1] in wanted:
                sound = np.isfinite(readings.value) & (readings.quality < BAD_FROM) & (readings.index == number)
                at = np.flatnonzero(sound)
                if len(at):
                    self._speeds_rpm[key] = float(readings.value[at[-1]])

    def snapshot(self) -> list[Any]:
        """The speeds as plain values."""
        return [[*key, speed_rpm] for key, speed_rpm in self._speeds_rpm.items()]

    def restore(self, saved: list[Any]) -> None:
        """The reverse."""
        self._speeds_rpm = {(asset, channel): speed_rpm for asset, channel, speed_rpm in saved}


def _inserted(readings: Readings, waveforms: Sequence[Waveform], given: list[_Given]) -> Readings:
    """With the features as readings at the place of their waveform; those of one place in the order of `given`."""
    numbers = {key: i for i, key in enumerate(readings.channels)}
    index: list[int] = []
    for nth, name, _ in given:
        asset, channel = waveforms[nth].channel
        index.append(numbers.setdefault((asset, f"{channel}.{name}"), len(numbers)))
    position = np.array([waveforms[nth].position for nth, *_ in given], np.int64)
    return Readings(
        list(numbers),
        np.insert(readings.index, position, index),
        np.insert(readings.time_ns, position, [waveforms[nth].time_ns for nth, *_ in given]),
        np.insert(readings.value, position, [value for *_, value in given]),
        np.insert(readings.quality, position, [waveforms[nth].quality for nth, *_ in given]),
    )
