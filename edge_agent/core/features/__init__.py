"""Features of waveforms, and the table that names them.

A waveform channel `v` yields readings of the channels `v.rms`, `v.crest`, ….
"""

from collections.abc import Callable

from numpy import float64
from numpy.typing import NDArray

from edge_agent.core.features.waveform import crest, kurtosis, rms

FEATURES: dict[str, Callable[[NDArray[float64]], NDArray[float64]]] = {"rms": rms, "crest": crest, "kurtosis": kurtosis}
