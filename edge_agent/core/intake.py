"""From raw messages to one journal entry: match the topic, decode, check; what fails is a dead letter.

Pure: the same messages give the same entry. A message counts whole or not at all.
"""

from typing import NamedTuple

from edge_agent.config import EdgeConfig
from edge_agent.core.decode import DECODERS, Decoder
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import ChannelKey, Decoded, Readings, ReadingsBuilder, Waveform
from edge_agent.core.topics import TopicTemplate


class Message(NamedTuple):
    """One message as the link received it."""

    topic: str
    payload: bytes
    arrival_ns: int  # by the agent's clock: ascends strictly, so that no two messages share one
    ticket: object = None  # the link's own: what it needs to acknowledge the message
    packet_id: int = 0  # of this delivery; 0 = QoS 0
    is_again: bool = False  # the broker says that it sent this before, in this very session


class DeadLetter(NamedTuple):
    """A message that can never be used. `head`: the first bytes of the payload."""

    arrival_ns: int
    topic: str
    reason: str
    text: str
    size_bytes: int
    head: bytes


class Entry(NamedTuple):
    """What a group of messages comes to."""

    readings: Readings
    waveforms: list[Waveform]
    deadletters: list[DeadLetter]


HEAD_BYTES = 256
TOPIC_CHARS, TEXT_CHARS = 1000, 500  # a dead letter is small, whatever the sender made up


class Intake:
    """Decodes by the configuration's topics, channels and limits."""

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self._limits = config.limits
        self._routes = [(TopicTemplate.parse(topic.template), DECODERS[topic.format]) for topic in config.topics]
        self._topics: dict[str, tuple[str, str | None, Decoder]] = {}  # a cache: topics repeat
        self._kinds: dict[ChannelKey, str] = {}  # of known channels only

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        return [template.filter for template, _ in self._routes]

    def take(self, messages: list[Message]) -> Entry:
        """Decode all; never raises."""
        builder, dead = ReadingsBuilder(), []
        for message in messages:
            try:
                builder.add(self._decode(message), message.arrival_ns)
            except DecodeError as error:
                head, size = message.payload[:HEAD_BYTES], len(message.payload)
                topic, text = message.topic[:TOPIC_CHARS], str(error)[:TEXT_CHARS]
                dead.append(DeadLetter(message.arrival_ns, topic, error.reason, text, size, head))
        return Entry(builder.build(), builder.waveforms, dead)

    def _decode(self, message: Message) -> Decoded:
        if len(message.payload) > self._limits.payload_bytes:
            text = f"{len(message.payload)} bytes; limits.payload_bytes allows {self._limits.payload_bytes}"
            raise DecodeError("too_large", text)
        asset, channel, decoder = self._route(message.topic)
        decoded = decoder(message.payload, asset, channel, message.arrival_ns)
        count = len(decoded.values) + sum(len(w.samples) // 4 for w in decoded.waveforms)
        if count > self._limits.readings_per_message:
            text = f"{count} readings; limits.readings_per_message allows {self._limits.readings_per_message}"
            raise DecodeError("too_many", text)
        for key, time_ns, _ in decoded.values:
            self._check(key, time_ns, message.arrival_ns, "value")
        for waveform in decoded.waveforms:
            self._check(waveform.channel, waveform.time_ns, message.arrival_ns, "waveform")
        return decoded

    def _route(self, topic: str) -> tuple[str, str | None, Decoder]:
        if topic not in self._topics:
            for template, decoder in self._routes:
                found = template.read(topic)
                if found is not None:
                    if len(self._topics) >= 100_000:  # a sender that invents topics must not fill the memory
                        self._topics.clear()
                    self._topics[topic] = (*found, decoder)
                    break
            else:
                raise DecodeError("topic", f"topic {topic!r} fits no template of the configuration")
        return self._topics[topic]

    def _check(self, key: ChannelKey, time_ns: int | None, arrival_ns: int, kind: str) -> None:
        known = self._kinds.get(key)
        if known is None:
            rule = self._config.channel_rule(*key)
            if rule is None:
                raise DecodeError("unknown_channel", f"channel {'/'.join(key)!r} fits no [[channels]] rule")
            known = self._kinds[key] = rule.kind
        if known != kind:
            raise DecodeError("kind", f"channel {'/'.join(key)!r} is declared a {known}; this is a {kind}")
        if time_ns is not None:
            self._check_time(time_ns, arrival_ns)

    def _check_time(self, time_ns: int, arrival_ns: int) -> None:
        earliest_ns = self._limits.earliest_time * 1_000_000_000
        # A gateway whose own clock is off (1970 after a dead battery) cannot judge what lies ahead of it.
        latest_ns = arrival_ns + int(self._limits.future_s * 1e9) if arrival_ns > earliest_ns else 1 << 62
        if not earliest_ns <= time_ns <= latest_ns:
            allowed = f"{earliest_ns} to {latest_ns} (limits.earliest_time, limits.future_s)"
            text = f"event time {time_ns} ns lies outside {allowed}"
            raise DecodeError("time_range", text)
