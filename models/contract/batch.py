"""One batch of results on the wire: columns in MessagePack, zstd-compressed.

Layout: a dictionary of series (`*_series`, each a row of tags) and beside it columns of equal length
that refer to it by position. Columns are little-endian bytes of the dtype named at each field.

Invariants
1. (series, time) names a point for ever and its values never change: writing one twice changes nothing.
2. `epoch` names one life of the gateway's outbox, `seq` counts its batches from 1 without a gap.
3. Decoding raises only `ContractError`, whatever the bytes. It unpacks at most `MAX_BYTES`, and makes at most
   `MAX_ENTRIES` objects of a table: 64 MiB of empty texts would else become gigabytes.
4. A batch of any version is one zstd frame around a MessagePack map with an integer `version`; where `site` and
   `gateway` are texts, they name the sender. So each side can tell what is newer than itself.
"""

import threading
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

VERSION = 1
MAX_BYTES = 64 * 1024 * 1024  # decompressed; an agent seals batches far below this
MAX_ENTRIES = 2**18  # series or alarms of a table; more than the rows that an agent seals at once
_MAX_FIELDS = 256
_MAX_NAME = 64

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")
Few = Annotated[list[T], msgspec.Meta(max_length=MAX_ENTRIES)]
Fields = Annotated[dict[str, T], msgspec.Meta(max_length=_MAX_FIELDS)]
Name = Annotated[str, msgspec.Meta(max_length=_MAX_NAME)]


class ContractError(ValueError):
    """The bytes are no batch or receipt of this contract; the text says why. Do not try again."""


class NewerVersionError(ContractError):
    """A batch of a later version than this side reads: keep it for a side that does.

    `sender`: site and gateway, as far as the batch says them in a way that this side understands, else empty.
    """

    def __init__(self, version: int, sender: tuple[str, str]) -> None:
        super().__init__(f"batch version {version}; this side reads version {VERSION}")
        self.version, self.sender = version, sender


class Readings(msgspec.Struct, kw_only=True):
    """Sensor values as they came (`value`), as the denoiser left them (`denoised`), and their quality."""

    series: Few[tuple[str, str]] = []  # (asset, channel)
    index: bytes = b""  # int32, position in `series`
    time_ns: bytes = b""  # int64, event time
    value: bytes = b""  # float64
    denoised: bytes = b""  # float64, NaN = none
    quality: bytes = b""  # uint8, see quality.py


class Inferences(msgspec.Struct, kw_only=True):
    """Model outputs. Each field is a float64 column; NaN = this model has no such output."""

    series: Few[tuple[str, str, str]] = []  # (asset, model, version)
    index: bytes = b""  # int32
    time_ns: bytes = b""  # int64, time of the window's last frame
    fields: Fields[bytes] = {}  # name -> float64


class Alarm(msgspec.Struct, kw_only=True, frozen=True):
    """One change of an alarm. `id` is the same for the opening and the closing."""

    asset: str
    code: str
    time_ns: int
    is_open: bool
    severity: float
    id: str
    message: str


class Batch(msgspec.Struct, kw_only=True):
    """All results of a stretch of the gateway's journal."""

    version: int = VERSION
    site: Name
    gateway: Name
    epoch: Name
    seq: int
    readings: Readings = msgspec.field(default_factory=Readings)
    inferences: Inferences = msgspec.field(default_factory=Inferences)
    alarms: Few[Alarm] = []
    gateway_time_ns: int = 0  # 0 = no row for the measurement `gateway`
    gateway_fields: Fields[float] = {}


class Refusal(msgspec.Struct, kw_only=True, frozen=True):
    """One row that the store will never take."""

    row: str  # the row as line protocol, cut to 1,000 characters
    reason: str


class Receipt(msgspec.Struct, kw_only=True):
    """The aggregator's answer, once the batch is stored (or refused whole: `stored` false, `reason` set)."""

    version: int = VERSION
    epoch: str
    seq: int
    stored: bool
    reason: str = ""
    refused: list[Refusal] = []
    unnamed: int = 0  # rows that were refused beside those in `refused`


class _Version(msgspec.Struct):
    """What stays in every version."""

    version: int


class _Sender(msgspec.Struct):
    """What stays in every version in which it is a text."""

    site: str
    gateway: str


