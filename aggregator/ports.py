"""What the aggregator asks of the outside world. Adapters fulfil these protocols; tests may too."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aggregator.core.points import Points
from aggregator.core.views import Row
from models.contract.batch import Receipt, Refusal


class RetryLater(Exception):  # noqa: N818 - the name says what to do
    """The store cannot take or give rows now. Keep the rows and try again, after `after_s` seconds if it says so."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class StoreMisconfigured(Exception):  # noqa: N818 - the name says what to do
    """The store refuses us whatever we send (rights, database, path). Keep the rows; a person is needed."""


class Store(Protocol):
    """Where rows go. Writing the same rows twice changes nothing."""

    def write(self, rows: Points, /) -> list[Refusal]:
        """Blocks until all rows but the refused ones are stored for good. Raises RetryLater, StoreMisconfigured."""
        ...

    def close(self) -> None:
        """Lets go of connections; nothing waits inside a store."""
        ...


class Reader(Protocol):
    """Questions that people ask. All methods raise RetryLater and StoreMisconfigured."""

    def latest(self, asset: str | None = None) -> list[Row]:
        """The newest reading of each channel: time, site, asset, channel, value, denoised, quality."""
        ...

    def health(self) -> list[Row]:
        """The newest inference of each asset and model, worst first: time, site, asset, model, version, its fields."""
        ...

    def alarms(self, *, open_only: bool = True) -> list[Row]:
        """Each alarm's state now, newest first: since, time, site, asset, code, is_open, severity, id, message."""
        ...

    def series(self, asset: str, name: str, since_ns: int, until_ns: int, limit: int) -> list[Row]:
        """The newest `limit` rows with since <= time < until, oldest first.

        `name` is a channel (columns of `latest`) or a field of the inferences, such as health
        (time, site, asset, model, version, value).
        """
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...


class Request(NamedTuple):
    """One message of a gateway, as it came."""

    topic: str
    payload: bytes
    correlation: bytes | None
    reply_topic: str | None  # None = the gateway's receipt topic
    oldest: int | None = None  # seq of the oldest batch that the gateway holds without a receipt, if it says so


class Uplink(Protocol):
    """The broker's side: batches in, receipts out."""

    async def take(self) -> list[Request]:
        """All that waits, at least one; an empty list once the uplink is closed."""
        ...

    async def answer(self, receipts: Sequence[tuple[Request, Receipt]], /) -> None:
        """Sends receipts as well as it can: one that is lost makes the gateway send its batch again."""
        ...
