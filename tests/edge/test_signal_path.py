"""The promises of the whole signal path, with every stage configured: nothing depends on cuts, nothing is lost."""

import math
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core import state
from edge_agent.core.entries import Tick
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
@settings(deadline=None, max_examples=15)
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
@settings(deadline=None, max_examples=5)
def test_each_message_in_an_entry_of_its_own_gives_the_results_of_all_in_one(groups: list[Group]) -> None:
    entries = entries_of(groups, range)
    assert run(entries, range(len(entries))) == run(entries_of(groups, lambda _count: ()))


def at_second(*sent: tuple[ChannelKey, float, float], second: int = 6) -> Group:
    """Channel, time in s, value of each; they arrive at one second."""
    now_ns = T0 + second * SECOND
    values = [Value(key, T0 + round(time_s * 1000) * MS, value) for key, time_s, value in sent]
    return Group(Tick(arrival_ns=now_ns, listened_ns=now_ns), [(now_ns + i, each) for i, each in enumerate(values)])


def assert_cuts_do_not_matter(groups: list[Group]) -> None:
    entries = entries_of(groups, range)
    assert run(entries, range(len(entries))) == run(entries_of(groups, lambda _count: ()))


def test_sensors_of_one_quantity_are_held_against_each_other_in_order_of_arrival_though_one_repeats_itself() -> None:
    sent = [
        (("m1", name), i + part / 10, 11.0 if i % (part + 2) == 0 and part < 2 else 1.0)
        for i in range(6)
        for part, name in enumerate(("t1", "t2", "t3"))
    ]
    assert_cuts_do_not_matter([at_second(*sent[:10], sent[3], *sent[10:])])


def test_a_channel_without_filters_keeps_its_huge_values_when_one_with_filters_appears() -> None:
    assert_cuts_do_not_matter([at_second((("x", "t3"), 0, 1e300), (("x", "t1"), 0, 1.0))])


def test_a_model_with_a_mask_sees_the_frames_before_its_first_input_appeared() -> None:
    early = [(("n1", "t3"), i / 4, 1.0) for i in range(20)]
    both = [((("n1", name)), 5 + i / 4, 1.0) for i in range(8) for name in ("t1", "t3")]
    groups = [at_second(*early, *both), at_second(second=60), at_second(second=120)]
    assert_cuts_do_not_matter(groups)
    scored = run(entries_of(groups, range)).rows.scores["n1", "mask", "1"]
    assert scored[0][0] == T0 + 5 * SECOND


def test_cells_that_are_open_when_a_channel_is_put_on_the_grid_in_another_way_hold_the_same_however_cut() -> None:
    parts = (("temp", 0.25), ("t1", 0.5), ("temp", 0.75))
    sent = [(("m1", name), i + part, 10.0 + part) for i in (4, 8) for name, part in parts]
    groups = [at_second(*sent, second=9), Group(CONFIGURATIONS[1], []), at_second(second=30), at_second(second=60)]
    assert_cuts_do_not_matter(groups)


REPORTING_ALL = config([{key: rule[key] for key in rule if key != "report"} for rule in CHANNELS])
OWN_ROWS = {int(Quality.UNCERTAIN_STALE), int(Quality.UNCERTAIN_NO_DATA)}  # rows that are no reading


@given(journals())
@settings(deadline=None, max_examples=15)
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
@settings(deadline=None, max_examples=15)
def test_rows_have_finite_values_known_marks_and_times_of_their_own(groups: list[Group]) -> None:
    sent: Counter[tuple[str, ...]] = Counter(item.channel for _, items in groups for _, item in items)
    for key, rows in run(entries_of(groups, lambda _count: ())).rows.readings.items():
        assert all(math.isfinite(float.fromhex(str(row[1]))) for row in rows), key
        assert {row[3] for row in rows} <= set(Quality), key
        if 0 < sent[key] <= DEPTH:  # what was stated longer ago is not remembered
            assert max(Counter(row[0] for row in set(rows)).values()) == 1, key


PLAIN = config(
    [
        {
            "match": "pump/temp",
            "range": [-40.0, 120.0],
            "operating_range": [0.0, 80.0],
            "flat_s": 10.0,
            "no_data_factor": 5.0,
            "denoise": [{"filter": "hampel", "window": 7, "max_gap_s": 10.0}],
        },
        {"match": "*/*"},
    ]
)
HEALTHY = [20 + math.sin(second) for second in range(60)]


