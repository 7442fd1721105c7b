"""What one machine's transmitters send at one moment, as messages. Pure: time and randomness are arguments."""

from collections.abc import Iterator, Sequence

import numpy as np
import orjson

from tocsin.plant.faults import Fault
from tocsin.plant.machines import Machine, readings
from tocsin.plant.messages import Message, Row, packed, single
from tocsin.plant.vibration import SAMPLE_RATE_HZ, features_of, waveforms

_PACKED_KINDS = ("compressor",)  # their controller sends all channels in one message
_SCALAR_DIGITS, _WAVEFORM_DIGITS = 4, 5


def scalar_messages(
    machine: Machine, time_s: float, time_ns: int, faults: Sequence[Fault], rng: np.random.Generator
) -> Iterator[Message]:
    """The scalar channels at plant time `time_s`, stamped with `time_ns`."""
    values = readings(machine, np.array([time_s]), faults, rng)
    rows = tuple(
        Row(machine.asset, channel, time_ns, round(float(value[0]), _SCALAR_DIGITS))
        for channel, value in values.items()
    )
    topic = f"factory/{machine.line}/{machine.asset}"
    if machine.kind in _PACKED_KINDS:
        yield packed(topic, rows)
    else:
        yield from (single(f"{topic}/{row.channel}", row) for row in rows)


def waveform_message(
    machine: Machine, time_s: float, time_ns: int, faults: Sequence[Fault], rng: np.random.Generator
) -> Message:
    """The vibration waveform whose first sample is taken at `time_s`. Its row is the RMS that a reader must find."""
    samples = waveforms(machine, np.array([time_s]), faults, rng).round(_WAVEFORM_DIGITS)
    content = {"ts": time_ns // 1_000_000, "dt": 1 / SAMPLE_RATE_HZ, "values": samples[0].tolist()}
    # The agent keeps waveforms in single precision.
    row = Row(machine.asset, "vibration.rms", time_ns, float(features_of(samples.astype("<f4"))["rms"][0]))
    return Message(f"factory/{machine.line}/{machine.asset}/vibration", orjson.dumps(content), (row,))
