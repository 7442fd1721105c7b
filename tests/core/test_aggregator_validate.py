"""What is taken, what is refused, what is left to its gateway, and that each answer says why."""

import math
import pickle

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.config import Validation
from aggregator.core.gaps import GapMap
from aggregator.core.rows import MAX_NAMED, MAX_TEXT_BYTES
from aggregator.core.validate import Accepted, Held, Refused, Validator, validate
from aggregator.ports import Request
from models.contract.batch import MAX_BYTES, VERSION, Alarm, Batch, Inferences, Readings, encode_batch, pack
from models.contract.topics import topic
from tests.accounting import assert_accounted
from tests.batches import SECOND, T0, alarm, batch

TOPIC = topic("north", "gw1", "batch")
NOW = T0 + 60 * SECOND


def request(payload: bytes, *, name: str = TOPIC, publisher: str | None = None) -> Request:
    return Request(name, payload, None, None, None, publisher)


def judge(content: Batch, limits: Validation | None = None) -> Accepted | Refused | Held:
    return Validator(limits or Validation()).check(request(encode_batch(content)), NOW)


def accepted(content: Batch, limits: Validation | None = None) -> Accepted:
    result = judge(content, limits)
    assert isinstance(result, Accepted)
    return result


def refused(result: object) -> Refused:
    assert isinstance(result, Refused)
    return result


def held(result: object) -> Held:
    assert isinstance(result, Held)
    return result


# ---- bytes -----------------------------------------------------------------------------------------------------


@given(st.binary())
def test_no_bytes_make_it_fail(payload: bytes) -> None:
    for content in (payload, zstandard.compress(payload)):
        assert isinstance(Validator(Validation()).check(request(content), NOW), Refused)
        assert isinstance(validate(TOPIC, content), Refused)


