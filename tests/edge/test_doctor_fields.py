"""The doctor's guess of `fields`: payloads of no usual shape are drafted so that the agent reads them."""

import json
from collections.abc import Callable

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import Broker
from edge_agent.core.doctor import Diagnosis, Heard, Log, diagnose
from edge_agent.core.doctor.draft import draft_of
from edge_agent.core.doctor.fields import guess_fields
from edge_agent.core.doctor.filters import filter_fault
from models.contract.quality import Quality
from tests.edge.doctor_senders import drafted, read_by

T0_MS = 1_760_000_000_000
ISO = "2025-10-09T08:53:{:02}.5Z"
Content = Callable[[int], object]


def heard(contents: dict[str, Content], pack: Callable[[object], bytes] = lambda one: json.dumps(one).encode()) -> Log:
    log = Log()
    for number in range(20):
        for i, (topic, content) in enumerate(contents.items()):
            at_ns = (T0_MS + number * 1000 + 20) * 1_000_000 + i
            log.add(Heard(topic, pack(content(number)), at_ns, 1, is_retained=False))
    return log


def fields_of(found: Diagnosis) -> dict[str, str]:
    (group,) = found.groups.groups
    return dict(group.reading.fields)


def kepware(number: int) -> object:
    at_ms = T0_MS + number * 1000
    names = ("Channel1.Device1.Temp", "Channel1.Device1.Flow", "Channel1.Device1.Level")
    values = [{"id": name, "v": number + i, "q": True, "t": at_ms + i} for i, name in enumerate(names)]
    return {"timestamp": at_ms + 10, "values": values}


def thingsboard(number: int) -> object:
    return {"Pump A": [{"ts": T0_MS + number * 1000, "values": {"temperature": 20.0 + number, "humidity": 40}}]}


def opc_ua(number: int) -> object:
    node = {"NodeId": "ns=2;s=Boiler", "Value": 3.5 + number, "SourceTimestamp": ISO.format(number)}
    return {"MessageId": "7", "Messages": [{"Payload": node, "StatusCode": 0}]}


def gateway(number: int) -> object:
    points = [{"name": name, "type": "float", "reading": number / 2, "raw": 7} for name in ("rpm", "torque")]
    return {"header": {"sent": {"time": ISO.format(number)}}, "machines": [{"machine": "m1", "points": points}]}


def nested(number: int) -> object:
    return {"meta": {"time": T0_MS // 1000 + number, "fw": "1.2"}, "d": {"t": 21.5 + number, "h": 40}}


def columns(number: int) -> object:
    return {"when": ISO.format(number), "tag": "flow" if number % 2 else "level", "val": number}


CASES: list[tuple[Content, dict[str, str], set[str]]] = [
    (
        kepware,
        {"items": "values", "time": "t", "value": "v", "channel": "id", "quality": "q"},
        {"Channel1.Device1.Temp", "Channel1.Device1.Flow", "Channel1.Device1.Level"},
    ),
    (thingsboard, {"items": "Pump A", "time": "ts", "values": "values"}, {"temperature", "humidity"}),
    (
        gateway,
        {"items": "machines.*.points", "time": "header.sent.time", "value": "reading", "channel": "name"},
        {"rpm", "torque"},
    ),
    (nested, {"time": "meta.time", "values": "d"}, {"t", "h"}),
    (columns, {"time": "when", "value": "val", "channel": "tag"}, {"flow", "level"}),
]


@pytest.mark.parametrize(("content", "fields", "channels"), CASES)
def test_fields_are_found_and_the_draft_reads_everything_with_its_times(
    content: Content, fields: dict[str, str], channels: set[str]
) -> None:
    log = heard({"plant/pump-1/data": content})
    found = diagnose(log)
    assert fields_of(found) == fields
    assert {finding.kind for finding in found.findings if finding.level == "error"} == set()
    entry = read_by(drafted(found), log)
    assert entry.deadletters == []
    assert {key[1] for key in entry.readings.channels} == channels
    assert set(entry.readings.quality.tolist()) == {Quality.GOOD}


@pytest.mark.parametrize("pack", [msgspec.msgpack.encode, cbor2.dumps])
@pytest.mark.parametrize(("content", "fields"), [(case[0], case[1]) for case in CASES])
def test_so_they_are_in_binary_formats(
    pack: Callable[[object], bytes], content: Content, fields: dict[str, str]
) -> None:
    log = heard({"plant/pump-1/data": content}, pack)
    found = diagnose(log)
    assert fields_of(found) == fields
    assert read_by(drafted(found), log).deadletters == []


def test_an_opc_ua_message_is_read_with_the_codes_that_its_qualities_need() -> None:
    log = heard({"plant/boiler-1/data": opc_ua})
    found = diagnose(log)
    (group,) = found.groups.groups
    assert dict(group.reading.settings) == {"quality_codes": "opc-ua"}
    entry = read_by(drafted(found), log)
    assert (entry.deadletters, {key[1] for key in entry.readings.channels}) == ([], {"ns=2;s=Boiler"})
    assert set(entry.readings.quality.tolist()) == {Quality.GOOD}


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        # A usual shape reads these, but mixes channels or assets, or passes over the time.
        (lambda n: {"ts": T0_MS + n, "name": "flow" if n % 2 else "level", "value": n}, "channel"),
        (lambda n: [{"ts": T0_MS + n, "tag": tag, "value": n} for tag in ("a", "b")], "channel"),
        (lambda n: {"ts": T0_MS + n, "device": f"p-{n % 3}", "values": {"rpm": n}}, "asset"),
        (lambda n: {"t": T0_MS + n, "value": n}, "time"),
    ],
)
def test_a_usual_shape_that_would_lose_something_gives_way(content: Content, fields: str) -> None:
    log = heard({"plant/pump-1/data": content})
    found = diagnose(log)
    assert fields in fields_of(found)
    assert read_by(drafted(found), log).deadletters == []


