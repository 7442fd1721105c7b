"""The plan of faults and the plant's data set are functions of the seed and hold what they promise."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plan import ALL, KILLS, plan
from tests.chaos.plant import data_set

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.floats(1, 120), st.floats(0.2, 5))
def test_a_plan_is_a_function_of_its_seed_and_no_target_has_two_faults_at_once(
    seed: int, for_s: float, gap_s: float
) -> None:
    faults = plan(seed, for_s, gap_s)
    assert faults == plan(seed, for_s, gap_s)
    assert all(earlier.at_s <= later.at_s < for_s for earlier, later in pairwise(faults))
    for target in {fault.target for fault in faults}:
        own = [fault for fault in faults if fault.target == target]
        assert all(earlier.end_s < later.at_s for earlier, later in pairwise(own))


@given(SEEDS)
def test_a_minute_has_every_kind_of_fault(seed: int) -> None:
    assert {fault.kind for fault in plan(seed, 60.0, 0.7)} == {kind.name for kind in ALL}


def test_the_sensor_broker_is_only_stopped_in_order() -> None:
    assert [kind.name for kind in KILLS if "sensor" in kind.targets] == ["restart sensor broker"]


def test_the_data_set_is_a_function_of_its_seed() -> None:
    assert data_set(3, 20.0) == data_set(3, 20.0) != data_set(4, 20.0)


def test_the_data_set_has_waveforms_packed_late_and_repeated_messages_and_bad_values() -> None:
    data = data_set(1, 60.0)
    messages = [publication.message for publication in data.publications]
    times_ns = [message.rows[0].time_ns for message in messages]
    assert len(set(messages)) < len(messages)
    assert any(later < earlier - 1_000_000_000 for earlier, later in pairwise(times_ns))
    assert any(len(message.rows) > 1 for message in messages)
    assert any(message.topic.endswith("/vibration") for message in messages)
    assert any(row.value < 0 for row in data.rows if row.asset == "meter-1")
    assert len({(row.asset, row.channel, row.time_ns) for row in data.rows}) == len(data.rows)
