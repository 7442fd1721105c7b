"""What is taken, what is refused, and that each refusal says why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.core.validate import Accepted, Refused, validate
from models.contract.batch import Batch, Readings, encode_batch, pack
from models.contract.topics import topic
from tests.batches import T0, alarm, batch

TOPIC = topic("north", "gw1", "batch")


def accepted(content: Batch) -> Accepted:
    result = validate(TOPIC, encode_batch(content))
    assert isinstance(result, Accepted)
    return result


@given(st.binary())
def test_no_bytes_make_it_fail(payload: bytes) -> None:
    assert isinstance(validate(TOPIC, payload), Refused)


@pytest.mark.parametrize("name", ["tocsin/v1/south/gw1/batch", "tocsin/v1/north/gw2/batch"])
def test_a_batch_on_the_topic_of_another_gateway_is_refused(name: str) -> None:
    result = validate(name, encode_batch(batch([1.0], seq=7)))
    assert isinstance(result, Refused)
    assert (result.epoch, result.seq) == ("e1", 7)


def test_a_topic_that_is_not_for_batches_is_refused() -> None:
    assert isinstance(validate("tocsin/v1/north/gw1/state", encode_batch(batch([1.0]))), Refused)


@pytest.mark.parametrize(
    ("value", "reason"), [(math.nan, "not a number"), (math.inf, "infinite"), (-math.inf, "infinite")]
)
def test_a_reading_without_a_finite_value_is_refused_and_the_others_are_taken(value: float, reason: str) -> None:
    result = accepted(batch([1.0, value, 3.0]))
    assert [reason in refusal.reason for refusal in result.refused] == [True]
    assert result.points.tables[0].floats["value"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("time_ns", [0, -5, 2**63 - 1])
def test_a_row_without_a_sane_time_is_refused(time_ns: int) -> None:
    content = batch([1.0])
    content.readings.time_ns = pack([time_ns], "<i8")
    result = accepted(content)
    assert ["time" in refusal.reason for refusal in result.refused] == [True]
    assert [table.measurement for table in result.points.tables] == ["inference", "gateway"]


def test_an_alarm_time_beyond_every_column_is_refused() -> None:
    result = accepted(batch([1.0], alarms=[alarm(2**64 - 1, is_open=True)]))
    assert ["time" in refusal.reason for refusal in result.refused] == [True]


@pytest.mark.parametrize("name", ["", "a\nb", "ends with \\", "a\\,b", "a\\\\b"])
def test_a_tag_that_line_protocol_cannot_carry_is_refused(name: str) -> None:
    result = accepted(batch([1.0, 2.0], series=[("pump-7", name), ("pump-7", "good")]))
    assert ["tag" in refusal.reason for refusal in result.refused] == [True]
    assert len(result.points.tables[0]) == 1


def test_a_field_that_the_schema_has_not_is_left_out_and_said_so() -> None:
    content = batch([1.0])
    content.inferences.fields["wobble"] = pack([1.0])
    result = accepted(content)
    assert ["wobble" in refusal.reason for refusal in result.refused] == [True]
    assert "wobble" not in result.points.tables[1].floats


def test_a_row_that_says_nothing_is_left_out() -> None:
    content = batch([1.0])
    content.inferences.fields = {"health": pack([math.nan])}
    result = accepted(content)
    assert result.refused == []
    assert [table.measurement for table in result.points.tables] == ["reading", "gateway"]


def test_an_empty_batch_is_taken() -> None:
    empty = Batch(site="north", gateway="gw1", epoch="e1", seq=1, readings=Readings())
    assert len(accepted(empty).points) == 0


def test_time_is_kept_to_the_nanosecond() -> None:
    assert accepted(batch([1.0], start_ns=T0 + 1)).points.tables[0].time_ns.tolist() == [T0 + 1]
