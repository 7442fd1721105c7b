"""Raw arrays of numbers, as waveform sensors send them: one block of one channel's samples and nothing else.

The payload names no time: the block is taken to end when the message arrives.
"""

from collections.abc import Callable

import numpy as np

from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Column, Decoded
from models.contract.quality import Quality


def raw_decoder(
    dtype: str, scale: float, offset: float, rate_hz: float
) -> Callable[[bytes, str, str | None, int], Decoded]:
    """For samples of numpy's `dtype`, `rate_hz` a second; a sample is scale times its number plus offset."""
    number = np.dtype(dtype)
    dt_ns = max(1, round(1e9 / rate_hz))

    def decode(payload: bytes, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
        if channel is None:
            raise DecodeError("channel", "raw samples need a topic that names the channel")
        count, rest = divmod(len(payload), number.itemsize)
        if not count or rest:
            raise DecodeError("shape", f"{len(payload)} bytes: no whole number of samples of {number.itemsize} bytes")
        if (count - 1) * dt_ns > arrival_ns + 2**63:
            raise DecodeError("time", f"{channel}: {count} samples, {dt_ns} ns apart, began before all times")
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float64 it becomes infinite, and is refused below
            value = np.frombuffer(payload, number).astype(np.float64) * scale + offset
        if not np.isfinite(value).all():
            raise DecodeError("value", f"{channel}: a sample is not finite")
        time_ns = arrival_ns - np.arange(count - 1, -1, -1, dtype=np.int64) * dt_ns
        column = Column((asset, channel), time_ns, value, dt_ns, Quality.UNCERTAIN_ARRIVAL_TIME)
        return Decoded([], [], is_timed=False, columns=[column])

    return decode