@pytest.mark.parametrize(
    "content",
    [
        lambda n: {"ts": T0_MS + n, "value": n, "unit": "degC", "status": "running"},
        lambda n: {"ts": T0_MS + n, "speed": n, "current": 3.5},
        lambda n: {"ts": T0_MS + n, "mode": "auto", "speed": n},
        lambda n: {"running": True, "speed": n},
        lambda n: {"id": "pump-7", "speed": n, "status": 1},
        lambda n: {"ts": T0_MS + n, "values": {"t": n, "time": 3}},
        lambda n: n,
    ],
)
def test_usual_shapes_stay_as_they_are(content: Content) -> None:
    (group,) = diagnose(heard({"plant/pump-1/data": content})).groups.groups
    assert group.reading.fields == ()


@pytest.mark.parametrize("status", [0, 1, 192, True, "running", "Good"])
def test_a_status_is_a_quality_only_where_it_reads_as_one(status: object) -> None:
    def content(number: int) -> object:
        return {"at": T0_MS + number, "list": [{"k": "a", "x": number, "status": status}, {"k": "b", "x": 1}]}

    def whole(number: int) -> object:
        return {"at": T0_MS + number, "list": [{"k": k, "x": number, "status": status} for k in "ab"]}

    found = diagnose(heard({"plant/pump-1/data": whole}))
    assert ("quality" in fields_of(found)) == (status in {0, 192, "Good"})
    assert all("quality" not in guess.has for guess in guess_fields([content(1)]))
    assert found.trial.refused == {}


def test_two_shapes_on_two_topics_are_two_entries_of_the_draft() -> None:
    log = heard({"plant/kep/data": kepware, "plant/tb/data": thingsboard, "plant/pump/temp": lambda n: n})
    found = diagnose(log)
    assert read_by(drafted(found), log).deadletters == []
    assert 'fields = { items = "values", time = "t", value = "v"' in draft_of(found, Broker(), 5.0)


_CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(T0_MS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["v", "ts", "id", "q", "values", "a.b", "*", "", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(contents=st.lists(_CONTENT, max_size=5))
def test_a_guess_never_fails_and_the_draft_is_sound_whatever_is_heard(contents: list[object]) -> None:
    guess_fields(contents)
    guess_fields([{"d": {1: 2, "t": 3}, 4: [{5: 6}]}, *contents])  # MessagePack and CBOR have keys that are no text
    log = Log()
    for i, content in enumerate(contents):
        log.add(Heard("a/b/c", json.dumps(content).encode(), T0_MS * 1_000_000 + i, 1, is_retained=False))
    found = diagnose(log)
    if found.groups.groups:
        drafted(found)


@pytest.mark.parametrize("text", ["#", "+", "a/#", "+/b/#", "a//b", "/", "$SYS/#", "a/+/c", "é/+", "$shared/x"])
def test_sound_filters_pass(text: str) -> None:
    assert filter_fault(text) == ""


@pytest.mark.parametrize(
    "text", ["", "bad/#/x", "a#", "#a", "a/b#", "##", "a+", "+a/b", "++", "a/\0", "\udcff", "x" * 70_000]
)
def test_faulty_filters_are_named_with_what_is_allowed(text: str) -> None:
    assert filter_fault(text)


def test_a_shared_subscription_would_take_messages_away() -> None:
    assert "take messages from those who share it" in filter_fault("$share/group/plant/#")
