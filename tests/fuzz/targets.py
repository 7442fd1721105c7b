"""What is fuzzed: every decoder with all the settings of the table of cases, the intake with its fast ways, what
an aggregator makes of a batch, and model bundles.

The first byte of an input chooses the settings and whether the topic names a channel; the rest is the payload. The
table's payloads are the seeds.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import zstandard

from aggregator.config import Validation
from aggregator.core.validate import Accepted, Held, Refused, Validator
from aggregator.ports import Request
from edge_agent.config import EdgeConfig, Topic
from edge_agent.core.intake import Intake, Message
from models.contract.batch import decode_batch, encode_batch
from models.contract.quality import Quality
from tests.accounting import assert_accounted
from tests.batches import T0, alarm, batch
from tests.formats.case import ARRIVAL, Case
from tests.formats.sound import assert_sound
from tests.formats.table import CASES
from tests.fuzz import bundles
from tests.sparkplug_node import M, payload, topic

FORMATS = ("json", "msgpack", "cbor", "senml-json", "senml-cbor", "influx-line", "text", "raw")
COMPRESSIONS = ("gzip", "zstd")
NAMES = (*FORMATS, *COMPRESSIONS, "sparkplug-b", "intake", "batch", "bundle")
# For the fuzzer to build with, beside what it finds in the code.
WORDS = (
    *("ts", "time", "timestamp", "value", "v", "values", "dt", "channel", "seconds", "nanos"),
    *("meta", "data", "tag", "id", "q", "t", "start", "step", "samples", "ok", "blocks", "machines", "entries"),
    *("version", "site", "gateway", "epoch", "seq", "readings", "inferences", "series", "index", "time_ns", "fields"),
    *("denoised", "quality", "alarms", "asset", "code", "is_open", "severity", "message", "gateway_fields"),
    *("bn", "bt", "bu", "bv", "bs", "n", "u", "s", "ut", "vb", "vs", "vd", "bver"),
)
_MAX_SETTINGS = 128


class Target(NamedTuple):
    """`run` raises whatever should not have happened."""

    run: Callable[[bytes], None]
    seeds: list[bytes]


def target(name: str) -> Target:
    """The target of that name, one of `NAMES`."""
    if name in _BUILT:
        return _BUILT[name]()
    return _decoder([case for case in CASES if _name(case.setting) == name])


def _name(setting: Topic) -> str:
    return setting.format if setting.compression == "none" else setting.compression


def _decoder(cases: list[Case]) -> Target:
    settings: list[Topic] = []
    for case in cases:
        if case.setting not in settings:
            settings.append(case.setting)
    assert len(settings) <= _MAX_SETTINGS

    def run(data: bytes) -> None:
        if data:
            assert_sound(settings[data[0] // 2 % len(settings)], data[1:], "t" if data[0] % 2 else None)

    seeds = (bytes([settings.index(case.setting) * 2 + (case.channel is not None)]) + case.payload for case in cases)
    return Target(run, [seed for seed in seeds if len(seed) < 4096])


def _intake() -> Target:
    """A message between two that are fine: it is taken or a dead letter, and the two are not touched."""
    config = EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "unused",
            "topics": [{"template": "f/{asset}/{channel}"}, {"template": "f/{asset}"}],
            "channels": [{"match": "*/vib", "kind": "waveform"}, {"match": "*/*"}],
            "assets": [{"match": "*"}],
            "limits": {"readings_per_message": 50},
        }
    )
    fine = Message("f/m1/t", b'{"ts": 1760000000, "value": 1}', ARRIVAL)
    topics = ("f/m1/t", "f/m1/vib", "f/m1", "f/m1/c")
    intakes = Intake(config), Intake(config)  # the second never sees two alike: its fast ways stay open

    def run(data: bytes) -> None:
        if not data:
            return
        message = Message(topics[data[0] % 4], data[1:], ARRIVAL + 1)
        for intake, around in zip(intakes, ([fine, message, fine._replace(topic="f/m2/t")], [message]), strict=True):
            entry = intake.take(around)
            assert len(entry.keys) + len(entry.deadletters) + entry.repeated == len(around)
            readings = entry.readings
            assert len(readings.index) == len(readings.time_ns) == len(readings.value) == len(readings.quality) <= 52
            assert np.isfinite(readings.value).all()
            assert ((readings.time_ns >= 0) & (readings.time_ns < 2 * ARRIVAL)).all()
            if len(around) == 3:
                assert readings.value[[0, -1]].tolist() == [1.0, 1.0]

    return Target(run, list(_json_seeds(len(topics))))


def _json_seeds(topics: int) -> Iterator[bytes]:
    for case in CASES:
        if _name(case.setting) == "json" and len(case.payload) < 4096:
            yield from (bytes([number]) + case.payload for number in range(topics))


def _sparkplug() -> Target:
    """A message of a node that was born and that has a device, then one of its own that is fine: it is always taken."""
    config = EdgeConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "state_dir": "unused",
            "topics": [{"template": "spBv1.0/plant-1/#", "format": "sparkplug-b"}],
            "channels": [{"match": "*/*"}],
            "assets": [{"match": "*"}],
        }
    )
    kinds = ("NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH", "NDEATH")
    topics = [topic(kind, "gauge" if kind.startswith("D") else None) for kind in kinds]
    born = payload([M(0, "Int64", "bdSeq"), M(1.5, "Double", "t", 1)], seq=0, time_ms=ARRIVAL // 1_000_000)
    device = payload([M(2.5, "Double", "p", 2), M(7, "Int32", "n")], seq=1, time_ms=ARRIVAL // 1_000_000)

    def run(data: bytes) -> None:
        if not data:
            return
        intake = Intake(config)
        stream = [
            Message(topics[0], born, ARRIVAL),
            Message(topics[2], device, ARRIVAL + 1),
            Message(topics[data[0] % len(topics)], data[1:], ARRIVAL + 2),
            Message(topics[0], born, ARRIVAL + 3 * 10**9),
        ]
        for message in stream:
            entry = intake.take([message])
            refused = [letter for letter in entry.deadletters if letter.reason != "left_out"]
            assert len(entry.keys) + len(refused) + entry.repeated == 1
            assert ((entry.readings.time_ns >= 0) & (entry.readings.time_ns < 2 * ARRIVAL)).all()
            marked = entry.readings.quality[np.isnan(entry.readings.value)]
            assert (marked == Quality.UNCERTAIN_STALE).all()
            assert not np.isinf(entry.readings.value).any()
        assert not entry.deadletters

    seeds = [bytes([number]) + content for number in range(len(topics)) for content in (born, device)]
    return Target(run, seeds)


def _batch() -> Target:
    """A batch as it comes, or what is to be compressed: accepted, held or refused, and no row gets lost."""
    validators = Validator(Validation()), Validator(Validation(max_series=2), "publisher")

    def run(data: bytes) -> None:
        if not data:
            return
        payload = data[1:] if data[0] % 2 else zstandard.compress(data[1:], 1)
        for validator in validators:
            request = Request("tocsin/v1/north/gw1/batch", payload, None, None, None, "north/gw1")
            result = validator.check(request, T0 + 10**9)
            if isinstance(result, Accepted):
                assert_accounted(decode_batch(payload), result)
            else:
                assert isinstance(result, Held | Refused)
                assert 0 < len(result.reason) < 400

    contents = [batch([1.0, 2.0], series=[("a", "b"), ("c", "d")]), batch([], alarms=[alarm(T0, is_open=True)])]
    seeds = [encode_batch(content) for content in contents]
    return Target(run, [b"\1" + seed for seed in seeds] + [b"\0" + zstandard.decompress(seed) for seed in seeds])


_BUILT = {
    "batch": _batch,
    "bundle": lambda: Target(bundles.run, bundles.SEEDS),
    "intake": _intake,
    "sparkplug-b": _sparkplug,
}
