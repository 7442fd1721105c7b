"""What the questions mean, for every store alike: from plain rows to answers."""

from collections.abc import Iterable, Mapping, Sequence

from models.contract.quality import Quality

# One result row of a query: the same columns from every store, times in ns since 1970 as int, None = no value.
Row = dict[str, str | float | int | None]

_TAGS = ("site", "gateway", "asset", "channel", "code", "model", "version")


def health(newest: Iterable[Row]) -> list[Row]:
    """One row for each asset and model (its newest, whatever the version), worst first."""
    return sorted(_newest(newest, "site", "asset", "model"), key=_badness)


def top(newest: Iterable[Row], limit: int) -> list[Row]:
    """One row for each asset, of its model with the highest newest failure probability; the likeliest first."""
    models = by_tags(_newest(newest, "site", "asset", "model"))
    models.sort(key=lambda row: -number(row, "failure_prob"))
    worst: dict[tuple[object, ...], Row] = {}
    for row in models:
        worst.setdefault((row["site"], row["asset"]), row)
    return list(worst.values())[:limit]


def alarms(newest: Iterable[Row], openings: Iterable[Row]) -> list[Row]:
    """Each alarm's newest state with `since`, when it was opened; newest change first.

    `openings` are the rows in which alarms of these ids are open; the earliest of an id is its opening.
    """
    since: dict[tuple[object, ...], float] = {}
    for row in openings:
        key = _alarm(row)
        since[key] = min(number(row, "time"), since.get(key, number(row, "time")))
    states: list[Row] = [{"since": int(since.get(_alarm(row), number(row, "time"))), **row} for row in by_tags(newest)]
    return sorted(states, key=lambda row: number(row, "time"), reverse=True)


def models(oldest: Iterable[Row], newest: Iterable[Row]) -> list[Row]:
    """From the first and the last row of each series: one row for each model and version, the last seen first."""
    found: dict[tuple[str, str], Row] = {}
    assets: dict[tuple[str, str], set[tuple[object, object]]] = {}
    for row in (*oldest, *newest):
        key = (str(row["model"]), str(row["version"]))
        time_ns = int(number(row, "time"))
        model = found.setdefault(
            key, {"model": key[0], "version": key[1], "assets": 0, "first": time_ns, "last": time_ns}
        )
        model["first"] = min(time_ns, int(number(model, "first")))
        model["last"] = max(time_ns, int(number(model, "last")))
        assets.setdefault(key, set()).add((row["site"], row["asset"]))
        model["assets"] = len(assets[key])
    return sorted(found.values(), key=lambda row: (-number(row, "last"), row["model"], row["version"]))


def qualities(totals: Iterable[Row], counts: Mapping[Quality, Sequence[Row]]) -> list[Row]:
    """One row for each channel and quality that it had, the worst first.

    `totals` holds the `count` of each channel, `counts` those of each quality that is known; what is left over has
    a quality of None, one that a later version of the contract knows.
    """
    left = {_channel(row): number(row, "count") for row in totals}
    rows: list[Row] = []
    for quality, found in counts.items():
        for row in found:
            # rows go on coming while the questions are asked: a channel may be new since the totals
            left[_channel(row)] = left.get(_channel(row), 0) - number(row, "count")
            rows.append(_quality(_channel(row), float(quality), number(row, "count")))
    rows += [_quality(channel, None, count) for channel, count in left.items() if count > 0]
    return sorted(by_tags(rows), key=lambda row: -number(row, "quality", absent=256))


def by_tags(rows: Iterable[Row]) -> list[Row]:
    """In the order of their names, the same for every store."""
    return sorted(rows, key=lambda row: [str(row.get(tag, "")) for tag in _TAGS])


def number(row: Row, column: str, absent: float = 0) -> float:
    """A cell that holds a number, or `absent`. Integers stay exact."""
    cell = row.get(column)
    return cell if isinstance(cell, (int, float)) else absent


def _newest(rows: Iterable[Row], *tags: str) -> Iterable[Row]:
    """The newest row of each combination of these tags."""
    found: dict[tuple[object, ...], Row] = {}
    for row in sorted(rows, key=lambda row: number(row, "time")):
        found[tuple(row[tag] for tag in tags)] = row
    return found.values()


def _alarm(row: Row) -> tuple[object, ...]:
    return row["site"], row["asset"], row["code"], row["id"]


def _channel(row: Row) -> tuple[str, str, str]:
    return str(row["site"]), str(row["asset"]), str(row["channel"])


def _quality(channel: tuple[str, str, str], quality: float | None, count: float) -> Row:
    site, asset, name = channel
    return {"site": site, "asset": asset, "channel": name, "quality": quality, "count": count}


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
