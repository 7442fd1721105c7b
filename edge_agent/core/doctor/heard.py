"""What is kept of the messages while the doctor listens: numbers of each topic, and a few messages whole.

Bounded whatever comes: topics, samples a topic, and the bytes of all samples. The samples of a topic lie evenly over
the time: every message at first, then every second, fourth … Those of Sparkplug are the first ones without a gap, for
each message there builds on those before it.
"""

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.sparkplug.topic import NAMESPACE
from models.contract.topics import PREFIX

SAMPLE_BYTES = 1024 * 1024  # a longer message is counted, and not kept
_TOPICS = 5000
_SAMPLES, _INTERVALS = 200, 1000  # a topic
_ALL_BYTES = 64 * 1024 * 1024


class Heard(NamedTuple):
    """One message as it was heard. `is_retained`: the broker had it in store; it was not sent just now."""

    topic: str
    payload: bytes
    arrival_ns: int
    qos: int
    is_retained: bool


@dataclass(slots=True)
class TopicLog:
    """One topic. What was retained counts apart: it says nothing of rates."""

    topic: str
    retained: int = 0
    live: int = 0
    size_bytes: int = 0  # of all
    longest_bytes: int = 0
    repeated: int = 0  # live messages that say, to the byte, what the one before said
    qos: list[int] = field(default_factory=lambda: [0, 0, 0])  # live messages by QoS
    intervals_ns: list[int] = field(default_factory=list)  # between the first live ones
    samples: list[Heard] = field(default_factory=list)
    last_ns: int = 0
    _last_payload: int = -1
    _stride: int = 1

    @property
    def count(self) -> int:
        """Messages."""
        return self.retained + self.live

    def add(self, heard: Heard) -> None:
        """Count it."""
        self.size_bytes += len(heard.payload)
        self.longest_bytes = max(self.longest_bytes, len(heard.payload))
        if heard.is_retained:
            self.retained += 1
            return
        said = zlib.crc32(heard.payload)
        self.repeated += said == self._last_payload
        self._last_payload = said
        self.qos[heard.qos] += 1
        if self.live and len(self.intervals_ns) < _INTERVALS:
            self.intervals_ns.append(heard.arrival_ns - self.last_ns)
        self.live, self.last_ns = self.live + 1, heard.arrival_ns

    def keep(self, heard: Heard) -> int:
        """Keep it as a sample if its turn has come; returns by how many bytes more the samples are."""
        if (self.count - 1) % self._stride:
            return 0
        if len(self.samples) < _SAMPLES:
            self.samples.append(heard)
            return len(heard.payload)
        if self.topic.startswith(NAMESPACE + "/"):
            return 0
        gone = self.samples[1::2]
        self.samples, self._stride = self.samples[::2], 2 * self._stride
        more = -sum(len(sample.payload) for sample in gone)
        return more + self.keep(heard)


class Log:
    """All topics. `unlogged`: messages of topics beyond the bound; `own`: Tocsin's own, not counted else."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicLog] = {}
        self.count = self.unlogged = self.own = 0
        self._sample_bytes = 0

    def add(self, heard: Heard) -> None:
        """Take notice of a message."""
        if heard.topic.startswith(PREFIX + "/"):
            self.own += 1
            return
        self.count += 1
        one = self.topics.get(heard.topic)
        if one is None:
            if len(self.topics) >= _TOPICS:
                self.unlogged += 1
                return
            one = self.topics[heard.topic] = TopicLog(heard.topic)
        one.add(heard)
        if len(heard.payload) <= min(SAMPLE_BYTES, _ALL_BYTES - self._sample_bytes):
            self._sample_bytes += one.keep(heard)

    def samples(self) -> list[Heard]:
        """Of all topics, in order of arrival."""
        return sorted((s for one in self.topics.values() for s in one.samples), key=lambda sample: sample.arrival_ns)
