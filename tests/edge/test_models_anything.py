"""Swaps, failures and changes of the configuration in any order: the same journal gives the same, and alarms close."""

from collections import Counter, defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.entries import Engine, JournalEntry, Withdrawn
from models.contract.batch import Alarm
from tests.edge.models import Chain, Mean
from tests.edge.test_pipeline import SECOND, T0, data
from tests.edge.test_pipeline_models import WAITS_S, Life, configured, readings

LIMIT = {
    "output": "anomaly_score",
    "open_at": 5.0,
    "close_at": 4.0,
    "evidence": 2,
    "evidence_windows": 3,
    "blind_after": 1,
}
RULES: list[dict[str, Any]] = [
    {},
    {"one": "v1"},
    {"one": "v2"},
    {"one": "v2", "two": "c1"},
    {"two": "c1", "one": "v1"},
    {"two": "c2"},
]
PROVIDERS: tuple[dict[str, Engine], ...] = (
    {},
    {"v1": Engine("cpu", "no driver")},
    {"v1": Engine("cpu", "gone"), "c1": Engine("cpu", "no driver")},
)


def models() -> dict[str, Any]:
    """Two versions each of a model without state and of one that remembers; the second ones see the same, or less."""
    return {
        "v1": Mean("wear", 2, ("t",)),
        "v2": Mean("wear", 2, ("t",), version="2", threshold=LIMIT),
        "c1": Chain("drift", 1, ("t", "p")),
        "c2": Chain("drift", 2, ("p",), version="2", state=2, threshold=LIMIT),
    }


Span = tuple[list[tuple[str, list[float], str]], list[str | tuple[Any, ...]], int]
SPANS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.sampled_from(["a1", "a2", "b1"]),
                st.lists(st.sampled_from([0.0, 9.0]), min_size=1, max_size=3),
                st.sampled_from(["t", "p", "tp"]),
            ),
            max_size=4,
        ),
        st.lists(
            st.one_of(
                st.sampled_from(["v1", "v2", "c1", "c2"]),
                st.tuples(
                    st.sampled_from(RULES),
                    st.sampled_from(WAITS_S),
                    st.sampled_from([1, 4096]),
                    st.sampled_from(PROVIDERS),
                    st.sampled_from([{}, {"match": "a*"}, {"period_s": 2.0}]),
                ),
            ),
            max_size=2,
        ),
        st.integers(0, 4),
    ),
    min_size=2,
    max_size=8,
)


def journal_of(spans: list[Span]) -> list[JournalEntry]:
    """Each span is a second and a half of readings; amid them models are withdrawn, or a configuration is taken."""
    journal: list[JournalEntry] = [configured(RULES[3], 0.4)]
    for number, (items, changes, amid) in enumerate(spans):
        at_ns = T0 + number * 3 * SECOND // 2
        entries: list[JournalEntry] = [
            data(at_ns + i, readings(asset, values, 3 * number, channels))
            for i, (asset, values, channels) in enumerate(items)
        ]
        entries[amid:amid] = [_change(at_ns + 10 + i, change) for i, change in enumerate(changes)]
        journal += entries
    return journal


def _change(at_ns: int, change: str | tuple[Any, ...]) -> JournalEntry:
    if isinstance(change, str):
        return Withdrawn(arrival_ns=at_ns, digest=change, reason="gone")
    rule, wait_s, max_batch, engines, more = change
    return configured(rule, wait_s, max_batch, engines=engines, arrival_ns=at_ns, **more)


END = configured({}, arrival_ns=T0 + 100 * SECOND)


@given(SPANS, st.frozensets(st.integers(1, 60)), st.integers(1, 20))
@settings(deadline=None, max_examples=20)
def test_the_same_journal_gives_the_same_and_each_alarm_opens_once_and_closes_once(
    spans: list[Span], restarts: frozenset[int], at_once: int
) -> None:
    journal = journal_of(spans)
    life = Life(models()).run(*journal, END)
    expected = life.end()
    again = Life(models()).run(*journal, END, at_once=at_once, restarts=restarts)
    assert again.end() == expected
    assert_sound(life.results.alarms)
    scored = Counter((*row[0][:2], row[1]) for row in expected.scores.elements())  # type: ignore[index]
    assert max(scored.values(), default=1) == 1


def assert_sound(alarms: list[Alarm]) -> None:
    """Each alarm opens once, says more while it is open, closes once; none of its name is open beside it."""
    of: defaultdict[tuple[str, str], list[Alarm]] = defaultdict(list)
    for alarm in alarms:
        of[alarm.asset, alarm.code].append(alarm)
    ids: set[str] = set()
    for changes in of.values():
        now = ""
        for change in changes:
            if now:
                assert change.id == now
            else:
                assert change.is_open
                assert change.id not in ids
            ids.add(change.id)
            now = change.id if change.is_open else ""
        assert now == ""
        times = [change.time_ns for change in changes]
        assert times == sorted(times)
