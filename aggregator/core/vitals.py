"""Is the process well, and is it ready for work: two questions whose answers lead to different things.

Not alive (/healthz): a restart would help. Not ready (/readyz): it would not; work is better sent elsewhere, and a
person may have to see to the broker or the store.
"""

from typing import NamedTuple

STILL_S = 30.0  # a loop that has not come round for so long will not come round


class Vitals(NamedTuple):
    """What is known at one moment."""

    loop_age_s: float  # since the event loop last said that it runs
    is_connected: bool  # to the broker, and subscribed
    is_store_up: bool
    write_failures: float
    is_store_misconfigured: bool


def ailments(now: Vitals) -> dict[str, str]:
    """What a restart would cure, by part; empty = alive."""
    if now.loop_age_s > STILL_S:
        return {"loop": f"has stood still for {now.loop_age_s:.0f} s"}
    return {}


def wants(now: Vitals) -> dict[str, str]:
    """What is missing for work, by part; empty = ready."""
    missing = {}
    if not now.is_connected:
        missing["broker"] = "not connected and subscribed"
    if now.is_store_misconfigured:
        missing["store"] = "refuses us until a person puts it right"
    elif not now.is_store_up and now.write_failures:  # before the first write nothing is known of it
        missing["store"] = "did not take the last write"
    return missing | ailments(now)
