"""The machines and their physics, as functions of time.

    load cycle ─▶ speed ─▶ current (speed³), pressure (speed²), shaft vibration
        └─ first-order lag ─▶ temperature, and the pressure of a compressor's receiver

The load is a sum of two sine waves, so its first-order lag has a closed form and no state is kept: any
moment can be asked for by itself. Noise comes from the generator handed in; the same seed gives the same.
"""

import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.plant.faults import Fault, severity

Kind = Literal["pump", "motor", "compressor"]
Floats = NDArray[np.float64]

UNITS = {"temperature": "degC", "pressure": "bar", "current": "A", "speed": "rpm"}
_NOISE = {"temperature": 0.15, "pressure": 0.03, "current": 0.25, "speed": 3.0}  # standard deviation, in the unit
_SPIKE_CHANCE = 0.003  # per reading: a disturbed transmitter
_SPIKE_NOISES = 40.0  # height of a spike, in standard deviations of the noise

_LOAD_MEAN = 0.7
_LOAD_SWINGS = ((0.18, 23.0), (0.07, 9.1))  # (amplitude, period_s)
_HEATING_S = 20.0  # thermal time constant; the demo's machines are small, so that faults show in seconds
_RECEIVER_S = 4.0
_AMBIENT_DEGC = 22.0


class Rating(NamedTuple):
    """Values at full speed and full load. A motor moves no fluid: its pressure is 0 and not measured."""

    speed_rpm: float
    current_a: float
    pressure_bar: float
    heating_k: float


_RATINGS: dict[Kind, Rating] = {
    "pump": Rating(1480.0, 62.0, 6.5, 42.0),
    "motor": Rating(2960.0, 85.0, 0.0, 55.0),
    "compressor": Rating(1480.0, 120.0, 8.0, 68.0),
}
_COUNTS: dict[Kind, int] = {"pump": 5, "motor": 4, "compressor": 3}


class Machine(NamedTuple):
    """One asset. `seed` fixes its load phases and its small differences from others of its kind."""

    asset: str
    kind: Kind
    line: str
    seed: int

    @property
    def channels(self) -> tuple[str, ...]:
        """The scalar channels, in a fixed order."""
        return tuple(name for name in UNITS if name != "pressure" or self.kind != "motor")

    def rng(self, purpose: str) -> np.random.Generator:
        """A reproducible source of randomness for one purpose, independent of all others."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.asset}/{purpose}".encode())])


def plant(seed: int) -> tuple[Machine, ...]:
    """The twelve machines on two lines."""
    assets = [(kind, f"{kind}-{number}") for kind, count in _COUNTS.items() for number in range(1, count + 1)]
    return tuple(Machine(asset, kind, f"line-{1 + i % 2}", seed) for i, (kind, asset) in enumerate(assets))


def load(machine: Machine, times_s: Floats, lag_s: float = 0.0) -> Floats:
    """Load at each time, 0 to 1; with `lag_s` as a first-order system of that time constant follows it."""
    phases = machine.rng("load").uniform(0.0, 2 * np.pi, len(_LOAD_SWINGS))
    total = np.full(times_s.shape, _LOAD_MEAN)
    for (amplitude, period_s), phase in zip(_LOAD_SWINGS, phases, strict=True):
        omega = 2 * np.pi / period_s
        total += amplitude / np.hypot(1.0, omega * lag_s) * np.sin(omega * times_s + phase - np.arctan(omega * lag_s))
    return total


def speed_rpm(machine: Machine, times_s: Floats) -> Floats:
    """True shaft speed: a drive that follows the load."""
    individual = 1.0 + 0.005 * machine.rng("speed").standard_normal()
    return np.asarray(_RATINGS[machine.kind].speed_rpm * individual * (0.7 + 0.3 * load(machine, times_s)))


def truth(machine: Machine, times_s: Floats, faults: Sequence[Fault], rng: np.random.Generator) -> dict[str, Floats]:
    """Each scalar channel before its sensor: [n] by channel. `rng` drives the flicker of cavitation."""
    rating = _RATINGS[machine.kind]
    own = [fault for fault in faults if fault.asset == machine.asset]
    fouling, cavitation = severity(own, "fouling", times_s), severity(own, "cavitation", times_s)
    speed = speed_rpm(machine, times_s)
    relative = speed / rating.speed_rpm
    current = rating.current_a * (0.2 + 0.8 * relative**3)
    temperature = _AMBIENT_DEGC + rating.heating_k * load(machine, times_s, _HEATING_S)
    if machine.kind == "compressor":
        pressure = rating.pressure_bar * (0.6 + 0.4 * load(machine, times_s, _RECEIVER_S))
    else:
        pressure = rating.pressure_bar * relative**2
    flicker = 0.08 * cavitation * rng.standard_normal(times_s.shape)
    values = {
        "temperature": temperature + 18.0 * fouling,
        "pressure": pressure * (1.0 - 0.2 * fouling) * (1.0 - 0.25 * cavitation + flicker),
        "current": current * (1.0 + 0.3 * fouling) * (1.0 - 0.06 * cavitation),
        "speed": speed,
    }
    return {name: values[name] for name in machine.channels}


def readings(
    machine: Machine, times_s: Floats, faults: Sequence[Fault], rng: np.random.Generator, *, spikes: bool = True
) -> dict[str, Floats]:
    """What the sensors report: [n] by channel, with noise and single-sample spikes, and stuck where a fault says so."""
    measured: dict[str, Floats] = {}
    for name, values in truth(machine, times_s, faults, rng).items():
        noise = _NOISE[name] * rng.standard_normal(times_s.shape)
        struck = rng.random(times_s.shape) < _SPIKE_CHANCE
        sign = rng.choice((-1.0, 1.0), times_s.shape)
        measured[name] = values + noise + (_SPIKE_NOISES * _NOISE[name] * sign * struck if spikes else 0.0)
    for fault in faults:
        if fault.asset == machine.asset and fault.kind == "stuck_sensor" and fault.channel in measured:
            frozen = truth(machine, np.array([fault.start_s]), (), rng)[fault.channel][0]
            measured[fault.channel] = np.where(times_s >= fault.start_s, frozen, measured[fault.channel])
    return measured
