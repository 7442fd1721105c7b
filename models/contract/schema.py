"""The database schema: measurements, their tags and their fields. Numbers are always floats.

A tag identifies (few distinct values); whatever is unique to a row, such as an alarm's id, is a field.
Time is the event time in integer ns. Stores build rows from this table and from nothing else.
"""

from typing import NamedTuple


class Measurement(NamedTuple):
    """Tag names in the order in which they are written, float fields, string fields."""

    tags: tuple[str, ...]
    floats: tuple[str, ...]
    strings: tuple[str, ...] = ()


# What a gateway says of itself. Counters named `_total` begin at 0 with its process (`uptime_s` tells when that was),
# but for `lost_total`, which goes on for as long as the gateway's outbox lives.
HEARTBEAT = (
    "readings_total",  # readings and waveforms taken from the sensors
    "deadletters_total",  # messages of sensors set aside
    "late_total",  # readings marked as late
    "lost_total",  # rows that a full outbox had to drop, and batches that a damaged disk took
    "refused_total",  # rows that an aggregator or its store refused for good
    "backlog_batches",  # in the outbox, without a receipt, this row's own batch not counted
    "backlog_bytes",
    "lag_s",  # age of the oldest datum that is on the gateway only, in its journal or outbox
    "provider_is_first",  # 1 = each model runs on the first wanted inference provider; absent without models
    "clock_is_behind",  # 1 = the gateway's clock was set back and has not caught up
    "uptime_s",  # of the process
)

MEASUREMENTS: dict[str, Measurement] = {
    "reading": Measurement(("site", "asset", "channel"), ("value", "denoised", "quality")),
    "inference": Measurement(
        ("site", "asset", "model", "version"),
        ("anomaly_score", "failure_prob", "health", "rul_h", "rul_low_h", "rul_high_h", "quality_score"),
    ),
    "alarm": Measurement(("site", "asset", "code"), ("is_open", "severity"), ("id", "message")),
    "gateway": Measurement(("site", "gateway"), HEARTBEAT),
}
