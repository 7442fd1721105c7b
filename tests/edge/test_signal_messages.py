"""Messages of many formats, one after the other: how they are cut between commits changes no result."""

import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Configured, Data, JournalEntry, Tick
from edge_agent.core.intake import Intake, Message
from edge_agent.core.recent import Recent
from tests.signal_path import CHANNELS, MS, SECOND, T0, Run, config, configured, run
from tests.sparkplug_node import M, payload, topic

_FIELDS = {"items": "d.list", "time": "at", "channel": "n", "value": "v"}
_TOPICS: list[dict[str, Any]] = [
    {"template": "j/{asset}/{channel}"},
    {"template": "j/{asset}"},
    {"template": "f/{asset}", "fields": _FIELDS, "nulls": "skip"},
    {"template": "g/{asset}/{channel}", "compression": "gzip", "numbers_in_text": True},
    {"template": "m/{asset}", "format": "msgpack"},
    {"template": "s/{asset}", "format": "senml-json"},
    {"template": "l/{asset}", "format": "influx-line"},
    {"template": "r/{asset}/{channel}", "format": "raw", "dtype": "<f4", "rate_hz": 500.0, "scale": 0.5},
    {"template": "spBv1.0/plant-1/#", "format": "sparkplug-b"},
]
CONFIG = config([{"match": "*/broken", "kind": "waveform"}, *CHANNELS]).model_copy(
    update={"topics": EdgeConfig.model_validate(config().model_dump() | {"topics": _TOPICS}).topics}
)

Payload = tuple[str, bytes]  # topic and content


def _json(where: str, content: Any) -> Payload:
    return where, json.dumps(content).encode()


def _line(asset: str, ms: int, v: Sequence[float]) -> Payload:
    return f"l/{asset}", f"l,side=a t1={v[0]!r},t2={v[1]!r} {ms * MS}\nl temp={v[2]!r} {ms * MS + 50}".encode()


# By name: asset, time in ms, three values -> topic and payload.
FORMS: dict[str, Callable[[str, int, Sequence[float]], Payload]] = {
    "one": lambda a, ms, v: _json(f"j/{a}/temp", {"ts": ms, "value": v[0]}),
    "seconds": lambda a, ms, v: _json(f"j/{a}/t1", {"ts": ms / 1000, "value": v[0]}),
    "untimed": lambda a, _ms, v: _json(f"j/{a}/t2", {"value": v[0]}),
    "column": lambda a, ms, v: _json(f"j/{a}/flow", {"ts": ms, "dt": 0.1, "values": list(v)}),
    "same topic": lambda a, ms, v: _json(f"j/{a}/temp", {"ts": ms, "dt": 0.25, "values": list(v)}),
    "columns": lambda a, ms, v: _json(f"j/{a}/load", {"ts": [ms, ms + 70, ms + 90], "values": list(v)}),
    "packed": lambda a, ms, v: _json(f"j/{a}", {"ts": ms, "t1": v[0], "t2": v[1], "t3": v[2]}),
    "list": lambda a, ms, v: _json(f"j/{a}/press", [{"ts": ms + i * 200, "value": x} for i, x in enumerate(v)]),
    "fields": lambda a, ms, v: _json(f"f/{a}", {"d": {"list": [{"at": ms, "n": "t1", "v": v[0]}, {"v": None}]}}),
    "gzip": lambda a, ms, v: (f"g/{a}/rpm", gzip.compress(json.dumps({"ts": ms, "value": str(v[0])}).encode())),
    "msgpack": lambda a, ms, v: (f"m/{a}", msgspec.msgpack.encode({"ts": ms, "temp": v[0], "rpm": v[1]})),
    "senml": lambda a, ms, v: _json(f"s/{a}", [{"bt": ms / 1000, "n": "t3", "v": v[0]}, {"n": "load", "v": v[1]}]),
    "line": _line,
    "raw": lambda a, _ms, v: (f"r/{a}/vib", np.tile(np.array(v, "<f4"), 40).tobytes()),
    "wave": lambda a, ms, v: _json(f"j/{a}/vib", {"ts": ms, "dt": 0.002, "values": list(v) * 20}),
    "torn": lambda a, _ms, _v: (f"j/{a}/temp", b'{"ts": 1'),
    "of another kind": lambda a, ms, v: _json(f"j/{a}/broken", {"ts": ms, "value": v[0]}),
    "1970": lambda a, _ms, v: _json(f"j/{a}/temp", {"ts": 0, "value": v[0]}),
    "of no topic": lambda _a, ms, v: _json("z", {"ts": ms, "value": v[0]}),
}
REFUSED = {"torn", "of another kind", "1970", "of no topic"}
_METRICS = [("temp", 11), ("t1", 12), ("load", 13)]