class _Unpacking(threading.local):
    """A decompressor for each thread: making one costs more than a small batch."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor(max_window_size=MAX_BYTES)


_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(Batch)
_version_decoder = msgspec.msgpack.Decoder(_Version)
_sender_decoder = msgspec.msgpack.Decoder(_Sender)
_receipt_decoder = msgspec.msgpack.Decoder(Receipt)
_unpacking = _Unpacking()


def encode_batch(batch: Batch) -> bytes:
    """MessagePack, then zstd level 1. The same batch gives the same bytes."""
    return zstandard.ZstdCompressor(level=1).compress(_encoder.encode(batch))


def decode_batch(payload: bytes) -> Batch:
    """The checked batch. Raises ContractError when bytes, columns, indices or the version do not fit.

    What it raises is a NewerVersionError when the version is a later one, whatever else has changed with it.
    """
    content = _decompress(payload)
    try:
        batch = _decode(_batch_decoder, content)
    except ContractError:
        _refuse_newer(content)
        raise
    if batch.version != VERSION:
        _refuse_newer(content)
        msg = f"batch version {batch.version}; this side reads version {VERSION}"
        raise ContractError(msg)
    readings, inferences = batch.readings, batch.inferences
    _check_columns(
        "readings",
        len(readings.series),
        readings.index,
        {
            "time_ns": (readings.time_ns, 8),
            "value": (readings.value, 8),
            "denoised": (readings.denoised, 8),
            "quality": (readings.quality, 1),
        },
    )
    columns = {"time_ns": (inferences.time_ns, 8)} | {name: (data, 8) for name, data in inferences.fields.items()}
    _check_columns("inferences", len(inferences.series), inferences.index, columns)
    return batch


def encode_receipt(receipt: Receipt) -> bytes:
    """Plain MessagePack: receipts are small."""
    return _encoder.encode(receipt)


def decode_receipt(payload: bytes) -> Receipt:
    """Raises ContractError."""
    return _decode(_receipt_decoder, payload)


def floats(column: bytes) -> Floats:
    """A float64 column, read-only, without a copy."""
    return np.frombuffer(column, "<f8")


def ints(column: bytes) -> Ints:
    """An int64 column (times in ns), read-only, without a copy."""
    return np.frombuffer(column, "<i8")


def indices(column: bytes) -> NDArray[np.int32]:
    """An int32 column (positions in `series`), read-only, without a copy."""
    return np.frombuffer(column, "<i4")


def rows(batch: Batch) -> int:
    """How many points the batch holds."""
    return (
        len(batch.readings.index) // 4
        + len(batch.inferences.index) // 4
        + len(batch.alarms)
        + (1 if batch.gateway_fields else 0)
    )


def _decompress(payload: bytes) -> bytes:
    """What the one frame holds. zstd keeps a frame to the size that it tells; most tell one."""
    try:
        size = zstandard.get_frame_parameters(payload).content_size
        if size <= MAX_BYTES or size == zstandard.CONTENTSIZE_UNKNOWN:
            return _unpacking.zstd.decompress(payload, max_output_size=MAX_BYTES, allow_extra_data=False)
    except zstandard.ZstdError as error:
        msg = f"not one whole zstd frame of at most {MAX_BYTES} bytes: {error}"
        raise ContractError(msg) from error
    msg = f"decompresses to {size} bytes, more than {MAX_BYTES}"
    raise ContractError(msg)


def _decode(decoder: "msgspec.msgpack.Decoder[T]", content: bytes) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(str(error)) from error


def _refuse_newer(content: bytes) -> None:
    """Raises NewerVersionError when that is what the content is."""
    try:
        version = _decode(_version_decoder, content).version
    except ContractError:
        return
    if version <= VERSION:
        return
    try:
        found = _decode(_sender_decoder, content)
        sender = found.site, found.gateway
    except ContractError:
        sender = "", ""
    raise NewerVersionError(version, sender)


def _check_columns(table: str, series: int, index: bytes, columns: dict[str, tuple[bytes, int]]) -> None:
    if len(index) % 4:
        msg = f"{table}.index: {len(index)} bytes are no whole number of int32"
        raise ContractError(msg)
    n = len(index) // 4
    for name, (data, width) in columns.items():
        if len(data) != n * width:
            msg = f"{table}.{name[:_MAX_NAME]}: {len(data)} bytes for {n} rows of {width}"
            raise ContractError(msg)
    if n and np.frombuffer(index, "<u4").max() >= series:  # without a sign, what is below 0 is above all
        msg = f"{table}.index: a position outside the {series} series"
        raise ContractError(msg)


def pack(values: Sequence[float] | NDArray[np.generic], dtype: str = "<f8") -> bytes:
    """A column as the contract's bytes: dtype '<f8', '<i8', '<i4' or 'u1'."""
    return np.ascontiguousarray(values, dtype).tobytes()