def marks(groups: list[Group], key: ChannelKey) -> dict[str, list[int]]:
    """In words: the seconds of the rows that have each mark but "good"."""
    rows = run(entries_of(groups, range, configured(PLAIN))).rows.readings[key]
    out: dict[str, list[int]] = defaultdict(list)
    for time_ns, _, _, quality in rows:
        assert isinstance(time_ns, int)
        assert isinstance(quality, int)
        out[label(quality)].append((time_ns - T0) // SECOND)
    out.pop("good", None)
    return out


def once_a_second(values: list[float | None], key: ChannelKey, ahead_s: int = 0) -> list[Group]:
    """A reading a second; None: nothing is sent."""
    groups = []
    for second, value in enumerate(values):
        now_ns = T0 + second * SECOND
        sent: list[Item] = [(now_ns, Value(key, now_ns + ahead_s * SECOND, value))] if value is not None else []
        groups.append(Group(Tick(arrival_ns=now_ns, listened_ns=now_ns), sent))
    return groups


def test_a_sensor_that_sticks_spikes_drifts_away_and_falls_silent_is_marked_in_these_words() -> None:
    values: list[float | None] = [*HEALTHY]
    values += [20.0] * 20  # from second 60 on: stuck
    values += HEALTHY[20:]
    values[100] = 55.0
    drift = [20.0 + i for i in range(111)]
    values += drift  # from second 120 on; above 80 at 181, above 120 at 221
    values += [None] * 60  # from second 231 on: silent
    values += HEALTHY
    assert marks(once_a_second(values, ("pump", "temp")), ("pump", "temp")) == {
        "uncertain: flat": list(range(71, 80)),
        # A median of one value only takes the first others for spikes as well.
        "uncertain: spike": [80, 83, 100],
        "uncertain: operating": list(range(181, 221)),
        "bad: range": list(range(221, 231)),
        "uncertain: no data": [236],
    }


def test_a_sender_whose_clock_is_five_minutes_ahead_is_marked_and_one_that_is_right_is_not() -> None:
    values: list[float | None] = [*HEALTHY]
    wrong, right = (once_a_second(values, (asset, "speed"), s) for asset, s in (("fan", 300), ("mill", 0)))
    groups = [Group(a.begin, [*a.items, *b.items]) for a, b in zip(wrong, right, strict=True)]
    assert marks(groups, ("fan", "speed")) == {"uncertain: clock": list(range(300, 360))}
    assert marks(groups, ("mill", "speed")) == {}


def test_a_source_that_says_it_has_no_value_any_more_repeats_its_last_one_with_the_word_stale() -> None:
    groups = once_a_second([1.0, 2.0, math.nan, 3.0], ("fan", "speed"))
    gone = Value(("fan", "speed"), T0 + 2 * SECOND, math.nan, Quality.UNCERTAIN_STALE)
    groups[2] = groups[2]._replace(items=[(T0, gone)])
    assert marks(groups, ("fan", "speed")) == {"uncertain: stale": [2]}
    rows = run(entries_of(groups, range, configured(PLAIN))).rows.readings["fan", "speed"]
    assert [float.fromhex(str(row[1])) for row in rows] == [1.0, 2.0, 2.0, 3.0]


def test_a_sensor_that_speaks_again_is_reported_even_if_it_says_the_same_as_before() -> None:
    thinned = config([{"match": "*/*", "no_data_factor": 3.0, "report": {"filter": "deadband", "band": 1.0}}])
    groups = once_a_second([5.0] * 30 + [None] * 20 + [5.0] * 5, ("pump", "temp"))
    rows = run(entries_of(groups, range, configured(thinned))).rows.readings["pump", "temp"]
    assert [(label(int(str(row[3]))), (int(str(row[0])) - T0) // SECOND) for row in rows] == [
        ("good", 0),
        ("uncertain: no data", 33),
        ("good", 50),
    ]


def test_the_state_of_two_thousand_channels_with_everything_is_below_twenty_kilobytes_a_channel() -> None:
    names = [name for name in NAMES if name != "vib"]
    assets = [f"m{i}" for i in range(2000 // len(names))]
    pipeline = Pipeline(MODELS.__getitem__)
    pipeline.run([CONFIGURATIONS[0]], Results())
    for second in range(12):
        now_ns = T0 + second * SECOND
        sent: list[Item] = [
            (now_ns, Value((asset, name), now_ns + part * 250 * MS, 10.0 + (part * 7 + i) % 5))
            for part in range(4)
            for i, asset in enumerate(assets)
            for name in names
        ]
        pipeline.run([Tick(arrival_ns=now_ns, listened_ns=now_ns), data(sent)], Results())
    assert len(state.dump(pipeline.snapshot())) < 20_000 * len(assets) * len(names)
