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


MEASUREMENTS: dict[str, Measurement] = {
    "reading": Measurement(("site", "asset", "channel"), ("value", "denoised", "quality")),
    "inference": Measurement(
        ("site", "asset", "model", "version"), ("anomaly_score", "failure_prob", "health", "rul_h")
    ),
    "alarm": Measurement(("site", "asset", "code"), ("is_open", "severity"), ("id", "message")),
    "gateway": Measurement(
        ("site", "gateway"),
        ("readings_total", "deadletters_total", "late_total", "backlog_batches", "provider_is_first"),
    ),
}
