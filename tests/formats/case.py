"""One case of a payload: what its topic sets, its bytes, and what they must come to."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_agent.config import Topic
from edge_agent.core.decode import decoder_of
from edge_agent.core.readings import Decoded
from models.contract.quality import Quality

ASSET = "m1"
SECOND = 1_000_000_000
ARRIVAL = 1_760_000_000 * SECOND
LIMIT = 1 << 20  # bytes of an unpacked payload
Row = tuple[str, int | None, float] | tuple[str, int | None, float, Quality]  # channel, time in ns, value; good or this


class Case(NamedTuple):
    """`expected`: the rows, or the reason why it is refused. `skipped`: values that the settings leave out."""

    setting: Topic
    payload: bytes
    channel: str | None  # that the topic names
    expected: list[Row] | str
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.setting.format} {self.payload[:40]!r}"


def topic(format_: str = "json", compression: str = "none", **settings: Any) -> Topic:
    """With {channel} unless it is of no use."""
    fields: Mapping[str, Any] = settings.get("fields") or {}
    template = "f/{asset}" if "channel" in fields else "f/{asset}/{channel}"
    return Topic.model_validate({"template": template, "format": format_, "compression": compression} | settings)


def decode(setting: Topic, payload: bytes, channel: str | None = "t") -> Decoded:
    """Of an asset that the topic calls `ASSET`."""
    return decoder_of(setting, LIMIT)(payload, ASSET, channel, ARRIVAL)


def rows(decoded: Decoded) -> list[tuple[tuple[str, str], int | None, float, int]]:
    """Its readings, columns unrolled: (asset, channel), time in ns, value, quality."""
    return [(value.channel, value.time_ns, value.value, value.quality) for value in decoded.values] + [
        (column.channel, time_ns, value, column.quality)
        for column in decoded.columns
        for time_ns, value in zip(column.time_ns.tolist(), column.value.tolist(), strict=True)
    ]


def full(row: Row) -> tuple[tuple[str, str], int | None, float, int]:
    """A row as `rows` gives it; a channel of another asset is written `asset|channel`."""
    channel, time_ns, value, *quality = row
    asset, _, name = channel.rpartition("|")
    return (asset or ASSET, name), time_ns, value, quality[0] if quality else Quality.GOOD
