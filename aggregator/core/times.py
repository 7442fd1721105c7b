"""Times in ns since 1970 and in ISO 8601, without losing a digit. Pure."""

import calendar
import re
from datetime import UTC, datetime

_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?")


def iso(time_ns: int) -> str:
    """'2026-01-31T12:00:00.5' in UTC, with as many decimals as it needs."""
    seconds, rest = divmod(time_ns, 10**9)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09}".rstrip("0") if rest else text


def time_ns(text: str) -> int | None:
    """From ISO 8601 with up to nine decimals, UTC unless it says otherwise; None = is no such time."""
    if not (found := _TIME.fullmatch(text)):
        return None
    moment = datetime.fromisoformat(found[1] + (found[3] or "Z").replace("Z", "+00:00"))
    return calendar.timegm(moment.utctimetuple()) * 10**9 + int((found[2] or "").ljust(9, "0"))
