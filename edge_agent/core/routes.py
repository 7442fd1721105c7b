"""What is known of each topic, and messages of the commonest forms, decoded together as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.decode import Decoder, SimpleDecoder
from edge_agent.core.decode.json_simple import Together
from edge_agent.core.readings import ChannelKey, ReadingsBuilder
from edge_agent.core.sparkplug.topic import Place

_MISSES = 10  # payloads of another form, before a topic's are decoded one by one for good


@dataclass(slots=True)
class Route:
    """What is known of one topic."""

    asset: str
    channel: str | None
    decoder: Decoder
    simple: SimpleDecoder | None  # None: its payloads are of another form
    seed: int
    place: Place | None = None  # of Sparkplug
    others: tuple[SimpleDecoder, ...] = ()  # to be tried when payloads are not of the form of `simple`
    misses: int = 0

    @property
    def key(self) -> ChannelKey:
        """The channel that the topic names."""
        return self.asset, self.channel or ""

    def learn(self, payload: bytes) -> None:
        """A topic whose payload is of another form is tried with that one from now on, but not for ever to and fro."""
        if self.simple is None or self.simple([payload]) is not None:
            return
        self.misses += 1
        fitting = next((form for form in self.others if form([payload]) is not None), None)
        if self.misses >= _MISSES:
            self.simple = None
        elif fitting is not None:
            others = (form for form in self.others if form is not fitting)
            self.simple, self.others = fitting, (*others, self.simple)


class Bounds(NamedTuple):
    """What messages must keep to be taken together; others are looked at one by one."""

    payload_bytes: int
    readings_per_message: int
    earliest_ns: int
    latest_ns: NDArray[np.int64]  # of each message

    def allow(self, together: Together, chosen: Sequence[int]) -> bool:
        """Whether times and numbers are within; `chosen`: the positions of the messages."""
        first_ns = last_ns = together.time_ns
        if together.counts is not None:  # the times of a column ascend
            if together.counts.max() > self.readings_per_message:
                return False
            ends = np.cumsum(together.counts)
            first_ns, last_ns = first_ns[ends - together.counts], last_ns[ends - 1]
        return not ((first_ns < self.earliest_ns) | (last_ns > self.latest_ns[chosen])).any()


def take_together(
    builder: ReadingsBuilder,
    payloads: Sequence[bytes],
    routes: Sequence[Route | None],
    fresh: Sequence[int],
    bounds: Bounds,
) -> list[int]:
    """Decode what is of a simple form; returns the positions of what was taken."""
    taken: list[int] = []
    tried: set[SimpleDecoder] = set()
    while decode := next((r.simple for i in fresh if (r := routes[i]) and r.simple and r.simple not in tried), None):
        tried.add(decode)
        chosen = [
            i for i in fresh if (r := routes[i]) and r.simple is decode and len(payloads[i]) <= bounds.payload_bytes
        ]
        together = decode([payloads[i] for i in chosen]) if chosen else None
        if together is None:
            for i in chosen:
                if route := routes[i]:
                    route.learn(payloads[i])
        elif bounds.allow(together, chosen):
            keys = [r.key for i in chosen if (r := routes[i])]
            builder.add_block(keys, together.time_ns, together.value, np.array(chosen, np.int64), together.counts)
            taken += chosen
        if len(chosen) == len(fresh):
            break
    return taken
