"""Numbers and times as people read them. Every text that comes from a machine goes through `plain`."""

import math
from datetime import datetime
from zoneinfo import ZoneInfo

NONE = "-"  # nothing is known
_LONGEST = 300  # characters of a text from a machine


def plain(text: str, longest: int = _LONGEST) -> str:
    """One line of signs that can be seen: a terminal obeys control characters, some others turn what is read."""
    clean = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def moment(time_ns: int, zone: ZoneInfo) -> str:
    """To the minute: '2026-01-31 14:05'."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, zone):%Y-%m-%d %H:%M}" if time_ns else NONE


def day(time_ns: int, zone: ZoneInfo) -> str:
    """With the day of the week: 'Sat 2026-01-31 14:05'."""
    local = datetime.fromtimestamp(time_ns // 1_000_000_000, zone)
    return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[local.weekday()]} {local:%Y-%m-%d %H:%M}"


def lasting(seconds: float) -> str:
    """'40 s', '12 min', '2 h 05 min', '3 d 4 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min" if minutes % 60 else f"{minutes // 60} h"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def hours(value: float) -> str:
    """Remaining life: '3.5 h', '40 h', '12 d'."""
    if not math.isfinite(value):
        return NONE
    if value < 10:
        return f"{value:.1f} h"
    return f"{value:.0f} h" if value < 240 else f"{value / 24:.0f} d"


def figure(value: float) -> str:
    """Three significant digits, without an exponent where that is possible."""
    if not math.isfinite(value):
        return NONE
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e9 else f"{rounded:g}"


def percent(share: float) -> str:
    """'12 %', '0.4 %'; never 0 % for something."""
    if not math.isfinite(share):
        return NONE
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def money(amount: float) -> str:
    """Whole units, thousands apart."""
    return f"{amount + 0.0:,.0f}" if abs(amount) >= 0.5 else "0"


def count(number: int, one: str, many: str = "") -> str:
    """'1 alarm', '2 alarms'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
