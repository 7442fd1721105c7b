"""Simulated gateways: what they would send, and how they hold on to it until the receipt.

Numbers have four decimals, as sensors send them. `denoised` is what a Hampel filter leaves: the value itself, one time
in a hundred the level beneath it. Each batch covers a second; its series are read in turn, at even intervals.
"""

import math
import time
from array import array
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contract.batch import Batch, Readings, decode_receipt, encode_batch, pack
from models.contract.quality import Quality
from models.contract.topics import topic
from tests.bench.wire import Wire

SITE, EPOCH = "fleet", "e1"
CHANNELS_AN_ASSET = 10
DECIMALS = 4
SECOND_NS = 1_000_000_000
WINDOW, LONGEST_WAIT_S = 16, 60.0  # as agents have them
_NOISE = np.random.default_rng(1).normal(0.0, 0.5, 65_536)
_OUTLIER = np.random.default_rng(2).random(65_536) < 0.01


class Columns(NamedTuple):
    """The readings of one batch; columns of equal length."""

    series: NDArray[np.int64]  # position in the gateway's list
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    denoised: NDArray[np.float64]
    quality: NDArray[np.uint8]


class Source:
    """What one gateway measures: the same batch for the same `seq`, which counts from 1."""

    def __init__(self, name: str, series: int, rows: int, start_ns: int, decimals: int = DECIMALS) -> None:
        """`rows` readings a batch, of `series` series in turn, from `start_ns` on."""
        self.name, self.series = name, [_series(name, number) for number in range(series)]
        self._rows, self._start_ns, self._decimals = rows, start_ns, decimals
        self._place = sum(name.encode()) * 7919
        self._level = 20.0 + np.arange(series) % 10

    def columns(self, seq: int) -> Columns:
        """The readings of a batch."""
        number = np.arange((seq - 1) * self._rows, seq * self._rows)
        index = number % len(self.series)
        time_ns = self._start_ns + number // len(self.series) * (SECOND_NS * len(self.series) // self._rows)
        drawn = (number + self._place) % len(_NOISE)
        level = self._level[index]
        value = np.round(level + _NOISE[drawn], self._decimals)
        quality = np.where(_OUTLIER[drawn], Quality.UNCERTAIN_SPIKE, Quality.GOOD).astype(np.uint8)
        return Columns(index, time_ns, value, np.where(_OUTLIER[drawn], level, value), quality)

    def batch(self, seq: int) -> bytes:
        """As it goes over the wire."""
        columns = self.columns(seq)
        readings = Readings(
            series=self.series,
            index=pack(columns.series, "<i4"),
            time_ns=pack(columns.time_ns, "<i8"),
            value=pack(columns.value),
            denoised=pack(columns.denoised),
            quality=pack(columns.quality, "u1"),
        )
        return encode_batch(Batch(site=SITE, gateway=self.name, epoch=EPOCH, seq=seq, readings=readings))


class _Sent(NamedTuple):
    payload: bytes
    since_s: float
    wait_s: float
    due_s: float  # of the next attempt


class Gateway:
    """Keeps each batch until its receipt, as an agent does: so many under way, sent again with growing pauses.

    `lags_s`: from the moment at which a batch is made to its receipt, in order of receipts.
    """

    def __init__(self, name: str, batch: Callable[[int], bytes], window: int = WINDOW, timeout_s: float = 10.0) -> None:
        self.seq = 0  # of the newest batch
        self.waiting: dict[int, _Sent] = {}
        self.lags_s = array("d")
        self.sent_again = self.repeated_receipts = self.complaints = 0
        self.on_receipt: Callable[[], None] = lambda: None
        self._batch, self._window, self._timeout_s = batch, window, timeout_s
        self._last = 0  # seq of the newest batch that was sent
        self._settled = 0  # batches with a receipt
        self._topic, self._response = topic(SITE, name, "batch"), topic(SITE, name, "receipt")
        self._wire = Wire(name, self._response, self._heard)

    @property
    def traffic_bytes(self) -> tuple[int, int]:
        """Sent with batches; received with receipts and PUBACKs."""
        return self._wire.sent_bytes, self._wire.received_bytes

    async def open(self, port: int) -> None:
        """Raises ConnectionError."""
        await self._wire.open(port)

    def close(self) -> None:
        """Without a word."""
        self._wire.close()

    def send(self) -> None:
        """The next batch, as soon as the window has room."""
        self.seq += 1
        self.waiting[self.seq] = _Sent(self._batch(self.seq), time.perf_counter(), self._timeout_s, math.inf)
        self._fill()

    def send_again(self) -> None:
        """All whose time has come; to be called now and then."""
        now_s = time.perf_counter()
        for seq in [seq for seq, sent in self.waiting.items() if sent.due_s < now_s]:
            self.sent_again += 1
            self._publish(seq, now_s)

    def _fill(self) -> None:
        while self._last < self.seq and self._last - self._settled < self._window:
            self._last += 1
            self._publish(self._last, time.perf_counter())

    def _publish(self, seq: int, now_s: float) -> None:
        sent = self.waiting[seq]
        self.waiting[seq] = sent._replace(due_s=now_s + sent.wait_s, wait_s=min(2 * sent.wait_s, LONGEST_WAIT_S))
        correlation = f"{EPOCH}:{seq}".encode()
        self._wire.publish(self._topic, sent.payload, self._response, correlation, str(next(iter(self.waiting))))

    def _heard(self, payload: bytes) -> None:
        receipt = decode_receipt(payload)
        self.complaints += not receipt.stored or bool(receipt.refused)
        if sent := self.waiting.pop(receipt.seq, None):
            self.lags_s.append(time.perf_counter() - sent.since_s)
            self._settled += 1
            self._fill()
        else:
            self.repeated_receipts += 1
        self.on_receipt()


def _series(name: str, number: int) -> tuple[str, str]:
    return f"{name}-asset-{number // CHANNELS_AN_ASSET}", f"channel-{number % CHANNELS_AN_ASSET}"
