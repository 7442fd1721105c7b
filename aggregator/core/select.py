"""One question to a store, in words that every store understands.

Stores differ in their languages, not in what can be asked: rows, the newest rows, or aggregates over time. A reader
turns a `Select` into its language (`dialects/`); the named questions of `questions.py` are made of nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FOREVER_NS = 2**63 - 2  # after the last time that InfluxDB keeps for rows

Aggregate = Literal["mean", "min", "max", "count"]


@dataclass(frozen=True)
class Where:
    """A condition on a field: it is any of `values` (at least one), or, where that is given, a number below `below`."""

    field: str
    values: tuple[float | str, ...] = ()
    below: float | None = None


@dataclass(frozen=True)
class Select:
    """Rows of one measurement. Times are ns since 1970; `since` <= time < `until`; None = without bound.

    Rows come with `time` (int), the tags in the schema's order (text, "" = none) and the fields in the order asked
    for (float or text, None = no value); those in which no field asked for has a value are left out. They are in
    order of time, and of their tags' texts where times are equal. `newest` and `oldest` (one of them) keep that many
    of the newest or oldest rows of each series (distinct tag sets) among those that meet all conditions, and `limit`
    the last ones in order of all that are left.

    With `aggregates` there are instead `time`, the tags in `by`, and a column for each of them (float; also the
    count), taken of the values of `fields[0]`, where there are any, over the tags in `by` and over intervals of
    `every_ns` that are counted from 1970 (None = all of the time asked for). `time` is the interval's begin, which
    may lie before `since`; without intervals it is `since`, or 0. The order is the same, by the tags in `by`.
    """

    measurement: str
    fields: tuple[str, ...] = ()  # () = all of the measurement
    tags: Mapping[str, str] = field(default_factory=dict)  # equal to
    where: tuple[Where, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    newest: int | None = None
    oldest: int | None = None
    limit: int | None = None
    aggregates: tuple[Aggregate, ...] = ()
    by: tuple[str, ...] = ()  # tags that tell aggregates apart; () with aggregates = all in one
    every_ns: int | None = None
