"""Disagreement of redundant sensors, against a loop; and what an operator sees of it."""

import statistics

from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract.quality import BAD_FROM, Quality
from tests.edge.checks_stream import SECOND, Reading, Stream, config

KEYS = [("pump", "t1"), ("pump", "t2"), ("pump", "t3"), ("fan", "t2"), ("fan", "t1"), ("pump", "p"), ("pump", "q")]
GROUPS = [{0, 1, 2}, {3, 4}, {5, 6}]
LIMIT, HOLD_S = [2.0, 2.0, 0.5], 3
DECLARED = config(
    {"range": [-50, 50], "max_skew_s": 0},
    asset={
        "hold_s": HOLD_S,
        "redundant": [
            {"of": ["t1", "t2", "t3", "t4"], "max_difference": LIMIT[0]},
            {"of": ["p", "q", "t1"], "max_difference": LIMIT[2]},
        ],
    },
)
readings = st.lists(
    st.builds(
        Reading,
        st.integers(0, len(KEYS) - 1),
        st.integers(0, 12).map(lambda s: s * SECOND),
        st.sampled_from([0.0, 1.0, 1.5, 3.0, 5.0, 60.0]),
        st.sampled_from([0, 0, 0, Quality.BAD_SOURCE]),
    ),
    max_size=60,
).map(lambda rows: [row._replace(time_ns=row.time_ns + i * SECOND // 3) for i, row in enumerate(rows)])


def looped(rows: list[Reading]) -> list[bool]:
    newest: dict[int, int] = {}
    last: dict[int, tuple[int, float]] = {}
    out = []
    for channel, time_ns, value, quality in rows:
        ascends = time_ns > newest.get(channel, -1)
        newest[channel] = max(newest.get(channel, -1), time_ns)
        if not ascends or quality >= BAD_FROM or abs(value) > 50:
            out.append(False)
            continue
        last[channel] = (time_ns, value)
        group = next(i for i, members in enumerate(GROUPS) if channel in members)
        held = [last[m][1] for m in GROUPS[group] if m in last and time_ns - last[m][0] <= HOLD_S * SECOND]
        apart = max(held) - min(held) if len(held) == 2 else abs(value - statistics.median(held))
        out.append(apart > LIMIT[group])
    return out


@given(readings, st.lists(st.integers(1, 59), max_size=5))
@settings(deadline=None, max_examples=200)
def test_who_disagrees_is_what_a_loop_says_however_the_readings_are_cut(rows: list[Reading], cuts: list[int]) -> None:
    found = Stream(DECLARED, KEYS).run(rows, cuts)
    assert [quality == Quality.UNCERTAIN_DISAGREES for quality in found.quality] == [
        off and ascends for off, ascends in zip(looped(rows), found.ascends, strict=True)
    ]


def marked(*values: tuple[str, float]) -> list[bool]:
    """Of readings of the pump, a tenth of a second apart."""
    numbers = {name: i for i, (asset, name) in enumerate(KEYS) if asset == "pump"}
    rows = [Reading(numbers[name], SECOND * i // 10, value) for i, (name, value) in enumerate(values)]
    return [quality == Quality.UNCERTAIN_DISAGREES for quality in Stream(DECLARED, KEYS).run(rows).quality]


def test_of_three_the_one_that_is_off_is_marked() -> None:
    told = marked(("t1", 20), ("t2", 20.5), ("t3", 29), ("t1", 20), ("t2", 20.5), ("t3", 29))
    assert told == [False, False, True, False, False, True]


def test_of_two_both_are_marked() -> None:
    assert marked(("p", 1), ("q", 9), ("p", 1), ("q", 9)) == [False, True, True, True]


def test_one_alone_is_not_judged_and_nor_is_one_whose_others_are_old() -> None:
    for age_ns, expected in ((HOLD_S * SECOND, Quality.UNCERTAIN_DISAGREES), (HOLD_S * SECOND + 1, 0)):
        rows = [Reading(0, 0, 1.0), Reading(1, age_ns, 40.0)]
        assert Stream(DECLARED, KEYS).run(rows).quality == [0, expected]


def test_a_channel_of_two_groups_belongs_to_the_first() -> None:
    assert marked(("t1", 20), ("p", 1), ("q", 1.1), ("t1", 20), ("p", 1)) == [False] * 5
