"""The promises of the whole signal path, with every stage configured: nothing depends on cuts, nothing is lost."""

import math
from collections import Counter, defaultdict
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core import state
from edge_agent.core.entries import Configured, Tick
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.readings import ChannelKey, Value
from edge_agent.core.repeats import DEPTH
from edge_agent.core.results import Results
from models.contract.quality import Quality, label
from tests.signal_path import (
    CHANNELS,
    CONFIGURATIONS,
    MODELS,
    MS,
    NAMES,
    SECOND,
    T0,
    Group,
    Item,
    config,
    configured,
    data,
    entries_of,
    journals,
    run,
)


@given(journals(), st.data())
@settings(deadline=None, max_examples=60)
def test_neither_cuts_nor_how_many_entries_are_taken_at_once_nor_restarts_change_a_bit(
    groups: list[Group], data: st.DataObject
) -> None:
    whole = run(entries_of(groups, lambda _count: ()))
    first, size = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 9))
    entries = entries_of(groups, lambda count: range(first, count, size))
    restarts = data.draw(st.sets(st.integers(1, len(entries) - 1), max_size=4))
    at_once = data.draw(st.integers(1, 40))
    assert run(entries, range(0, len(entries), at_once), restarts) == whole


@given(journals())
@settings(deadline=None, max_examples=10)
def test_each_message_in_an_entry_of_its_own_gives_the_results_of_all_in_one(groups: list[Group]) -> None:
    entries = entries_of(groups, range)
    assert run(entries, range(len(entries))) == run(entries_of(groups, lambda _count: ()))


REPORTING_ALL = config([{key: rule[key] for key in rule if key != "report"} for rule in CHANNELS])
OWN_ROWS = {int(Quality.UNCERTAIN_STALE), int(Quality.UNCERTAIN_NO_DATA)}  # rows that are no reading


@given(journals())
@settings(deadline=None, max_examples=30)
def test_each_reading_is_in_the_results_once_or_counted_as_repeated(groups: list[Group]) -> None:
    groups = [group for group in groups if isinstance(group.begin, Tick)]
    found = run(entries_of(groups, lambda _count: (), configured(REPORTING_ALL)))
    sent: dict[ChannelKey, list[float]] = defaultdict(list)
    for _, items in groups:
        for _, item in items:
            if isinstance(item, Value) and not math.isnan(item.value):
                sent[item.channel].append(item.value)
    here = {key: rows for key, rows in found.rows.readings.items() if key in sent}
    for key, rows in here.items():
        values = Counter(float.fromhex(str(row[1])) for row in rows if row[3] not in OWN_ROWS)
        assert not values - Counter(sent[key])
    kept = sum(row[3] not in OWN_ROWS for rows in here.values() for row in rows)
    of_features = sum(1 for key in found.rows.readings if key[1].startswith("vib"))
    missing = sum(map(len, sent.values())) - kept
    assert missing == found.counts["repeated"] if not of_features else 0 <= missing <= found.counts["repeated"]


@given(journals())
@settings(deadline=None, max_examples=30)
def test_rows_have_finite_values_known_marks_and_times_of_their_own(groups: list[Group]) -> None:
    for key, rows in run(entries_of(groups, lambda _count: ())).rows.readings.items():
        assert all(math.isfinite(float.fromhex(str(row[1]))) for row in rows), key
        assert {row[3] for row in rows} <= set(Quality), key
        assert max(Counter(row[0] for row in set(rows)).values()) == 1, key
