"""The data set of a round: a pure function of the seed, in event time of its own.

Six machines of the demo's plant with faults that come and go, so that alarms open and close, and two meters without
a model. What makes a stream hard is in it: waveforms, many channels in one message, spikes, values out of range,
readings that come late (some too late), and messages that come twice.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import numpy as np

from tocsin.plant.emission import scalar_messages, waveform_message
from tocsin.plant.faults import Fault, FaultKind
from tocsin.plant.machines import Machine, plant
from tocsin.plant.messages import Message, Row, packed, single
from tocsin.plant.simulate import moments

START_NS = 1_717_200_000_000_000_000  # 2024-06-01: in the past for every clock that is right
RATE_HZ = 2.0
_MACHINES = ("pump-1", "pump-2", "motor-1", "motor-2", "compressor-1", "compressor-2")
_KINDS: tuple[FaultKind, ...] = ("bearing_wear", "cavitation", "fouling")
_METERS = ("meter-1", "meter-2")
_METER_SECONDS = 0.25  # between two readings of a meter's channel
_SPIKE, _OUT_OF_RANGE = 0.02, 0.01  # chances, per reading of a meter
_LATE, _TOO_LATE, _TWICE = 0.03, 0.01, 0.01  # chances, per message
_RESTATED = 0.5  # of what comes twice: the same readings in other bytes


class Publication(NamedTuple):
    """A message and when it is published, in s of plant time."""

    at_s: float
    message: Message


class DataSet(NamedTuple):
    """All messages in the order of publication, and every reading of a scalar that they state, once."""

    publications: tuple[Publication, ...]
    rows: frozenset[Row]


def data_set(seed: int, seconds: float) -> DataSet:
    """`seconds` of plant time."""
    random = Random(seed)
    sent = [
        Publication(at_s, message) for at_s, message in (*_machines(seed, seconds, random), *_meters(seconds, random))
    ]
    order = sorted(_disturbed(sent, random), key=lambda publication: publication.at_s)
    return DataSet(tuple(order), frozenset(row for publication in sent for row in publication.message.rows))


def _machines(seed: int, seconds: float, random: Random) -> Iterator[tuple[float, Message]]:
    machines = [machine for machine in plant(seed) if machine.asset in _MACHINES]
    spells = [spell for machine in machines for spell in _spells(machine, seconds, random)]
    rngs = {machine.asset: machine.rng("chaos") for machine in machines}
    for time_s, machine in moments(machines, RATE_HZ):
        if time_s >= seconds:
            return
        time_ns = START_NS + round(time_s * 1000) * 1_000_000
        active = [fault for fault, until_s in spells if fault.start_s <= time_s < until_s]
        rng = rngs[machine.asset]
        for message in scalar_messages(machine, time_s, time_ns, active, rng):
            yield time_s, message
        if int(time_s * RATE_HZ) % round(RATE_HZ) == 0:
            yield time_s, waveform_message(machine, time_s, time_ns, active, rng)


def _spells(machine: Machine, seconds: float, random: Random) -> Iterator[tuple[Fault, float]]:
    """A machine's faults with their ends: each comes within s and is repaired after a while."""
    at_s = random.uniform(4.0, 20.0)
    while at_s < seconds:
        until_s = at_s + random.uniform(10.0, 20.0)
        yield Fault(machine.asset, random.choice(_KINDS), start_s=at_s, growth_s=4.0), until_s
        at_s = until_s + random.uniform(10.0, 25.0)


def _meters(seconds: float, random: Random) -> Iterator[tuple[float, Message]]:
    for tick in range(int(seconds / _METER_SECONDS)):
        time_s = tick * _METER_SECONDS
        time_ns = START_NS + round(time_s * 1000) * 1_000_000
        for place, asset in enumerate(_METERS):
            level = 5.0 + 3.0 * np.sin(time_s / 7.0 + place)
            row = Row(asset, "level", time_ns, _measured(level, random))
            yield time_s, single(f"factory/line-3/{asset}/level", row)
            if tick % 2:
                rows = tuple(Row(asset, name, time_ns, _measured(level / 2, random)) for name in ("flow", "power"))
                yield time_s, packed(f"factory/line-3/{asset}", rows)


def _measured(value: float, random: Random) -> float:
    chance = random.random()
    if chance < _OUT_OF_RANGE:
        return -99.0
    return round(float(value) + random.gauss(0.0, 0.05) + (4.0 if chance < _OUT_OF_RANGE + _SPIKE else 0.0), 4)


def _disturbed(sent: Sequence[Publication], random: Random) -> Iterator[Publication]:
    """Some messages come later than they should, some come twice: to the letter, or in other words."""
    for at_s, message in sent:
        chance = random.random()
        if chance < _TOO_LATE:
            delay_s = random.uniform(2.0, 6.0)
        else:
            delay_s = random.uniform(0.1, 0.4) if chance < _TOO_LATE + _LATE else 0.0
        yield Publication(at_s + delay_s, message)
        if random.random() < _TWICE:
            restated = message._replace(payload=message.payload.replace(b"{", b"{ ", 1))
            again = restated if random.random() < _RESTATED else message
            yield Publication(at_s + delay_s + random.uniform(0.0, 3.0), again)
