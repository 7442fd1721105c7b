"""The retained states of all gateways, read from the broker.

A broker keeps only so many messages for a client that is slower than it and drops the others, retained ones too
(Mosquitto: `max_queued_messages`, 1000 if not set otherwise). So all are asked for in one go first, and then those
gateways by name that are known from elsewhere and have not come, as long as that brings any. Mosquitto drops its
answer to a subscription in the same way, while it serves the subscription itself: a missing one is no fault.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

import aiomqtt

from aggregator.adapters.uplink import broker_address
from aggregator.config import Broker
from models.broker import Client, connection
from models.contract.batch import ContractError
from models.contract.state import State, decode_state
from models.contract.topics import PREFIX, parse, subscription

_FIRST_S = 2.0  # until the first must have come
_QUIET_S = 0.3  # behind the last one: a broker sends what it retains without a pause
_NAMED_S = 1.0  # silence, while some that are known have not come
_MOST_S = 60.0
_AT_ONCE = 250  # what a broker surely keeps for us
_ROUNDS = 5
Gateway = tuple[str, str]  # site, gateway


class States:
    """What came so far."""

    def __init__(self) -> None:
        self.known: dict[Gateway, State] = {}
        self.unreadable: set[Gateway] = set()

    def put(self, message: aiomqtt.Message) -> None:
        """The newest of each gateway counts; an empty one takes it away."""
        place = parse(str(message.topic))
        if place is None:
            return
        name = place[:2]
        self.known.pop(name, None)
        self.unreadable.discard(name)
        try:
            if message.payload:
                self.known[name] = decode_state(message.payload)
        except ContractError:
            self.unreadable.add(name)


async def read_states(config: Broker, expected: Iterable[Gateway] = ()) -> States:
    """All that the broker retains; at least those of `expected`, if it retains them.

    Raises BrokerError, OSError when the broker cannot be asked, ConfigError when a secret cannot be read.
    """
    states = States()
    # A name of its own: with the aggregator's, the broker would throw that one out.
    async with connection(Client(broker_address(config)._replace(identifier=None))) as client:
        # At QoS 1 even fewer are kept.
        await client.listen(subscription("state"), qos=0)
        await _receive(client, states)
        wanted = {*expected}
        for _ in range(_ROUNDS):
            missing, known, answered = _topics(wanted - {*states.known}), len(states.known), True
            for start in range(0, len(missing), _AT_ONCE):
                names = missing[start : start + _AT_ONCE]
                answered &= await _subscribed(client, names)
                await _receive(client, states, names)
            if answered and len(states.known) == known:
                break
    return states


async def _subscribed(client: Client, topics: Sequence[str]) -> bool:
    """Whether the broker answered. A connection that is gone shows when the next message is asked for."""
    try:
        await client.subscribe([(topic, 0) for topic in topics], timeout=_NAMED_S)
    except aiomqtt.MqttError:
        return False
    return True


def _topics(gateways: Iterable[Gateway]) -> list[str]:
    names = [f"{PREFIX}/{site}/{gateway}/state" for site, gateway in sorted(gateways)]
    return [name for name in names if parse(name)]


async def _receive(client: Client, states: States, topics: Sequence[str] = ()) -> None:
    """Until all of `topics` have come, or no retained one for a while; changes while we look are not waited for."""
    first_s, quiet_s = (_NAMED_S, _NAMED_S) if topics else (_FIRST_S, _QUIET_S)
    begun_s = time.monotonic()
    until_s = begun_s + first_s
    awaited = set(topics)
    messages = aiter(client.messages)
    while (now_s := time.monotonic()) < min(until_s, begun_s + _MOST_S):
        try:
            message = await asyncio.wait_for(anext(messages), until_s - now_s)
        except TimeoutError:
            return
        if message.retain:
            until_s = time.monotonic() + quiet_s
        states.put(message)
        awaited.discard(str(message.topic))
        if topics and not awaited:
            return
