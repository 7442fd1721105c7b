"""What the aggregator asks of the outside world. Adapters fulfil these protocols; tests may too."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from aggregator.core.points import Points
from aggregator.core.select import Select
from aggregator.core.views import Row
from models.contract.batch import Receipt, Refusal


class RetryLater(Exception):  # noqa: N818 - the name says what to do
    """The store cannot take or give rows now. Keep the rows and try again, after `after_s` seconds if it says so."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class StoreMisconfigured(Exception):  # noqa: N818 - the name says what to do
    """The store refuses us whatever we send (rights, database, path). Keep the rows; a person is needed."""


class Undecided(Exception):  # noqa: N818 - the name says what is known
    """Some rows are neither stored nor surely bad. Leave them to their gateway, which sends them again."""


# Blocks until all rows but the refused ones, which it returns, are stored for good. Called after it raised, it goes on;
# called after it returned, it sends everything again. Raises RetryLater, StoreMisconfigured, Undecided.
Write = Callable[[], list[Refusal]]


class Store(Protocol):
    """Where rows go. Writing the same rows twice changes nothing."""

    def prepare(self, rows: Points, /) -> Write:
        """Does what needs the processor; what it returns does what waits. Never raises."""
        ...

    def close(self) -> None:
        """Lets go of connections; nothing waits inside a store."""
        ...


class Reader(Protocol):
    """Answers to questions. All methods raise RetryLater and StoreMisconfigured."""

    def select(self, question: Select, /) -> list[Row]:
        """Rows as `Select` describes them; an empty list when there is no such measurement, series or time."""
        ...

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        """The answer to a text in a language of this store (None = its first one).

        Raises ValueError when the store does not speak the language or does not understand the text.
        """
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...


class Step(NamedTuple):
    """Something that a store needs before it can be used as configured."""

    what: str  # for people: 'database "tocsin"'
    statement: str  # what is sent for it
    is_done: bool


class Keeper(Protocol):
    """Sets up a store: databases, retention, downsampling. All methods raise RetryLater and StoreMisconfigured."""

    def plan(self) -> list[Step]:
        """All steps in order, with what is done already. Changes nothing."""
        ...

    def apply(self, step: Step, /) -> None:
        """Does it. A step that is done is left alone by the caller."""
        ...

    def downsample(self, since_ns: int, until_ns: int) -> None:
        """Computes the one-minute means of a stretch again, from what came late too. Doing it twice changes nothing."""
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
    publisher: str | None = None  # the authenticated name, if the broker tells it (broker.identity_property)


class Uplink(Protocol):
    """The broker's side: batches in, receipts out."""

    async def take(self) -> list[Request]:
        """All that waits, at least one; an empty list once the uplink is closed."""
        ...

    async def answer(self, receipts: Sequence[tuple[Request, Receipt]], /) -> None:
        """Sends receipts as well as it can: one that is lost makes the gateway send its batch again."""
        ...
