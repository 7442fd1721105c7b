"""What the questions mean, for every store alike: from plain rows to answers."""

from collections.abc import Iterable

# One result row of a query: the same columns from every store, times in ns since 1970 as int, None = no value.
Row = dict[str, str | float | int | None]


def health(newest: Iterable[Row]) -> list[Row]:
    """One row for each asset and model (its newest, whatever the version), worst first."""
    rows: dict[tuple[object, ...], Row] = {}
    for row in sorted(newest, key=lambda row: number(row, "time")):
        rows[row["site"], row["asset"], row["model"]] = row
    return sorted(rows.values(), key=_badness)


def alarms(newest: Iterable[Row], openings: Iterable[Row], *, open_only: bool) -> list[Row]:
    """Each alarm's newest state with `since`, when it was opened; newest change first.

    `openings` are the rows in which alarms of these ids are open; the earliest of an id is its opening.
    """
    since: dict[tuple[object, ...], float] = {}
    for row in openings:
        key = _alarm(row)
        since[key] = min(number(row, "time"), since.get(key, number(row, "time")))
    states = [
        {"since": int(since.get(_alarm(row), number(row, "time"))), **row}
        for row in newest
        if not open_only or row["is_open"] == 1.0
    ]
    return sorted(states, key=lambda row: number(row, "time"), reverse=True)


def by_tags(rows: Iterable[Row]) -> list[Row]:
    """In the order of their names, the same for every store."""
    return sorted(rows, key=lambda row: [str(row.get(tag)) for tag in ("site", "asset", "channel")])


def number(row: Row, column: str, absent: float = 0) -> float:
    """A cell that holds a number, or `absent`. Integers stay exact."""
    cell = row.get(column)
    return cell if isinstance(cell, (int, float)) else absent


def _alarm(row: Row) -> tuple[object, ...]:
    return row["site"], row["asset"], row["code"], row["id"]


def _badness(row: Row) -> tuple[object, ...]:
    return (
        row["health"] is None,  # a model that says nothing about health comes after those that do
        number(row, "health"),
        -number(row, "failure_prob"),
        -number(row, "anomaly_score"),
        row["site"],
        row["asset"],
        row["model"],
    )