class _Node:
    """A Sparkplug node with the device m1: what it says next."""

    def __init__(self) -> None:
        self.seq = -1

    def say(self, what: str, ms: int, v: Sequence[float]) -> list[Payload]:
        if what == "birth":
            self.seq = 1
            born = [M(0, "Int64", "bdSeq"), M(False, "Boolean", "Node Control/Rebirth")]
            metrics = [M(x, "Double", name, alias) for (name, alias), x in zip(_METRICS, v, strict=True)]
            return [
                (topic("NBIRTH"), payload(born, seq=0, time_ms=ms)),
                (topic("DBIRTH", "m1"), payload(metrics, seq=1, time_ms=ms + 1)),
            ]
        if what == "death":
            return [(topic("NDEATH"), payload([M(0, "Int64", "bdSeq")], time_ms=ms))]
        self.seq = (self.seq + (2 if what == "gap" else 1)) % 256
        said = [M(v[0] if what != "null" else None, "Double", alias=11), M(v[1], "Double", alias=12)]
        return [(topic("DDATA", "m1"), payload(said, seq=self.seq, time_ms=ms))]


class Arrivals(NamedTuple):
    """What arrived after a tick."""

    tick: Tick
    messages: list[Message]


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrivals]:
    """Messages that come one after the other; some come twice, some with the broker's word that it is again."""
    node, out, now_ms, arrived_ns = _Node(), [], T0 // MS, T0
    values = st.integers(-20, 300).map(lambda value: value / 8)
    kinds = st.sampled_from([*FORMS, *(f"node {what}" for what in ("birth", "data", "data", "null", "gap", "death"))])
    some = st.lists(kinds, min_size=1, max_size=4, unique=True)
    for _ in range(draw(st.integers(1, 5))):
        now_ms += draw(st.sampled_from([1000, 3000, 10_000]))
        tick = Tick(arrival_ns=max(now_ms * MS, arrived_ns), listened_ns=now_ms * MS)
        messages: list[Message] = []
        wanted = draw(some)
        for nth, at in enumerate(draw(st.lists(st.integers(0, 30), max_size=16))):
            kind, asset = wanted[at % len(wanted)], ("m1", "n1", "m2")[at % 3]
            ms, v = now_ms + 40 * nth - (7000 if at == 30 else 0), [draw(values) for _ in range(3)]
            said = node.say(kind[5:], ms, v) if kind.startswith("node ") else [FORMS[kind](asset, ms, v)]
            for where, content in said:
                arrived_ns = max(arrived_ns + 1, ms * MS + 777)
                messages.append(Message(where, content, arrived_ns, packet_id=len(messages) + 1))
            # Of what becomes a dead letter each commit has its own.
            if at > 26 and kind in FORMS and kind not in REFUSED:
                again = messages[-1]
                arrived_ns += 1
                messages.append(again._replace(arrival_ns=arrived_ns, is_again=at > 28))
        out.append(Arrivals(tick, messages))
    return out


class Taken(NamedTuple):
    """What the intake made of all of them, whatever the cuts."""

    readings: list[tuple[object, ...]]
    waveforms: list[tuple[object, ...]]
    deadletters: list[tuple[object, ...]]
    counts: tuple[int, int]
    entries: list[JournalEntry]


def take(found: list[Arrivals], size: int) -> Taken:
    """As ingest does: `size` messages a commit."""
    recent = Recent()
    intake, taken, repeated, skipped = Intake(CONFIG, recent), Taken([], [], [], (0, 0), [CONFIGURED]), 0, 0
    for tick, messages in found:
        taken.entries.append(tick)
        for begin in range(0, len(messages), size):
            some = messages[begin : begin + size]
            entry = intake.take(some)
            recent.add(entry.keys, entry.packet_ids)
            r = entry.readings
            columns = r.time_ns.tolist(), map(float.hex, r.value.tolist()), r.quality.tolist()
            names = [r.channels[i] for i in r.index.tolist()]
            before = len(taken.readings)
            taken.readings.extend(zip(names, *columns, strict=True))
            taken.waveforms.extend(
                (before + w.position, w.channel, w.time_ns, w.dt_ns, w.samples) for w in entry.waveforms
            )
            taken.deadletters.extend((letter.arrival_ns, letter.topic, letter.reason) for letter in entry.deadletters)
            repeated, skipped = repeated + entry.repeated, skipped + entry.skipped
            taken.entries.append(Data.of(some[-1].arrival_ns, r, entry.waveforms))
    taken.entries.extend(Tick(arrival_ns=T0 + 10**12, listened_ns=T0 + i * 10 * SECOND) for i in range(10, 14))
    return taken._replace(counts=(repeated, skipped))


CONFIGURED: Configured = configured(CONFIG)


def results(found: Taken) -> Run:
    return run(found.entries, range(len(found.entries)))


@given(arrivals(), st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_how_messages_of_any_formats_are_cut_between_commits_changes_no_reading_and_no_result(
    found: list[Arrivals], size: int
) -> None:
    whole = take(found, 1000)
    cut = take(found, size)
    assert cut[:-1] == whole[:-1]
    assert results(cut) == results(whole)
