"""The doctor's analysis: what is heard becomes groups, findings, and a draft with which an intake reads all of it."""

import gzip
import io
import json
import tomllib
from collections.abc import Sequence

import cbor2
import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edge_agent.config import Broker, EdgeConfig
from edge_agent.core.doctor import Diagnosis, Heard, Log, diagnose
from edge_agent.core.doctor.draft import draft_of
from edge_agent.core.doctor.heard import SAMPLE_BYTES
from edge_agent.core.doctor.rates import nice, pace
from edge_agent.doctor_report import show
from models.contract.config_errors import check
from tests.edge.doctor_senders import SECOND, T0, Payload, drafted, kinds, log_of, read_by, timed
from tests.sparkplug_node import M, payload


def value(number: int, arrival_ns: int) -> bytes:
    return json.dumps({"ts": arrival_ns // 1_000_000, "value": 20 + number % 7, "unit": "degC"}).encode()


def many(number: int, arrival_ns: int) -> dict[str, float]:
    return {"ts": arrival_ns // 1_000_000, "speed": 1000.0 + number, "current": 3.5 + number % 3}


def senml(number: int, arrival_ns: int) -> list[dict[str, object]]:
    return [
        {"bn": "dev7:", "bt": arrival_ns / 1e9, "n": "level", "u": "m", "v": 1 + number / 10},
        {"n": "flow", "u": "m3/s", "v": number},
    ]


ZOO: dict[str, Payload] = {
    "plant/line1/pump-1/temperature": value,
    "plant/line1/pump-2/temperature": value,
    "plant/line1/pump-1/pressure": lambda n, _t: b"%d.5" % n,
    "plant/line1/pump-2/running": lambda n, _t: b"true" if n % 3 else b"false",
    "plant/drives/drive-1": lambda n, t: json.dumps(many(n, t)).encode(),
    "plant/drives/drive-2": lambda n, t: json.dumps(many(n, t)).encode(),
    "senml/tank/7": lambda n, t: json.dumps(senml(n, t)).encode(),
    "packed/press-1": lambda n, t: msgspec.msgpack.encode(many(n, t)),
    "cbor/oven-1": lambda n, t: cbor2.dumps(many(n, t)),
    "senmlc/x/y/z": lambda n, t: cbor2.dumps([{-2: "d:", -3: t / 1e9, 0: "a", 1: "Cel", 2: n}]),
    "line/host1": lambda n, t: b"cpu,core=1 load=%d.5,temp=40i %d" % (n, t),
    "zipped/pump-3": lambda n, t: gzip.compress(json.dumps(many(n, t)).encode()),
    "zstd/pump-4": lambda n, t: zstandard.compress(json.dumps(many(n, t)).encode()),
    "text/meter-1/power": lambda n, _t: json.dumps({"time": T0 // SECOND + n, "value": f"{n}.25"}).encode(),
    "sound/fan-1/microphone": lambda n, t: json.dumps(
        {"ts": t // 1_000_000, "dt": 1e-4, "values": np.sin(np.arange(64) + n).round(4).tolist()}
    ).encode(),
}


@pytest.fixture(scope="module")
def zoo() -> Diagnosis:
    return diagnose(log_of(ZOO))


def test_a_draft_reads_every_message_of_a_zoo_of_senders(zoo: Diagnosis) -> None:
    entry = read_by(drafted(zoo), zoo.log)
    assert entry.deadletters == []
    assert zoo.trial.refused == {}
    assert [kind for kind in kinds(zoo) if kind.startswith("no_")] == []


def test_in_a_narrow_terminal_names_are_broken_at_a_slash(zoo: Diagnosis) -> None:
    lines = {}
    for width in (74, 80, 200):
        console = Console(width=width, file=io.StringIO())
        show(zoo, 60.0, console)
        lines[width] = [line.split()[0] for line in console.file.getvalue().splitlines() if line.split()]  # type: ignore[attr-defined]
    assert {"plant/line1/{asset}/", "{channel}", "pump-1/temperature"} <= set(lines[80])
    assert {"pump-1/", "temperature", "host1/cpu.1.load"} <= set(lines[74])
    assert "plant/line1/{asset}/{channel}" in lines[200]


def test_formats_and_templates_of_the_zoo_are_those_of_its_senders(zoo: Diagnosis) -> None:
    found = {topic: group for group in zoo.groups.groups for topic in group.topics}
    assert {topic: (found[topic].reading.format, found[topic].reading.compression) for topic in ZOO} == {
        topic: {
            "senml": ("senml-json", "none"),
            "packed": ("msgpack", "none"),
            "cbor": ("cbor", "none"),
            "senmlc": ("senml-cbor", "none"),
            "line": ("influx-line", "none"),
            "zipped": ("json", "gzip"),
            "zstd": ("json", "zstd"),
        }.get(topic.split("/")[0], ("json", "none"))
        for topic in ZOO
    }
    assert found["plant/line1/pump-1/temperature"].template == "plant/line1/{asset}/{channel}"
    assert found["plant/drives/drive-1"].template == "plant/drives/{asset}"
    assert found["senml/tank/7"].template == "senml/tank/{asset}"


def test_units_times_and_rates_are_those_of_the_payloads(zoo: Diagnosis) -> None:
    units = {key: zoo.unit(channel) for key, channel in zoo.trial.channels.items()}
    assert units["pump-1", "temperature"] == "degC"
    assert units["7", "dev7:level"] == "m"
    assert units["7", "dev7:flow"] == "m3/s"
    assert units["z", "d:a"] == "Cel"
    assert {topic: zoo.guesses[topic].time for topic in ZOO if zoo.guesses[topic].time != "ms"} == {
        "plant/line1/pump-1/pressure": "",
        "plant/line1/pump-2/running": "",
        "senml/tank/7": "s",
        "senmlc/x/y/z": "s",
        "line/host1": "ns",
        "text/meter-1/power": "s",
    }
    config = drafted(zoo)
    assert config.assets[-1].period_s == 1.0
    temperature, microphone = config.channel_rule("pump-1", "temperature"), config.channel_rule("fan-1", "microphone")
    assert temperature is not None
    assert temperature.unit == "degC"
    assert microphone is not None
    assert microphone.kind == "waveform"


def one(sender: Payload, topic: str = "plant/pump-1/temperature", **how: int) -> dict[str, list[tuple[str, str]]]:
    return kinds(diagnose(log_of({topic: sender}, **how)))


@pytest.mark.parametrize(
    ("kind", "sender", "detail"),
    [
        ("constant", timed(0, lambda _: 21.5), "20 times 21.5"),
        ("stuck", timed(0, lambda n: min(n, 5)), "15 times 5, after it had changed"),
        ("clock", timed(37), "37.0 s ahead"),
        ("clock", timed(-600), "600.0 s behind"),
        ("far_from_now", timed(-86_400 * 800), "2.2 years behind"),
        ("time_refused", timed(3600), "3600.0 s ahead"),
        ("time_refused", lambda n, _t: b'{"ts": %d, "value": 1}' % (n + 1), "55.8 years behind"),
        ("not_ascending", lambda n, t: timed(0)(n, t - (n % 2) * 5 * SECOND), "10 of 19 steps"),
        ("repeated", lambda n, _t: timed(0)(n // 2, T0 + n // 2 * SECOND), "10 of 20"),
        ("no_format", lambda _n, _t: b"<temperature>21</temperature>", None),
        ("no_format", lambda _n, _t: b"", None),
        ("refused", lambda n, t: b"{" if n == 5 else timed(0)(n, t), None),
        ("untimed", lambda n, _t: b"%d" % n, ""),
        ("large", lambda n, t: timed(0)(n, t)[:-1] + b', "pad": "' + b"x" * 300_000 + b'"}', "up to 293 KiB"),
        ("too_large", lambda _n, _t: b"1" * (SAMPLE_BYTES + 1), None),
    ],
)
def test_what_is_suspicious_is_named_with_the_figures(kind: str, sender: Payload, detail: str | None) -> None:
    found = one(sender)
    assert kind in found
    assert detail is None or found[kind][0][1] == detail


def test_a_sound_sender_gives_no_finding() -> None:
    assert one(timed(-0.05)) == {}


def test_how_messages_were_sent_is_told() -> None:
    log = log_of({"a/b/c": timed(0)}, qos=0)
    log.add(Heard("a/b/d", b'{"value": 1}', T0, 1, is_retained=True))
    log.add(Heard("a/b/e", b'{"value": 1}', T0, 1, is_retained=False))
    found = kinds(diagnose(log))
    assert [place for place, _ in found["qos_0"]] == ["a/b/c"]
    assert [place for place, _ in found["retained_only"]] == ["a/b/d"]
    assert [place for place, _ in found["once"]] == ["a/b/e"]


def test_sparkplug_is_read_by_its_births_and_said_to_be_unread_without() -> None:
    rpm = M(1.5, name="rpm", alias=3, time_ms=T0 // 1_000_000)
    birth = payload([M(0, "Int64", name="bdSeq"), rpm], seq=0, time_ms=T0 // 1_000_000)

    def data(number: int, time_ns: int) -> bytes:
        metric = M(float(number), alias=3, says_type=False, time_ms=time_ns // 1_000_000)
        return payload([metric], seq=number + 1, time_ms=time_ns // 1_000_000)

    log = Log()
    log.add(Heard("spBv1.0/g/NBIRTH/n", birth, T0 - 1, 1, is_retained=False))
    for number in range(20):
        at_ns = T0 + number * SECOND
        log.add(Heard("spBv1.0/g/NDATA/n", data(number, at_ns), at_ns, 1, is_retained=False))
    found = diagnose(log)
    assert found.trial.channels["n", "rpm"].values[-3:] == [17.0, 18.0, 19.0]
    assert [group.template for group in found.groups.groups] == ["spBv1.0/g/#"]
    unborn = log_of({"spBv1.0/g/NDATA/n": data})
    assert list(kinds(diagnose(unborn))) == ["before_birth"]


def test_the_worst_comes_first() -> None:
    log = log_of(
        {"a/b/c": lambda _n, _t: b"<x/>", "a/b/d": timed(0, lambda _: 1.0), "a/b/e": lambda n, _t: b"%d" % n}, qos=0
    )
    levels = [finding.level for finding in diagnose(log).findings]
    assert levels == sorted(levels, key=("error", "warning", "note").index)
    assert set(levels) == {"error", "warning", "note"}


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(["a", "a/b", "a/b/c", "a/p1/c", "spBv1.0/g/NDATA/n", "spBv1.0/STATE/h", "x/\x01/\"'\\\n"]),
            st.binary(max_size=40)
            | st.sampled_from([b"1", b"true", b'{"value": 1}', b'{"a": 1, "\\"\\n]": 2}', b"\x1f\x8b", b"[]", b"null"]),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_is_heard_the_draft_is_sound(messages: Sequence[tuple[str, bytes, bool]]) -> None:
    log = Log()
    for i, (topic, content, is_retained) in enumerate(messages):
        log.add(Heard(topic, content, T0 + i, 1, is_retained))
    found = diagnose(log)
    if found.groups.groups:
        drafted(found)


def test_memory_is_bounded_however_many_topics_and_messages_come() -> None:
    log = Log()
    for i in range(7000):
        log.add(Heard(f"t/{i}", b"1", T0 + i, 1, is_retained=False))
    for i in range(100_000):
        log.add(Heard("t/1", b"%d" % i, T0 + i, 1, is_retained=False))
    assert len(log.topics) == 5000
    assert log.unlogged == 2000
    one = log.topics["t/1"]
    assert one.live == 100_001
    assert 100 <= len(one.samples) <= 200
    numbers = [int(sample.payload) for sample in one.samples[1:]]
    assert len(set(np.diff(numbers))) == 1  # evenly over the time
    for i in range(100):
        log.add(Heard(f"t/{i}", b"x" * SAMPLE_BYTES, T0, 1, is_retained=False))
    assert sum(len(sample.payload) for sample in log.samples()) <= 64 * 1024 * 1024


def test_tocsins_own_topics_are_one_note_and_nothing_else() -> None:
    found = diagnose(log_of({"f/p-1/x": timed(0), "tocsin/v1/s/g/batch": lambda _n, _t: b"\x00"}))
    assert kinds(found) == {"own": [("tocsin/v1/#", "20 messages")]}
    assert (found.log.count, list(found.log.topics)) == (20, ["f/p-1/x"])


def test_topics_left_out_that_a_template_takes_are_told_as_dead_letters() -> None:
    found = diagnose(log_of({"f/p-1/x": timed(0), "f/p-1/y": lambda _n, _t: b"<x/>", "g": lambda _n, _t: b"<x/>"}))
    text = draft_of(found, Broker(), 5.0)
    assert "# Left out: 2 topics, such as " in text
    assert '# A template above takes 1 topic of these, such as "f/p-1/y": their messages will be dead letters.' in text


@pytest.mark.parametrize(
    ("period_s", "text"), [(None, ""), (0, ""), (5, "every 5 s"), (1, "every 1 s"), (0.05, "20 Hz")]
)
def test_a_rate_is_told_as_people_say_it(period_s: float | None, text: str) -> None:
    assert pace(period_s) == text


def test_the_draft_names_the_broker_and_no_secret() -> None:
    broker = Broker(host="broker.plant", port=8883, tls=True, username="doc", password_file="/etc/p", ca_file="/etc/ca")
    config = check(tomllib.loads(draft_of(diagnose(log_of(ZOO)), broker, 5.0)), EdgeConfig, "draft")
    assert config.sensor_broker.model_dump(include=set(Broker.model_fields)) == broker.model_dump()
    own = {"keepalive_s", "session_expiry_s"}
    assert config.uplink.model_dump(include=set(Broker.model_fields) - own) == broker.model_dump(exclude=own)


@pytest.mark.parametrize(
    ("period_s", "expected"), [(0, 0.001), (0.09, 0.1), (1.1, 1), (0.013, 0.01), (7, 5), (9e9, 3600)]
)
def test_a_period_is_rounded_to_one_that_people_would_choose(period_s: float, expected: float) -> None:
    assert nice(period_s) == expected
