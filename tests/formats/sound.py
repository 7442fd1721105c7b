"""What must hold of whatever a decoder is given."""

import numpy as np

from edge_agent.config import Topic
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded
from tests.formats.case import decode

REASONS = frozenset(
    {
        "channel",
        "compression",
        "field",
        "quality",
        "shape",
        "time",
        "too_large",
        "value",
        "version",
        # … and that the format itself cannot be read
        "cbor",
        "json",
        "line",
        "msgpack",
        "text",
    }
)
_INT64 = range(-(2**63), 2**63)


def decoded_or_reason(setting: Topic, payload: bytes, channel: str | None) -> Decoded | str:
    """Nothing but a DecodeError with a known reason and a short text may come out."""
    try:
        return decode(setting, payload, channel)
    except DecodeError as error:
        refusal = error
    assert refusal.reason in REASONS
    assert 0 < len(str(refusal)) < 1000
    return refusal.reason


def assert_sound(setting: Topic, payload: bytes, channel: str | None) -> None:
    """Names are text, times are whole ns of 64 bits, values finite, and no more than the payload has room for."""
    decoded = decoded_or_reason(setting, payload, channel)
    if isinstance(decoded, str):
        return
    assert decoded.waveforms == []
    assert decoded.values or decoded.columns or decoded.skipped
    for (asset, name), time_ns, value, quality in decoded.values:
        assert type(asset) is str
        assert type(name) is str
        assert name
        assert time_ns is None or (type(time_ns) is int and time_ns in _INT64)
        assert type(value) is float
        assert value - value == 0  # finite
        assert 0 <= quality < 256
    for column in decoded.columns:
        assert column.time_ns.dtype == np.int64
        assert column.value.dtype == np.float64
        assert len(column.time_ns) == len(column.value) > 0
        assert np.isfinite(column.value).all()
        assert column.dt_ns >= 0
        assert column.dt_ns == 0 or (np.diff(column.time_ns) == column.dt_ns).all()
    if setting.compression == "none":  # a value and what parts it from the next take two bytes, but in raw samples
        count = len(decoded.values) + decoded.skipped + sum(len(column.value) for column in decoded.columns)
        assert count <= len(payload)
