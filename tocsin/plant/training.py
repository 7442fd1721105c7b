"""Healthy machines as a model sees them: frames on the demo's grid."""

import numpy as np
from numpy.typing import NDArray

from models.bundle import Channel
from tocsin.plant.machines import UNITS, Kind, Machine, plant, readings
from tocsin.plant.vibration import features_of, waveforms

KINDS: tuple[Kind, ...] = ("pump", "motor", "compressor")
SAMPLE_PERIOD_S = 0.5  # the grid of the demo's edge agent
WAVEFORM_PERIOD_S = 1.0

Floats = NDArray[np.float64]


def healthy_runs(kind: Kind, seconds: float, seed: int) -> tuple[tuple[Channel, ...], tuple[Floats, ...], float]:
    """Channels, a run [n, channels] of each healthy machine of one kind, and the frames' period in s.

    Each machine runs for its share of `seconds`. Spikes are left out: in the agent the Hampel filter takes them
    away before a model looks. A waveform's features are held until the next one.
    """
    machines = [machine for machine in plant(seed) if machine.kind == kind]
    runs = tuple(_frames(machine, seconds / len(machines)) for machine in machines)
    scalars = [Channel(name=name, unit=UNITS[name]) for name in machines[0].channels]
    features = [
        Channel(name="vibration.rms", unit="g"),
        Channel(name="vibration.kurtosis"),
        Channel(name="vibration.crest"),
    ]
    return (*scalars, *features), runs, SAMPLE_PERIOD_S


def _frames(machine: Machine, seconds: float) -> Floats:
    times_s = np.arange(0.0, seconds, SAMPLE_PERIOD_S)
    rng = machine.rng("training")
    scalars = readings(machine, times_s, (), rng, spikes=False)
    waves = waveforms(machine, np.arange(0.0, seconds, WAVEFORM_PERIOD_S), (), rng)
    newest = (times_s // WAVEFORM_PERIOD_S).astype(np.intp)
    features = features_of(waves)
    return np.column_stack([*scalars.values(), *(features[name][newest] for name in ("rms", "kurtosis", "crest"))])
