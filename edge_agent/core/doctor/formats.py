"""Which decoder reads a topic's payloads: all of them are tried, the one that reads most samples is it.

Where several read all, the order of `_ORDER` decides; it begins with those that take the least by accident. A text is
SenML only when it has SenML's own keys, for SenML passes over keys that it does not know, and would read plain JSON
without its times.

Where none of the usual shapes fits, `fields` are guessed (fields.py). So they are where a usual shape reads everything
and loses something: which of several channels or assets a value is of, or its time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from edge_agent.config import Topic
from edge_agent.core.decode import DECODERS, decoder_of
from edge_agent.core.decode.compression import UNPACKERS
from edge_agent.core.decode.places import Places, places_of
from edge_agent.core.doctor.content import content_of, has_senml_keys, time_notation, units_of
from edge_agent.core.doctor.fields import Fields, FieldsGuess, guess_fields
from edge_agent.core.doctor.heard import SAMPLE_BYTES, TopicLog
from edge_agent.core.doctor.raw import guess_dtype
from edge_agent.core.doctor.texts import Setting, settings_for
from edge_agent.core.errors import DecodeError
from edge_agent.core.sparkplug.topic import NAMESPACE, SparkplugTemplate

_TRIED, _HEAD_BYTES = 20, 40  # samples; of one that nothing reads, shown
_ORDER = ("senml-json", "json", "influx-line", "senml-cbor", "msgpack", "cbor")
_FIELDS_ORDER = ("json", "msgpack", "cbor")  # formats whose topics may set fields
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# What a topic may set for payloads that the strict reading refuses: the less the better.
_SETTINGS: tuple[dict[str, str | bool], ...] = (
    {},
    {"booleans": "number"},
    {"numbers_in_text": True},
    {"booleans": "number", "numbers_in_text": True, "texts": "skip"},
    {"booleans": "number", "numbers_in_text": True, "texts": "skip", "nulls": "skip"},  # not every format takes nulls
)
_EVERY = SparkplugTemplate.parse(f"{NAMESPACE}/+/#")


class Reading(NamedTuple):
    """How payloads are read; topics that share one may share a template."""

    format: str
    compression: str = "none"
    names_channels: bool = True  # the payload does; else the topic has to
    settings: tuple[tuple[str, Setting], ...] = ()
    fields: Fields = ()

    @property
    def places(self) -> Places:
        """Where payloads keep what."""
        return places_of(dict(self.fields)) if self.fields else Places()

    @property
    def states(self) -> tuple[str, ...]:
        """The texts that stand for 0, 1 and so on."""
        texts = dict(self.settings).get("states")
        return texts if isinstance(texts, tuple) else ()

    def topic(self, template: str) -> dict[str, object]:
        """As a [[topics]] entry; defaults left out."""
        entry: dict[str, object] = {"template": template, "format": self.format, **dict(self.settings)}
        if self.states:
            entry["states"] = {text: number for number, text in enumerate(self.states)}
        if self.compression != "none":
            entry["compression"] = self.compression
        return entry | {"fields": dict(self.fields)} if self.fields else entry


class Guess(NamedTuple):
    """Of one topic. `reading` None: no decoder reads the greater part; `fault` is what the best of them says."""

    reading: Reading | None
    share: float  # of the samples tried, that it reads
    fault: str
    time: str  # how times are written; empty: there are none
    units: dict[str, str]  # by channel; "": of the topic's one channel
    dtype: str = ""  # of what may be raw samples


def guess_format(log: TopicLog) -> Guess:
    """How the topic's payloads are read."""
    if log.topic.startswith(NAMESPACE + "/"):
        if _EVERY.read(log.topic) is None:
            return Guess(None, 0, "no topic of an edge node's data", "", {})
        return Guess(Reading("sparkplug-b"), 1.0, "", "ms", {})
    step = max(1, len(log.samples) // _TRIED)
    samples = [sample.payload for sample in log.samples[::step]]
    if not samples:
        return Guess(None, 0, f"none is kept: the longest has {log.longest_bytes} bytes", "", {})
    compression = next((name for magic, name in _MAGIC.items() if all(s.startswith(magic) for s in samples)), "none")
    plain = _plain(compression, samples)
    best, share, fault = _best(_usual(compression, _SETTINGS[:1]), samples, None, 0.0, "")
    guesses = _guesses(plain)
    if share < 1:
        best, share, fault = _best(_described_by(guesses, compression), samples, best, share, fault)
    if share < 1:
        best, share, fault = _best(_usual(compression, _SETTINGS[1:]), samples, best, share, fault)
    elif best is not None and not best.fields:
        telling = [(name, one) for name, one in guesses if name == best.format and _tells_more(one, best, plain)]
        better, read, _ = _best(_described_by(telling, compression), samples, None, 0.0, "")
        best = better if read == 1 else best
    if best is None or share < 0.5:
        return Guess(None, share, fault if best else _described(samples[0]), "", {}, guess_dtype(plain))
    if best.names_channels and _try(best._replace(names_channels=False), samples)[0] > share:
        best = best._replace(names_channels=False)
    best = _only_needed(best, [sample.payload for sample in log.samples])
    contents = [content_of(best.format, payload) for payload in plain]
    time = time_notation(best.format, contents, best.places)
    return Guess(best, share, fault, time, units_of(best.format, contents, best.places))


def _best(
    readings: Iterable[Reading], samples: Sequence[bytes], best: Reading | None, share: float, fault: str
) -> tuple[Reading | None, float, str]:
    """The first that reads more than `best` does, and than those before it; its share; what is wrong with the rest."""
    for reading in readings:
        read, said = _try(reading, samples)
        fault = fault or said
        if read > share:
            best, share, fault = reading, read, said
        if share == 1:
            break
    return best, share, fault


def _only_needed(reading: Reading, samples: Sequence[bytes]) -> Reading:
    """In place of settings that skip texts those that the samples need, with their states."""
    liberal, own = _SETTINGS[-1], dict(reading.settings)
    if "texts" not in own:
        return reading
    needed = settings_for(
        reading.format, reading.places, _plain(reading.compression, samples), names_channels=reading.names_channels
    )
    beside = {name: value for name, value in own.items() if name not in liberal}
    return reading._replace(settings=tuple((needed | beside).items()))


def _guesses(plain: Sequence[bytes]) -> list[tuple[str, FieldsGuess]]:
    """With their formats. Of the most frequent kind of content only: lists or objects."""
    for name in _FIELDS_ORDER:
        contents = [one for payload in plain if isinstance(one := content_of(name, payload), dict | list)]
        if len(contents) > len(plain) / 2:
            return [(name, guess) for guess in guess_fields(contents)]
    return []


def _described_by(guesses: Sequence[tuple[str, FieldsGuess]], compression: str) -> Iterator[Reading]:
    for settings in _SETTINGS:
        for name, guess in guesses:
            every = (*settings.items(), *guess.settings)
            yield Reading(name, compression, guess.names_channels, every, guess.fields)


def _tells_more(guess: FieldsGuess, usual: Reading, plain: Sequence[bytes]) -> bool:
    """Than a usual shape that reads the payloads as well."""
    if guess.apart > 1 and ("asset" in guess.has or not usual.names_channels):
        return True
    contents = [content_of(usual.format, payload) for payload in plain]
    return "time" in guess.has and not time_notation(usual.format, contents, usual.places)


def _usual(compression: str, some: Sequence[dict[str, str | bool]]) -> Iterator[Reading]:
    """From the strictest to the most liberal; a payload that names its channels before one that has one value."""
    formats = sorted(DECODERS.keys() - {"text"}, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    for settings in some:
        for name in formats:
            for names_channels in (True, False):
                yield Reading(name, compression, names_channels, tuple(settings.items()))


def _try(reading: Reading, samples: Sequence[bytes]) -> tuple[float, str]:
    """The share that is read, and what is wrong with the first that is not."""
    template = "{asset}" if reading.names_channels else "{asset}/{channel}"
    try:
        decode = decoder_of(Topic.model_validate(reading.topic(template)), SAMPLE_BYTES)
    except ValueError:  # the format does not take these settings
        return 0.0, ""
    read, fault = 0, ""
    for payload in samples:
        try:
            if reading.format == "senml-json" and not has_senml_keys(_unpacked(reading.compression, payload) or b""):
                continue
            decode(payload, "asset", None if reading.names_channels else "channel", 0)
        except DecodeError as error:
            fault = fault or f"{reading.format}: {error}"
        else:
            read += 1
    return read / len(samples), fault


def _described(payload: bytes) -> str:
    """What a payload is that nothing reads."""
    if not payload:
        return "empty"
    head = payload[:_HEAD_BYTES]
    try:
        return f"text: {head.decode()!r}" + ("…" if len(payload) > _HEAD_BYTES else "")
    except UnicodeDecodeError:
        return f"binary: {len(payload)} bytes, the first are {payload[:8].hex(' ')}"


def _plain(compression: str, samples: Sequence[bytes]) -> list[bytes]:
    """Unpacked, without those that cannot be."""
    return [plain for sample in samples if (plain := _unpacked(compression, sample)) is not None]


def _unpacked(compression: str, payload: bytes) -> bytes | None:
    unpack = UNPACKERS.get(compression)
    try:
        return unpack(payload, SAMPLE_BYTES) if unpack else payload
    except DecodeError:
        return None
