"""From raw messages to one journal entry: match the topic, leave out repetitions, decode, check.

Pure: the same messages give the same entry. A message counts whole or not at all, apart from values that its topic's
settings leave out, and from what Sparkplug's leave out (decode/sparkplug.py); what fails is a dead letter. Messages of
the commonest forms are decoded together; the others one by one, with the same outcome.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.core.decode import decoder_of, simple_decoders_of
from edge_agent.core.decode.sparkplug import settings_of, sparkplug_decoder, storable
from edge_agent.core.derive.names import is_virtual
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import ChannelKey, Column, Decoded, Readings, ReadingsBuilder, Value, Waveform
from edge_agent.core.recent import Recent, message_keys, topic_seed
from edge_agent.core.routes import Bounds, Route, take_together
from edge_agent.core.sparkplug.host import Host
from edge_agent.core.sparkplug.topic import SparkplugTemplate
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
    """A message that cannot be used as things stand. `head`: the first bytes of the payload.

    `payload`: the whole of it, for another try once configuration or sender are mended; None: not kept.
    """

    arrival_ns: int
    topic: str
    reason: str
    text: str
    size_bytes: int
    head: bytes
    payload: bytes | None = None


class Entry(NamedTuple):
    """What a group of messages comes to. `keys` and `packet_ids`: of the messages that are in it, for `Recent`."""

    readings: Readings
    waveforms: list[Waveform]
    deadletters: list[DeadLetter]
    keys: list[int]
    packet_ids: list[int]
    repeated: int
    skipped: int = 0  # values that the topics' settings leave out


HEAD_BYTES = 256
TOPIC_CHARS, TEXT_CHARS = 1000, 500  # a dead letter is small, whatever the sender made up
_MAX_TOPICS = 100_000  # remembered: a sender that invents topics must not fill the memory
_MAX_CHANNELS = 100_000  # nor one that invents channels
_NAME_CHARS = 1000  # of asset and channel together
_NO_LIMIT_NS = 1 << 62


class Intake:
    """Decodes by the configuration's topics, channels and limits.

    `recent` knows what is in the journal, `host` what Sparkplug nodes have said: both outlive a configuration.
    """

    def __init__(self, config: EdgeConfig, recent: Recent | None = None, host: Host | None = None) -> None:
        self._config = config
        self._limits = config.limits
        self.earliest_ns = self._limits.earliest_time * 1_000_000_000
        self._recent = recent or Recent()
        self._templates = [
            (
                TopicTemplate.parse(topic.template),
                decoder_of(topic, config.limits.payload_bytes),
                simple_decoders_of(topic),
            )
            for topic in config.topics
            if topic.format != "sparkplug-b"
        ]
        self._host = host or Host()
        self._sparkplug = [
            (SparkplugTemplate.parse(topic.template), settings_of(topic))
            for topic in config.topics
            if topic.format == "sparkplug-b"
        ]
        self._routes: dict[str, Route | None] = {}
        self._kinds: dict[ChannelKey, str] = {}  # of known channels only

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        of_nodes = [name for template, _ in self._sparkplug for name in template.filters]
        return [template.filter for template, *_ in self._templates] + of_nodes

    def take(self, messages: Sequence[Message], *, is_clock_behind: bool = False) -> Entry:
        """Decode all; never raises. `is_clock_behind`: the gateway cannot tell what lies in the future."""
        known = self._routes
        routes = [known[m.topic] if m.topic in known else self._find(m.topic) for m in messages]
        keys = message_keys([m.payload for m in messages], [route.seed if route else 0 for route in routes])
        latest_ns = self._latest_ns(messages, is_clock_behind=is_clock_behind)
        fresh = self._fresh(messages, routes, keys)
        builder, dead, skipped = ReadingsBuilder(), [], 0
        bounds = Bounds(self._limits.payload_bytes, self._limits.readings_per_message, self.earliest_ns, latest_ns)
        taken = take_together(builder, [message.payload for message in messages], routes, fresh, bounds)
        rest = fresh if not taken else sorted(set(fresh).difference(taken))
        for i in rest:
            message = messages[i]
            try:
                decoded = self._decode(message, routes[i], int(latest_ns[i]))
            except DecodeError as error:
                dead.append(_letter(message, error.reason, str(error)))
            else:
                builder.add(decoded, message.arrival_ns, i)
                taken.append(i)
                skipped += decoded.skipped
                if decoded.left_out:
                    dead.append(_letter(message, "left_out", decoded.left_out))
            if self._host.marks:
                builder.add(self._marks(message.arrival_ns, int(latest_ns[i])), message.arrival_ns, i)
        readings, waveforms = builder.build()
        packet_ids = [messages[i].packet_id for i in taken]
        repeated = len(messages) - len(fresh)
        return Entry(readings, waveforms, dead, [keys[i] for i in taken], packet_ids, repeated, skipped)

    def _fresh(self, messages: Sequence[Message], routes: Sequence[Route | None], keys: list[int]) -> Sequence[int]:
        """The positions of messages that are not repetitions."""
        if self._recent.knows_none(keys):
            return range(len(messages))
        fresh: list[int] = []
        here: dict[int, int] = {}  # packet ids of these messages -> keys
        said = set[int]()
        for i, (message, key) in enumerate(zip(messages, keys, strict=True)):
            is_known = key in said or key in self._recent
            was_delivered = here.get(message.packet_id) == key or self._recent.was_delivered(key, message.packet_id)
            if not is_known or not self._is_repetition(message, routes[i], was_delivered=was_delivered):
                fresh.append(i)
            said.add(key)
            if message.packet_id:
                here[message.packet_id] = key
        return fresh

    def _is_repetition(self, message: Message, route: Route | None, *, was_delivered: bool) -> bool:
        """Of a message that says what an earlier one said; `was_delivered`: under this packet id."""
        if message.is_again and was_delivered:
            return True
        try:
            if route is not None and route.place is not None:
                return self._host.is_repetition(route.place, message.payload)
            return self._decode(message, route, _NO_LIMIT_NS).is_timed
        except DecodeError:
            return False

    def _find(self, topic: str) -> Route | None:
        """The topic's route; None: it fits no template."""
        if len(self._routes) >= _MAX_TOPICS:
            self._routes.clear()
        route = self._find_node(topic)
        for template, decoder, simple in self._templates if route is None else ():
            place = template.read(topic)
            if place is not None:
                asset, channel = place
                rule = self._config.channel_rule(asset, channel) if channel is not None else None
                is_plain = rule is not None and rule.kind == "value" and not self._is_virtual(asset, channel)
                forms = simple if is_plain else ()
                route = Route(asset, channel, decoder, next(iter(forms), None), topic_seed(topic), others=forms[1:])
                break
        self._routes[topic] = route
        return route

    def _find_node(self, topic: str) -> Route | None:
        """The topic's route, when it is one of Sparkplug."""
        for template, settings in self._sparkplug:
            place = template.read(topic)
            if place is not None:
                decoder = sparkplug_decoder(self._host, place, settings)
                return Route(place.asset(settings.assets), None, decoder, None, topic_seed(topic), place)
        return None

    def _decode(self, message: Message, route: Route | None, latest_ns: int) -> Decoded:
        if len(message.payload) > self._limits.payload_bytes:
            text = f"{len(message.payload)} bytes; limits.payload_bytes allows {self._limits.payload_bytes}"
            raise DecodeError("too_large", text)
        if route is None:
            raise DecodeError(
                "topic",
                f"topic {message.topic!r} fits no template of the configuration (a subscription of an earlier one?)",
            )
        decoded = route.decoder(message.payload, route.asset, route.channel, message.arrival_ns)
        if route.place is not None:
            return storable(route.place, decoded, partial(self._check_metric, latest_ns))
        self._check_count(len(decoded.values) + sum(len(column.value) for column in decoded.columns))
        for value in decoded.values:
            self._check(value, latest_ns)
        if not decoded.columns:
            return decoded
        for column in decoded.columns:
            self._check_time(int(column.time_ns.min()), latest_ns)
            self._check_time(int(column.time_ns.max()), latest_ns)
        is_waveform = [self._kind(column.channel) == "waveform" for column in decoded.columns]
        return decoded._replace(
            columns=[c for c, is_one in zip(decoded.columns, is_waveform, strict=True) if not is_one],
            waveforms=[_waveform(c) for c, is_one in zip(decoded.columns, is_waveform, strict=True) if is_one],
        )

    def _check(self, value: Value, latest_ns: int) -> None:
        if self._kind(value.channel) != "value":
            text = f"channel {'/'.join(value.channel)!r} is declared a waveform; this is a value"
            raise DecodeError("kind", text)
        if value.time_ns is not None:
            self._check_time(value.time_ns, latest_ns)

    def _check_metric(self, latest_ns: int, value: Value, before: int) -> None:
        """`before`: how many of the same message stand before it."""
        self._check(value, latest_ns)
        self._check_count(before + 1)

    def _check_count(self, count: int) -> None:
        if count > self._limits.readings_per_message:
            text = f"{count} readings; limits.readings_per_message allows {self._limits.readings_per_message}"
            raise DecodeError("too_many", text)

    def _marks(self, arrival_ns: int, latest_ns: int) -> Decoded:
        """What became stale by a message, even by one that is refused; the arrival for a time that cannot be."""
        marks = [
            mark if self.earliest_ns <= (mark.time_ns or 0) <= latest_ns else mark._replace(time_ns=arrival_ns)
            for mark in self._host.marks
            if self._is_stored(mark.channel)
        ]
        self._host.marks.clear()
        return Decoded(marks, [], is_timed=False)

    def _is_stored(self, key: ChannelKey) -> bool:
        try:
            return self._kind(key) == "value"
        except DecodeError:
            return False

    def _kind(self, key: ChannelKey) -> str:
        known = self._kinds.get(key)
        if known is None:
            if len(key[0]) + len(key[1]) > _NAME_CHARS:
                raise DecodeError("channel", f"a name of more than {_NAME_CHARS} characters: {key[1]:.100}")
            rule = self._config.channel_rule(*key)
            if rule is None:
                raise DecodeError("unknown_channel", f"channel {'/'.join(key)!r} fits no [[channels]] rule")
            if self._is_virtual(*key):
                text = f"channel {'/'.join(key)!r} is derived by its [[assets]] rule: one of the two needs another name"
                raise DecodeError("kind", text)
            if len(self._kinds) >= _MAX_CHANNELS:
                self._kinds.clear()
            known = self._kinds[key] = rule.kind
        return known

    def _is_virtual(self, asset: str, channel: str | None) -> bool:
        rule = self._config.asset_rule(asset)
        return rule is not None and channel is not None and is_virtual(rule, channel)

    def _check_time(self, time_ns: int, latest_ns: int) -> None:
        if not self.earliest_ns <= time_ns <= latest_ns:
            allowed = f"{self.earliest_ns} to {latest_ns} (limits.earliest_time, limits.future_s)"
            text = f"event time {time_ns} ns lies outside {allowed}"
            raise DecodeError("time_range", text)

    def _latest_ns(self, messages: Sequence[Message], *, is_clock_behind: bool) -> NDArray[np.int64]:
        """The latest event time allowed in each. A clock that was set back, or reads 1970, cannot judge the future."""
        if is_clock_behind:
            return np.full(len(messages), _NO_LIMIT_NS)
        arrival_ns = np.array([message.arrival_ns for message in messages], np.int64)
        ahead_ns = int(self._limits.future_s * 1e9)
        return np.where(arrival_ns > self.earliest_ns, arrival_ns + ahead_ns, _NO_LIMIT_NS)


def _letter(message: Message, reason: str, text: str) -> DeadLetter:
    head, size = message.payload[:HEAD_BYTES], len(message.payload)
    return DeadLetter(message.arrival_ns, message.topic[:TOPIC_CHARS], reason, text[:TEXT_CHARS], size, head)


def _waveform(column: Column) -> Waveform:
    """Raises DecodeError."""
    name = "/".join(column.channel)
    if not column.dt_ns:
        text = f"channel {name!r} is declared a waveform, whose samples are equally far apart: `dt`, and none left out"
        raise DecodeError("kind", text)
    with np.errstate(over="ignore"):
        samples = column.value.astype("<f4")
    if not np.isfinite(samples).all():
        raise DecodeError("value", f"channel {name!r}: a sample is beyond float32")
    return Waveform(
        channel=column.channel,
        time_ns=int(column.time_ns[0]),
        dt_ns=column.dt_ns,
        samples=samples.tobytes(),
        quality=column.quality,
    )
