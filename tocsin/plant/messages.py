"""What the plant publishes: MQTT messages, and the rows that each of them states."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_MS = 1_000_000
_NANOSECONDS_FROM = 10**17  # above it a reader tells nanoseconds by their size, below 1e14 milliseconds
_MILLISECONDS_FROM = 10**11


class Row(NamedTuple):
    """One reading as the store is to hold it."""

    asset: str
    channel: str
    time_ns: int
    value: float


class Message(NamedTuple):
    """One MQTT message and the readings that it carries."""

    topic: str
    payload: bytes
    rows: tuple[Row, ...]


def timestamp(time_ns: int) -> int | str:
    """Epoch ms where that is exact, else epoch ns; near 1970, where a number's unit cannot be told, ISO 8601 (µs)."""
    time_ms, rest = divmod(time_ns, _NS_PER_MS)
    if not rest and time_ms >= _MILLISECONDS_FROM:
        return time_ms
    if time_ns >= _NANOSECONDS_FROM:
        return time_ns
    return iso(time_ns)


def iso(time_ns: int) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=time_ns // 1000)).isoformat()


def single(topic: str, row: Row) -> Message:
    """One reading a message; asset and channel are in the topic."""
    return Message(topic, orjson.dumps({"ts": timestamp(row.time_ns), "value": row.value}), (row,))


def packed(topic: str, rows: tuple[Row, ...]) -> Message:
    """Many channels of one asset at one time in a message; the asset is in the topic."""
    values = {row.channel: row.value for row in rows}
    return Message(topic, orjson.dumps({"ts": timestamp(rows[0].time_ns), "values": values}), rows)