@given(st.text(max_size=80), st.binary(max_size=40), st.none() | st.text(max_size=80), st.none() | st.just("publisher"))
def test_no_message_makes_it_fail(name: str, payload: bytes, publisher: str | None, told_in: str | None) -> None:
    for topic_name in (name, TOPIC):
        result = Validator(Validation(), told_in).check(request(payload, name=topic_name, publisher=publisher), NOW)
        assert isinstance(result, Refused | Held)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_batch_with_changed_bytes_gets_an_answer(data: st.DataObject) -> None:
    content = bytearray(zstandard.decompress(encode_batch(batch([1.0, 2.0], alarms=[alarm(T0, is_open=True)]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result = Validator(Validation(), "publisher").check(
        request(zstandard.compress(bytes(content)), publisher="north/gw1"), NOW
    )
    assert isinstance(result, Accepted | Refused | Held)


def test_a_payload_above_the_limit_is_refused_before_it_is_looked_at() -> None:
    result = Validator(Validation(max_payload_bytes=1024)).check(request(b"x" * 1025), NOW)
    assert "1025 bytes are more than the 1024 of validation.max_payload_bytes" in refused(result).reason


def test_a_small_payload_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = zstandard.compress(b"\0" * (MAX_BYTES + 1))
    assert len(bomb) < 10_000
    assert f"more than {MAX_BYTES}" in refused(Validator(Validation()).check(request(bomb), NOW)).reason


@pytest.mark.parametrize("claim", ["x" * 60_000, "../../etc", "$share/x/tocsin/v1/north/gw1/batch", ""])
def test_a_reason_stays_short_whatever_its_sender_is_called(claim: str) -> None:
    on_topic = Validator(Validation()).check(request(encode_batch(batch([1.0])), name=claim), NOW)
    by_publisher = Validator(Validation(), "publisher").check(request(b"", publisher=claim or "x"), NOW)
    assert len(refused(on_topic).reason) < 400
    assert len(held(by_publisher).reason) < 400


# ---- identity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tocsin/v1/south/gw1/batch", "tocsin/v1/north/gw2/batch"])
def test_a_batch_on_the_topic_of_another_gateway_is_refused(name: str) -> None:
    result = refused(Validator(Validation()).check(request(encode_batch(batch([1.0], seq=7)), name=name), NOW))
    assert (result.epoch, result.seq) == ("e1", 7)
    assert "north/gw1" in result.reason


def test_a_topic_that_is_not_for_batches_is_refused() -> None:
    assert isinstance(validate("tocsin/v1/north/gw1/state", encode_batch(batch([1.0]))), Refused)


def test_who_the_broker_names_must_be_the_gateway_of_the_topic() -> None:
    payload = encode_batch(batch([1.0]))
    validator = Validator(Validation(), "publisher")
    assert isinstance(validator.check(request(payload, publisher="north/gw1"), NOW), Accepted)
    for other in ("north/gw2", "gw1", "north-gw1", "north/gw1/", "North/gw1", "north/gw1 and north/gw2"):
        # no receipt: one would go to the gateway of the topic, which may have sent nothing
        result = held(validator.check(request(payload, publisher=other), NOW))
        assert result.kind == "identity"
        assert other in result.reason
        assert isinstance(validator.check(request(b"x" * (17 << 20), publisher=other), NOW), Held)


@pytest.mark.parametrize("publisher", [None, ""])
def test_a_batch_stays_with_its_gateway_while_the_broker_does_not_say_who_published_it(publisher: str | None) -> None:
    result = held(Validator(Validation(), "publisher").check(request(b"whatever", publisher=publisher), NOW))
    assert result.kind == "identity"
    assert "broker.identity_property = 'publisher'" in result.reason


def test_who_published_does_not_matter_unless_the_broker_is_asked() -> None:
    payload = encode_batch(batch([1.0]))
    assert isinstance(Validator(Validation()).check(request(payload, publisher="north/gw2"), NOW), Accepted)


# ---- versions --------------------------------------------------------------------------------------------------


def later(**content: object) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode({"version": VERSION + 1} | content))


@pytest.mark.parametrize("payload", [later(), later(site="north", gateway="gw1"), later(site=5, readings=[1])])
def test_a_batch_of_a_newer_version_stays_with_its_gateway(payload: bytes) -> None:
    result = held(Validator(Validation()).check(request(payload), NOW))
    assert result.kind == "version"
    assert f"version {VERSION + 1}" in result.reason


def test_a_batch_of_a_newer_version_in_another_name_is_refused() -> None:
    payload = later(site="north", gateway="gw2")
    assert "north/gw2" in refused(Validator(Validation()).check(request(payload), NOW)).reason


# ---- clocks ----------------------------------------------------------------------------------------------------

AHEAD = NOW + 3600 * SECOND + 1


def ahead_inference() -> Batch:
    content = batch([1.0])
    content.inferences.time_ns = pack([AHEAD], "<i8")
    return content


@pytest.mark.parametrize(
    "content",
    [
        batch([1.0], start_ns=AHEAD),
        batch([1.0, 2.0, 3.0], start_ns=AHEAD - 2 * SECOND),
        batch([1.0], alarms=[alarm(T0, is_open=True), alarm(AHEAD, is_open=True)]),
        ahead_inference(),
    ],
)
def test_a_batch_from_the_future_stays_with_its_gateway_for_one_of_the_clocks_is_wrong(content: Batch) -> None:
    result = held(judge(content))
    assert result.kind == "clock"
    assert "validation.future_s = 3600" in result.reason
    later_ns = Validator(Validation()).check(request(encode_batch(content)), AHEAD)
    assert isinstance(later_ns, Accepted)


def test_a_heartbeat_from_the_future_holds_up_no_readings() -> None:
    """A gateway whose clock was far ahead once stamps its own word so for years; its sensors may know better."""
    content = batch([1.0])
    content.gateway_time_ns = AHEAD
    result = accepted(content)
    assert [table.measurement for table in result.points.tables] == ["reading", "inference"]
    assert (result.refused, result.is_clock_ahead) == ([], True)
    content.gateway_fields = {}
    assert accepted(content).refused == [], "without a field it is no row"


def test_a_clock_may_be_ahead_by_as_much_as_is_configured() -> None:
    assert accepted(batch([1.0], start_ns=AHEAD - 1)).refused == []
    assert isinstance(judge(batch([1.0], start_ns=NOW + SECOND + 1), Validation(future_s=1)), Held)


def test_a_batch_that_is_held_brings_no_series() -> None:
    validator = Validator(Validation(max_series=2))
    validator.check(request(encode_batch(batch([1.0], start_ns=AHEAD))), NOW)
    assert validator.guard.known(("north", "gw1")) == 0


# ---- rows ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["", "a\nb", "ends with \\", "a\\,b", "a\\\\b", "x" * 65_536])
def test_a_tag_that_no_store_can_carry_is_refused(name: str) -> None:
    result = accepted(batch([1.0, 2.0], series=[("pump-7", name), ("pump-7", "good")]))
    assert ["tag" in refusal.reason for refusal in result.refused] == [True]
    assert len(result.refused[0].row) <= 1000
    assert len(result.points.tables[0]) == 1


@pytest.mark.parametrize("field", ["id", "message"])
def test_a_text_that_no_store_can_carry_is_refused(field: str) -> None:
    fits, long = "é" * (MAX_TEXT_BYTES // 2), "é" * (MAX_TEXT_BYTES // 2) + "x"
    alarms = [msgspec.structs.replace(alarm(T0, is_open=True), **{field: text}) for text in (long, fits)]
    result = accepted(batch([1.0], alarms=alarms))
    assert ["a text is longer than" in refusal.reason for refusal in result.refused] == [True]
    assert [len(table) for table in result.points.tables if table.measurement == "alarm"] == [1]


def test_a_field_that_the_schema_has_not_is_left_out_and_said_so() -> None:
    content = batch([1.0])
    content.inferences.fields["wobble"] = pack([1.0])
    result = accepted(content)
    assert ["wobble" in refusal.reason for refusal in result.refused] == [True]
    assert "wobble" not in result.points.tables[1].floats


def test_what_a_newer_gateway_says_of_itself_is_left_out_without_a_word() -> None:
    content = batch([1.0])
    content.gateway_fields = {"wobble_total": 1.0, "readings_total": 2.0}
    result = accepted(content)
    assert result.refused == []
    [heartbeat] = [table for table in result.points.tables if table.measurement == "gateway"]
    assert list(heartbeat.floats) == ["readings_total"]


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


numbers = st.sampled_from([0.0, 1.5, math.nan, math.inf, -math.inf])
times = st.sampled_from([T0, T0 + 1, NOW, 0, -1, 2**63 - 1])
tags = st.sampled_from(["a", "b", "c", "", "x\n", "y" * 1001])


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    n, m = draw(st.integers(0, 6)), draw(st.integers(0, 4))

    def column(size: int, kind: st.SearchStrategy[float], dtype: str = "<f8") -> bytes:
        return pack(draw(st.lists(kind, min_size=size, max_size=size)), dtype)

    changes = st.builds(
        Alarm,
        asset=tags,
        code=tags,
        time_ns=times,
        is_open=st.booleans(),
        severity=numbers,
        id=tags,
        message=st.sampled_from(["", "m" * 70_000]),
    )
    return Batch(
        site="north",
        gateway="gw1",
        epoch="e",
        seq=1,
        readings=Readings(
            series=draw(st.lists(st.tuples(tags, tags), min_size=3, max_size=3)),
            index=column(n, st.integers(0, 2), "<i4"),
            time_ns=column(n, times, "<i8"),
            value=column(n, numbers),
            denoised=column(n, numbers),
            quality=column(n, st.integers(0, 255), "u1"),
        ),
        inferences=Inferences(
            series=draw(st.lists(st.tuples(tags, tags, tags), min_size=2, max_size=2)),
            index=column(m, st.integers(0, 1), "<i4"),
            time_ns=column(m, times, "<i8"),
            fields={name: column(m, numbers) for name in draw(st.sets(st.sampled_from(["health", "rul_h", "new"])))},
        ),
        alarms=draw(st.lists(changes, max_size=3)),
        gateway_time_ns=draw(times.filter(lambda time_ns: time_ns >= 0)),
        gateway_fields=draw(st.dictionaries(st.sampled_from(["readings_total", "lag_s", "new"]), numbers, max_size=3)),
    )


@given(batches(), st.integers(1, 6))
@settings(deadline=None, max_examples=100)
def test_each_row_is_stored_or_refused_or_says_nothing(content: Batch, most: int) -> None:
    assert_accounted(content, accepted(content, Validation(max_series=most)))


# ---- series ----------------------------------------------------------------------------------------------------


def names(start: int, stop: int) -> list[tuple[str, str]]:
    return [("pump-7", f"channel-{number}") for number in range(start, stop)]


def test_rows_of_series_beyond_the_limit_are_refused_and_those_of_known_series_go_on() -> None:
    validator = Validator(Validation(max_series=3))
    first = validator.check(request(encode_batch(batch([1.0, 2.0], series=names(0, 2)))), NOW)
    assert isinstance(first, Accepted)
    assert (first.refused, first.beyond) == ([], 0)
    more = batch([1.0] * 6, series=names(0, 4), alarms=[alarm(T0, is_open=True)])
    for _ in range(2):
        second = validator.check(request(encode_batch(more)), NOW)
        assert isinstance(second, Accepted)
        assert second.beyond == len(second.refused) == 3
        assert all("beyond the 3 " in one.reason and "validation.max_series" in one.reason for one in second.refused)
        assert [(table.measurement, len(table)) for table in second.points.tables] == [
            ("reading", 4),
            ("inference", 1),
            ("gateway", 1),
        ]


def test_a_gateways_own_row_gets_through_whatever_it_has_invented() -> None:
    result = accepted(batch([1.0] * 5, series=names(0, 5)), Validation(max_series=1))
    assert [table.measurement for table in result.points.tables] == ["reading", "gateway"]


def flood(start: int, count: int) -> bytes:
    return encode_batch(batch([1.0] * count, series=names(start, start + count)))


def test_series_that_a_gateway_invents_are_counted_and_not_kept() -> None:
    validator = Validator(Validation())
    beyond = 0
    for start in range(0, 400_000, 200_000):
        result = validator.check(request(flood(start, 200_000)), NOW + 10**6 * SECOND)
        assert isinstance(result, Accepted)
        assert len(result.refused) == MAX_NAMED
        assert len(result.points) + len(result.refused) + result.unnamed == 200_002
        beyond += result.beyond
    assert beyond == 380_000 + 2  # each batch's inference, too: its series came when there was no more room
    assert len(pickle.dumps(validator)) < 9 * 20_000


def test_a_million_new_series_in_one_batch_are_refused_whole() -> None:
    content = b"\x81\xa8readings\x81\xa6series\xdd\x00\x0f\x42\x40" + b"\x92\xa1a\xa1b" * 1_000_000
    result = refused(Validator(Validation()).check(request(zstandard.compress(content)), NOW))
    assert "length <=" in result.reason


# ---- what comes again ------------------------------------------------------------------------------------------


def test_a_batch_that_is_played_again_gives_the_same_rows_and_is_known_to_be_a_repetition() -> None:
    validator, gaps = Validator(Validation(max_series=3)), GapMap()
    payload, repeated, lines = encode_batch(batch([1.0, 2.0], seq=3)), [], []
    for _ in range(2):
        result = validator.check(request(payload), NOW)
        assert isinstance(result, Accepted)
        lines.append(result.points.lines())
        repeated.append(gaps.add(result.gateway, result.epoch, result.seq, 1, 0.0).is_repeated)
    assert lines[0] == lines[1] != []
    assert repeated == [False, True]
