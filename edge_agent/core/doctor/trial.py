"""The samples go through a real intake with the topics of the draft: what it takes, and what it refuses."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edge_agent.config import EdgeConfig
from edge_agent.core.doctor.heard import SAMPLE_BYTES, Heard, Log
from edge_agent.core.doctor.templates import Groups
from edge_agent.core.intake import Intake, Message
from edge_agent.core.readings import ChannelKey, Readings
from models.contract.quality import Quality

_MESSAGES = 20_000  # about so many are tried: one takes some 0.3 ms
_READINGS, _CHANNELS = 2000, 20_000  # kept
_ANY_S = 1e9
_BLOCK = 32  # readings of a channel in each message: it is sampled so fast that it may be a waveform


@dataclass(slots=True)
class ChannelLog:
    """What was read of one channel, in order of arrival."""

    key: ChannelKey
    topics: set[str] = field(default_factory=set)
    count: int = 0
    messages: int = 0
    untimed: int = 0
    values: list[float] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)  # of those with a time of their own …
    arrivals_ns: list[int] = field(default_factory=list)  # … and when they came

    @property
    def is_block(self) -> bool:
        """Whether each message brings many readings at once."""
        return self.count >= _BLOCK * max(1, self.messages)


class Trial(NamedTuple):
    """`refused`: of each topic, how many samples by reason, and the text of the first of each.

    `skipped`: of each topic, values that its settings leave out; `empty`: samples of which nothing else was there.
    """

    channels: dict[ChannelKey, ChannelLog]
    tried: dict[str, int]  # samples of each topic
    taken: int
    refused: dict[str, dict[str, tuple[int, str]]]
    skipped: dict[str, int]
    empty: int


def try_out(log: Log, groups: Groups) -> Trial:
    """Run them through."""
    channels: dict[ChannelKey, ChannelLog] = {}
    counts: dict[str, Counter[str]] = {}
    texts: dict[tuple[str, str], str] = {}
    tried: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    taken = empty = arrival_ns = 0
    if not groups.groups:
        return Trial({}, {}, 0, {}, {}, 0)
    intake = Intake(_config(groups))
    for sample in _chosen(log, groups):
        tried[sample.topic] += 1
        arrival_ns = max(arrival_ns + 1, sample.arrival_ns)
        entry = intake.take([Message(sample.topic, sample.payload, arrival_ns)])
        for letter in entry.deadletters:
            counts.setdefault(sample.topic, Counter())[letter.reason] += 1
            texts.setdefault((sample.topic, letter.reason), letter.text)
        is_empty = bool(entry.skipped) and not len(entry.readings.index)
        empty += is_empty
        taken += not entry.deadletters and not is_empty
        if entry.skipped:
            skipped[sample.topic] += entry.skipped
        _note(channels, sample, entry.readings)
    refused = {
        topic: {reason: (n, texts[topic, reason]) for reason, n in found.items()} for topic, found in counts.items()
    }
    return Trial(channels, dict(tried), taken, refused, dict(skipped), empty)


def _chosen(log: Log, groups: Groups) -> list[Heard]:
    """Of each topic that the draft reads, evenly over the time, and of Sparkplug all; in order of arrival."""
    each = max(2, _MESSAGES // sum(len(group.topics) for group in groups.groups))
    chosen: list[Heard] = []
    for group in groups.groups:
        for topic in group.topics:
            samples = log.topics[topic].samples
            step = 1 if group.reading.format == "sparkplug-b" else -(-len(samples) // each) or 1
            chosen += samples[::step]
    return sorted(chosen, key=lambda sample: sample.arrival_ns)


def _config(groups: Groups) -> EdgeConfig:
    """The topics of the draft, and whatever channels there are, as values."""
    return EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "state",
            "topics": [group.reading.topic(group.template) for group in groups.groups],
            "channels": [{"match": "*/*"}],
            "assets": [{"match": "*"}],
            # Times are judged in findings.py, where it can be said how far they are off.
            "limits": {"payload_bytes": SAMPLE_BYTES, "earliest_time": 0, "future_s": _ANY_S},
        }
    )


def _note(channels: dict[ChannelKey, ChannelLog], sample: Heard, readings: Readings) -> None:
    for number in np.unique(readings.index).tolist():
        key = readings.channels[number]
        if key not in channels and len(channels) >= _CHANNELS:
            continue
        one = channels.setdefault(key, ChannelLog(key))
        mine = readings.index == number
        one.topics.add(sample.topic)
        one.messages += 1
        one.count += int(mine.sum())
        timed = mine & (readings.quality != Quality.UNCERTAIN_ARRIVAL_TIME)
        one.untimed += int((mine & ~timed).sum())
        room = _READINGS - len(one.values)
        one.values += readings.value[mine][:room].tolist()
        times = readings.time_ns[timed][: max(0, _READINGS - len(one.times_ns))].tolist()
        one.times_ns += times
        one.arrivals_ns += [sample.arrival_ns] * len(times)
