"""What is asked in tests: each named question in several ways, and any `Select` at all."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from aggregator.core.questions import Questions
from aggregator.core.select import Aggregate, Select, Where
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS
from tests.batches import SECOND, T0
from tests.plant_rows import END, MINUTE, answer, plant

ROWS = plant()


class Oracle:
    """Fulfils ports.Reader from the list of rows."""

    def select(self, question: Select, /) -> list[Row]:
        return answer(question, ROWS)

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        raise NotImplementedError

    def close(self) -> None:
        """Holds nothing."""


ORACLE = Questions(Oracle())

QUESTIONS: dict[str, Callable[[Questions], list[Row]]] = {
    "latest": lambda q: q.latest(),
    "latest of one": lambda q: q.latest("pump-1"),
    "latest of none": lambda q: q.latest("no such asset"),
    "health": lambda q: q.health(),
    "open alarms": lambda q: q.alarms(),
    "all alarms": lambda q: q.alarms(open_only=False),
    "alarm changes": lambda q: q.alarm_changes(T0 + 1, T0 + 2 * MINUTE + 2),
    "series": lambda q: q.series("pump-1", "temp °C", T0, END),
    "newest of a series": lambda q: q.series("pump-1", "speed", T0, END, 5),
    "series of a model's output": lambda q: q.series("pump-2", "failure_prob", T0 + MINUTE, END, 4),
    "series of nothing": lambda q: q.series("pump-2", "no such channel", T0, END),
    "anomaly": lambda q: q.anomaly(None, T0, END, 300),
    "anomaly of one": lambda q: q.anomaly("pump-2", T0 + 90 * SECOND, T0 + 7 * MINUTE),
    "top": lambda q: q.top(),
    "top 2 since": lambda q: q.top(2, T0 + 5 * MINUTE),
    "means": lambda q: q.means(None, None, T0, END),
    "means of a channel": lambda q: q.means("pump-1", "speed", T0 + 100, T0 + 5 * MINUTE, 7),
    "gateways": lambda q: q.gateways(),
    "gateway": lambda q: q.gateway("gw-2", T0, END),
    "newest of a gateway": lambda q: q.gateway("gw-1", T0, END, 2),
    "models": lambda q: q.models(),
    "models since": lambda q: q.models(T0 + 8 * MINUTE),
    "qualities": lambda q: q.qualities(T0, END),
    "qualities of one": lambda q: q.qualities(T0, END, "pump-2"),
    "far future": lambda q: q.latest() + q.means(None, None, END, 2**63 - 2) + q.qualities(END, 2**63 - 2),
}


MOMENTS = st.none() | st.integers(T0 - MINUTE, END) | st.sampled_from([T0, T0 + 30 * SECOND, T0 + MINUTE])


@st.composite
def selects(draw: st.DrawFn) -> Select:
    measurement = draw(st.sampled_from(sorted(MEASUREMENTS)))
    schema = MEASUREMENTS[measurement]
    stored = [row for row in ROWS if row.measurement == measurement]
    row = draw(st.sampled_from(stored))
    names = draw(st.sets(st.sampled_from(schema.tags), max_size=2))
    tags = {name: value for name, value in zip(schema.tags, row.tags, strict=True) if name in names}
    all_fields = (*schema.floats, *schema.strings)
    held = draw(st.sets(st.sampled_from(sorted(row.fields)), max_size=2))
    other = draw(st.sampled_from(stored))
    where = tuple(
        Where(name, tuple(dict.fromkeys((row.fields[name], other.fields.get(name, row.fields[name])))))
        for name in sorted(held)
    )
    if draw(st.booleans()):
        number = draw(st.sampled_from([name for name in schema.floats if name in other.fields]))
        where += (Where(number, below=float(other.fields[number])),)
    common: dict[str, Any] = {"tags": tags, "where": where, "since_ns": draw(MOMENTS), "until_ns": draw(MOMENTS)}
    if draw(st.booleans()):
        hows: list[Aggregate] = ["mean", "min", "max", "count"]
        return Select(
            measurement,
            (draw(st.sampled_from(schema.floats)),),
            **common,
            aggregates=tuple(draw(st.lists(st.sampled_from(hows), min_size=1, unique=True))),
            by=tuple(sorted(draw(st.sets(st.sampled_from(schema.tags))), key=schema.tags.index)),
            every_ns=draw(st.sampled_from([None, MINUTE, 7 * SECOND, 3600 * SECOND, 1500 * 10**6])),
        )
    kept: dict[str, Any] = draw(st.sampled_from([{}, {"newest": 1}, {"newest": 3}, {"oldest": 2}]))
    fields = tuple(draw(st.lists(st.sampled_from(all_fields), max_size=2, unique=True)))
    return Select(measurement, fields, **common, **kept, limit=draw(st.sampled_from([None, 1, 5])))
