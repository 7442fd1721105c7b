"""Quality of a reading in one byte: the severity of OPC UA in the top two bits, the reason below.

0 is good, 64 and above is uncertain, 128 and above is bad (OPC UA Part 4, 7.39: StatusCode severity).
A bad value is kept and stored, and never used by a filter, a window or a model.
"""

from enum import IntEnum

UNCERTAIN_FROM = 0x40
BAD_FROM = 0x80


class Quality(IntEnum):
    """A severity with its reason. The numbers are stored in databases: never renumber, only add."""

    GOOD = 0x00
    UNCERTAIN_SPIKE = 0x41
    UNCERTAIN_LATE = 0x42
    UNCERTAIN_ARRIVAL_TIME = 0x43
    UNCERTAIN_CONFLICT = 0x44
    UNCERTAIN_RATE = 0x45
    UNCERTAIN_FLAT = 0x46
    UNCERTAIN_STALE = 0x48  # the source is gone, or says that it has no value any more
    UNCERTAIN_SOURCE = 0x49  # the sender itself says so
    UNCERTAIN_OPERATING = 0x4A  # outside the range of normal operation
    UNCERTAIN_ORDER = 0x4B  # its time is not above all before on its channel
    UNCERTAIN_NO_DATA = 0x4C  # nothing came for long: the last value, again
    UNCERTAIN_CLOCK = 0x4D  # the sender's clock is ahead or behind
    UNCERTAIN_CLOCK_JUMP = 0x4E  # the sender's clock was set back: it has told this time before
    UNCERTAIN_QUANTUM = 0x4F  # values come in much coarser steps than before
    UNCERTAIN_DISAGREES = 0x50  # with the sensors beside it
    BAD_RANGE = 0x81
    BAD_SOURCE = 0x82  # the sender itself says so


def label(code: float) -> str:
    """A code in words: 'good', 'uncertain: spike', 'bad: range'. Unknown codes keep their severity."""
    number = int(code)
    try:
        severity, _, reason = Quality(number).name.lower().partition("_")
    except ValueError:
        severity, reason = (
            ("bad" if number >= BAD_FROM else "uncertain" if number >= UNCERTAIN_FROM else "good"),
            str(number),
        )
    return f"{severity}: {reason.replace('_', ' ')}" if reason else severity
