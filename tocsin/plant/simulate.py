"""Runs the plant in real time against a broker, until its time is over or it is told to stop."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tocsin.plant.emission import scalar_messages, waveform_message
from tocsin.plant.faults import Fault
from tocsin.plant.ledger import Ledger
from tocsin.plant.machines import Machine, plant
from tocsin.plant.messages import Message, Row
from tocsin.plant.publisher import Broker, Publisher

_WAVEFORM_HZ = 1.0
_DRAIN_S = 10.0


class Summary(NamedTuple):
    """What became of the readings: acknowledged by the broker, or not (messages)."""

    published: int
    unacknowledged: int


def moments(machines: Sequence[Machine], rate_hz: float) -> Iterator[tuple[float, Machine]]:
    """(plant time in s, machine) in order of time, for ever: each machine at `rate_hz`, evenly staggered."""
    for tick in itertools.count():
        for place, machine in enumerate(machines):
            yield (tick + place / len(machines)) / rate_hz, machine


def emit(
    machines: Sequence[Machine], faults: Sequence[Fault], rate_hz: float, start_ns: int
) -> Iterator[tuple[float, list[Message]]]:
    """(plant time in s, what one machine sends then), for ever. Stamps are whole ms, each once a channel."""
    rngs = {machine.asset: machine.rng("sensors") for machine in machines}
    for time_s, machine in moments(machines, rate_hz):
        time_ns = start_ns + round(time_s * 1000) * 1_000_000
        rng = rngs[machine.asset]
        messages = list(scalar_messages(machine, time_s, time_ns, faults, rng))
        if time_s < 1 / rate_hz or int(time_s * _WAVEFORM_HZ) != int((time_s - 1 / rate_hz) * _WAVEFORM_HZ):
            messages.append(waveform_message(machine, time_s, time_ns, faults, rng))
        yield time_s, messages


def simulate(
    broker: Broker,
    faults: Sequence[Fault],
    *,
    seed: int = 0,
    rate_hz: float = 4.0,
    for_s: float | None = None,
    ledger: Path | None = None,
    stop: threading.Event,
) -> Summary:
    """Publish in real time for `for_s` seconds (None: until `stop`), then wait for the last PUBACKs.

    Raises UserError when the broker or the ledger cannot be used.
    """
    published = 0
    with ExitStack() as stack:
        book = stack.enter_context(Ledger(ledger)) if ledger else None

        def acked(rows: tuple[Row, ...]) -> None:
            nonlocal published
            published += len(rows)
            if book:
                book.write(rows)

        publisher = stack.enter_context(Publisher(broker, acked))
        begin_s = time.monotonic()
        start_ns = time.time_ns() // 1_000_000 * 1_000_000
        for time_s, messages in emit(plant(seed), faults, rate_hz, start_ns):
            if for_s is not None and time_s >= for_s:
                break
            if stop.wait(max(0.0, begin_s + time_s - time.monotonic())):
                break
            for message in messages:
                publisher.publish(message)
        publisher.drain(_DRAIN_S)
        return Summary(published, publisher.unacknowledged)
