"""Journal entries: everything that the results are a function of.

An entry is one blob: MessagePack with its kind. Columns are little-endian bytes, as in the contract.
Every entry carries the gateway's clock at its commit, so that time-outs replay as they happened.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from edge_agent.core.readings import ChannelKey, Readings, Waveform
from models.contract.batch import pack


class Data(msgspec.Struct, tag="data", kw_only=True):
    """Readings and waveforms of one commit."""

    arrival_ns: int
    channels: list[ChannelKey]
    index: bytes
    time_ns: bytes
    value: bytes
    quality: bytes
    waveforms: list[Waveform] = []
    keys: bytes = b""  # of the messages, so that one that comes again is known: see recent.py

    @classmethod
    def of(cls, arrival_ns: int, readings: Readings, waveforms: Sequence[Waveform], keys: bytes = b"") -> "Data":
        """Pack columns."""
        return cls(
            arrival_ns=arrival_ns,
            channels=readings.channels,
            index=pack(readings.index, "<i4"),
            time_ns=pack(readings.time_ns, "<i8"),
            value=pack(readings.value),
            quality=pack(readings.quality, "u1"),
            waveforms=list(waveforms),
            keys=keys,
        )

    @property
    def size_bytes(self) -> int:
        """Of its columns and samples."""
        columns = (self.index, self.time_ns, self.value, self.quality, self.keys)
        return sum(map(len, columns)) + sum(len(waveform.samples) for waveform in self.waveforms)

    def readings(self) -> Readings:
        """Unpack columns (read-only views)."""
        return Readings(
            self.channels,
            np.frombuffer(self.index, "<i4"),
            np.frombuffer(self.time_ns, "<i8"),
            np.frombuffer(self.value, "<f8"),
            np.frombuffer(self.quality, "u1"),
        )


def join_readings(entries: Sequence[Data]) -> Readings:
    """The readings of entries without waveforms, one after the other: joined as bytes, for entries may be tiny."""
    sizes = [len(entry.quality) for entry in entries]
    base = np.cumsum([0, *(len(entry.channels) for entry in entries[:-1])])
    return Readings(
        [key for entry in entries for key in entry.channels],
        np.frombuffer(b"".join([entry.index for entry in entries]), "<i4") + np.repeat(base, sizes).astype(np.int32),
        np.frombuffer(b"".join([entry.time_ns for entry in entries]), "<i8"),
        np.frombuffer(b"".join([entry.value for entry in entries]), "<f8"),
        np.frombuffer(b"".join([entry.quality for entry in entries]), "u1"),
    )


class Tick(msgspec.Struct, tag="tick", kw_only=True):
    """The time that has passed. `listened_ns`: on the clock of `SensorLink.listened_ns`, which knows no outages."""

    arrival_ns: int
    listened_ns: int = 0
    is_clock_unsure: bool = False  # the gateway's clock was set back, or has not been set yet: it can judge no other


class Engine(msgspec.Struct, frozen=True):
    """What a model runs on. `reason`: why not on the first provider that is wanted; empty = it does."""

    provider: str
    reason: str = ""


class Refused(msgspec.Struct, frozen=True):
    """A model whose file cannot be used. `reason`: file, key, why, and what helps."""

    model: str
    reason: str


class Configured(msgspec.Struct, tag="configured", kw_only=True):
    """The configuration that holds from here on: the EdgeConfig as JSON, and the digest of each model file.

    All models that it names are in service from here on. A file that is `refused` has the digest that served for it
    before, or none: then its model is left out.
    """

    arrival_ns: int
    config: str
    digests: dict[str, str]
    engines: dict[str, Engine] = {}  # by digest
    refused: dict[str, Refused] = {}  # by file


class Withdrawn(msgspec.Struct, tag="withdrawn", kw_only=True):
    """A model that failed is out of service until the next `Configured`. `reason`: why, and what helps."""

    arrival_ns: int
    digest: str
    reason: str


JournalEntry = Data | Tick | Configured | Withdrawn
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JournalEntry)


def encode_entry(entry: JournalEntry) -> bytes:
    """The blob that the journal keeps."""
    return _encoder.encode(entry)


def decode_entry(content: bytes) -> JournalEntry:
    """Raises ValueError when the bytes are no entry."""
    try:
        entry: JournalEntry = _decoder.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        msg = f"no journal entry: {error}"
        raise ValueError(msg) from error
    return entry
