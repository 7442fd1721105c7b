"""Sparkplug B: its messages are decoded by what earlier ones have said (see edge_agent/core/sparkplug)."""

from collections.abc import Callable

from edge_agent.config import Topic
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value
from edge_agent.core.sparkplug.host import Host
from edge_agent.core.sparkplug.topic import Place, Settings

_UNDECLARED = frozenset({"unknown_channel", "kind", "channel"})  # what `check` says of a channel, whatever its values


def settings_of(topic: Topic) -> Settings:
    """What the topic sets."""
    return Settings(topic.assets, round(topic.reorder_timeout_s * 1e9), topic.states)


def sparkplug_decoder(host: Host, place: Place, settings: Settings) -> Callable[[bytes, str, str | None, int], Decoded]:
    """A decoder of the messages of one topic. It raises DecodeError, and nothing else, whatever the bytes."""

    def decode(payload: bytes, _asset: str, _channel: str | None, arrival_ns: int) -> Decoded:
        return host.take(place, payload, arrival_ns, settings)

    return decode


def storable(place: Place, decoded: Decoded, check: Callable[[Value, int], None]) -> Decoded:
    """What can be stored of a message. `check` raises DecodeError; its number: how many values stand before.

    An edge node, and not the configuration, chooses the metrics: those of channels that none is declared for are left
    out. Of a birth, which has taken effect already, whatever cannot be stored is left out, and told. Raises
    DecodeError where data has another fault: it changes nothing, and can be taken again as a whole.
    """
    is_birth = place.kind.endswith("BIRTH")
    kept: list[Value] = []
    first: DecodeError | None = None
    for value in decoded.values:
        try:
            check(value, len(kept))
        except DecodeError as error:
            if not is_birth and error.reason not in _UNDECLARED:
                raise
            first = first or error
        else:
            kept.append(value)
    if first is None:
        return decoded
    count = len(decoded.values) - len(kept)
    text = f"this birth is taken, but for {count} of its values; the first: {first}" if is_birth else ""
    return decoded._replace(values=kept, skipped=decoded.skipped + count, left_out=text)
