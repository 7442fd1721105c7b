"""The named questions: what people ask of a store, the same from every store.

Each is made of `Select`s, which a reader of any store answers, and of the pure functions of `views.py`. Times are ns
since 1970, intervals closed below and open above. All raise what `Reader` raises.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from aggregator.core import views
from aggregator.core.select import Select, Where
from aggregator.core.views import Row
from models.contract.quality import BAD_FROM, Quality
from models.contract.schema import MEASUREMENTS

T = TypeVar("T")

_IDS_AT_ONCE = 50  # a question travels in a URL, which proxies may cut at 8 KiB
_SECOND_NS = 1_000_000_000


class Reads(Protocol):
    """What is needed of a store: `aggregator.ports.Reader`, seen from the core."""

    def select(self, question: Select, /) -> list[Row]: ...  # noqa: D102

    def raw(self, text: str, language: str | None = None) -> list[Row]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class Questions:
    """Answers from one store. Rows of an answer have the same columns."""

    def __init__(self, reader: Reads) -> None:
        self._reader = reader

    def latest(self, asset: str | None = None) -> list[Row]:
        """The newest reading of each channel."""
        return views.by_tags(self._reader.select(Select("reading", tags=_given(asset=asset), newest=1)))

    def health(self) -> list[Row]:
        """The newest result of each asset and model, worst first."""
        return views.health(self._reader.select(Select("inference", newest=1)))

    def alarms(self, *, open_only: bool = True) -> list[Row]:
        """The newest state of each alarm with `since`, when it was opened; newest change first."""
        newest = self._reader.select(Select("alarm", newest=1))
        if open_only:
            newest = [row for row in newest if row["is_open"] == 1.0]
        openings = [
            row
            for ids in _portions(sorted({str(row["id"]) for row in newest}), _IDS_AT_ONCE)
            for row in self._reader.select(Select("alarm", where=(Where("is_open", (1.0,)), Where("id", tuple(ids)))))
        ]
        return views.alarms(newest, openings)

    def alarm_changes(self, since_ns: int, until_ns: int | None = None) -> list[Row]:
        """Each opening, change and closing of an alarm, oldest first."""
        return self._reader.select(Select("alarm", since_ns=since_ns, until_ns=until_ns))

    def series(
        self, asset: str, name: str, since_ns: int, until_ns: int | None = None, limit: int | None = None
    ) -> list[Row]:
        """A channel's readings, or an output of the models as `value`; the newest `limit`, oldest first."""
        question = Select("reading", tags={"asset": asset}, since_ns=since_ns, until_ns=until_ns, limit=limit)
        if name not in MEASUREMENTS["inference"].floats:
            return self._reader.select(replace(question, tags={"asset": asset, "channel": name}))
        rows = self._reader.select(replace(question, measurement="inference", fields=(name,)))
        return [{"value" if column == name else column: cell for column, cell in row.items()} for row in rows]

    def anomaly(self, asset: str | None, since_ns: int, until_ns: int | None = None, every_s: int = 60) -> list[Row]:
        """The anomaly score of each asset and model: `max`, `mean` in each interval in which there is one."""
        return self._reader.select(
            Select(
                "inference",
                ("anomaly_score",),
                _given(asset=asset),
                since_ns=since_ns,
                until_ns=until_ns,
                aggregates=("max", "mean"),
                by=("site", "asset", "model"),
                every_ns=every_s * _SECOND_NS,
            )
        )

    def top(self, limit: int = 10, since_ns: int | None = None) -> list[Row]:
        """The assets by the newest failure probability of their models, the likeliest first."""
        newest = self._reader.select(Select("inference", ("failure_prob",), since_ns=since_ns, newest=1))
        return views.top(newest, limit)

    def means(
        self, asset: str | None, channel: str | None, since_ns: int, until_ns: int | None = None, every_s: int = 60
    ) -> list[Row]:
        """Readings in each interval: `mean`, `min`, `max`, `count`, of all values but bad ones."""
        return self._reader.select(
            Select(
                "reading",
                ("value",),
                _given(asset=asset, channel=channel),
                (Where("quality", below=float(BAD_FROM)),),
                since_ns=since_ns,
                until_ns=until_ns,
                aggregates=("mean", "min", "max", "count"),
                by=MEASUREMENTS["reading"].tags,
                every_ns=every_s * _SECOND_NS,
            )
        )

    def gateways(self) -> list[Row]:
        """The newest figures of each gateway: backlog, losses, gaps."""
        return views.by_tags(self._reader.select(Select("gateway", newest=1)))

    def gateway(self, gateway: str, since_ns: int, until_ns: int | None = None, limit: int | None = None) -> list[Row]:
        """A gateway's figures over time, the newest `limit`, oldest first."""
        return self._reader.select(
            Select("gateway", tags={"gateway": gateway}, since_ns=since_ns, until_ns=until_ns, limit=limit)
        )

    def models(self, since_ns: int | None = None) -> list[Row]:
        """The models in use: version, number of `assets`, `first` and `last` time of a result; newest first."""
        question = Select("inference", since_ns=since_ns, newest=1)
        newest = self._reader.select(question)
        oldest = self._reader.select(replace(question, newest=None, oldest=1)) if newest else []
        return views.models(oldest, newest)

    def qualities(self, since_ns: int, until_ns: int | None = None, asset: str | None = None) -> list[Row]:
        """Readings by asset, channel and `quality`, with their `count`; the worst first."""
        question = Select(
            "reading",
            ("quality",),
            _given(asset=asset),
            since_ns=since_ns,
            until_ns=until_ns,
            aggregates=("count",),
            by=MEASUREMENTS["reading"].tags,
        )
        totals = self._reader.select(question)
        left = sum(views.number(row, "count") for row in totals)
        counts: dict[Quality, list[Row]] = {}
        for code in Quality:  # most readings are good: soon nothing is left to be told apart
            if left <= 0:
                break
            counts[code] = self._reader.select(replace(question, where=(Where("quality", (float(code),)),)))
            left -= sum(views.number(row, "count") for row in counts[code])
        return views.qualities(totals, counts)

    def holds(self, measurement: str, tags: Mapping[str, str], time_ns: int) -> bool:
        """Whether the row of these tags and this time is stored."""
        return bool(self._reader.select(Select(measurement, tags=tags, since_ns=time_ns, until_ns=time_ns + 1)))

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        """The answer to a text in a language of the store (None = its first). Raises ValueError as `Reader` says."""
        return self._reader.raw(text, language)

    def close(self) -> None:
        """Lets go of the store."""
        self._reader.close()


def _given(**tags: str | None) -> dict[str, str]:
    return {name: value for name, value in tags.items() if value is not None}


def _portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
