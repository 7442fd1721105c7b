"""Sparkplug B: its messages are decoded by what earlier ones have said (see edge_agent/core/sparkplug)."""

import math
from collections.abc import Callable

from edge_agent.config import EdgeConfig, Topic
from edge_agent.core.readings import Decoded
from edge_agent.core.sparkplug.host import Host
from edge_agent.core.sparkplug.topic import Place, Settings


def settings_of(topic: Topic) -> Settings:
    """What the topic sets."""
    return Settings(topic.assets, round(topic.reorder_timeout_s * 1e9), topic.states)


def sparkplug_decoder(
    host: Host, place: Place, settings: Settings, config: EdgeConfig
) -> Callable[[bytes, str, str | None, int], Decoded]:
    """A decoder of the messages of one topic. It raises DecodeError, and nothing else, whatever the bytes.

    Marks of channels that no rule of the configuration knows are left out: none of their readings was taken either.
    """

    def decode(payload: bytes, _asset: str, _channel: str | None, arrival_ns: int) -> Decoded:
        decoded = host.take(place, payload, arrival_ns, settings)
        if not any(math.isnan(value.value) for value in decoded.values):
            return decoded
        return decoded._replace(
            values=[v for v in decoded.values if not math.isnan(v.value) or config.channel_rule(*v.channel) is not None]
        )

    return decode
