"""What the agent needs of the world. Adapters implement these; `app.py` alone knows which."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from edge_agent.core.entries import JournalEntry
from edge_agent.core.intake import DeadLetter, Message


class NoRoomError(RuntimeError):
    """The file or the disk has no room now: wait and try again, acknowledge nothing."""


class Stored(NamedTuple):
    """An entry and its position."""

    seq: int
    entry: JournalEntry


class Again(NamedTuple):
    """A dead letter that is to go through the agent once more, as the message that it was."""

    number: int
    message: Message


class Sealed(NamedTuple):
    """A batch that waits for its receipt. `arrival_ns`: when the oldest of its data reached the gateway."""

    seq: int
    arrival_ns: int
    payload: bytes


class Waiting(NamedTuple):
    """What an outbox holds without a receipt. `oldest_ns`: the earliest `arrival_ns`; None = nothing waits."""

    batches: int
    bytes: int  # of payloads
    oldest_ns: int | None


class Clock(Protocol):
    """The gateway's time, which never runs backwards."""

    def stamps(self, count: int) -> range:
        """`count` stamps in ns since 1970 that ascend strictly."""
        ...

    def now_ns(self) -> int:
        """One stamp."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether the wall clock was set back and has not caught up: it cannot tell what lies in the future."""
        ...


class SensorLink(Protocol):
    """Messages from the sensor broker. Every message taken is acknowledged by the caller, or comes again."""

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None:
        """Connect in the background, for ever; returns at once. `held`: filters that the session may still have."""
        ...

    def subscribe(self, filters: Sequence[str]) -> None:
        """Replace the topic filters."""
        ...

    def take(self, timeout_s: float) -> list[Message]:
        """All messages that came since the last call; waits for the first, at most `timeout_s`."""
        ...

    def keep_alive(self) -> None:
        """To be called now and then while taken messages cannot be committed: the connection must not die of it."""
        ...

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Confirm messages, in order of receipt. Those of an earlier connection are left: they come again."""
        ...

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send at QoS 0 without waiting; False: not connected, nothing was sent."""
        ...

    def reconnect(self) -> None:
        """Drop the connection and make a new one, with new subscriptions: for one that only seems alive."""
        ...

    def stop(self) -> None:
        """Disconnect within a second; the broker keeps the session."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether messages can come now."""
        ...

    @property
    def listened_ns(self) -> int:
        """For how long the broker could have told us: the time during which it was heard of, and no outage or stall.

        Silence on this clock is silence of the sensors; it ascends, from 0 at the start of the process.
        """
        ...


class BirthFile(Protocol):
    """What the births of Sparkplug nodes have said, over a restart."""

    def load(self) -> bytes | None:
        """The last content saved; None: there is none that can be read."""
        ...

    def save(self, content: bytes) -> None:
        """Durable when it returns, in one step. Raises NoRoomError; the last one is kept then."""
        ...


class Journal(Protocol):
    """Entries in order, durable when `append` returns. Unused ones are never dropped: full means NoRoomError.

    So does, from any call, a disk or another program that is in the way: the same call later may succeed.
    """

    def append(
        self, entries: Sequence[JournalEntry], deadletters: Sequence[DeadLetter] = (), done: Sequence[int] = ()
    ) -> int:
        """One durable commit; returns the last position. Raises NoRoomError, and then nothing was kept.

        `done`: numbers of letters that were taken `again` and came to this: they go in the same commit.
        """
        ...

    def again(self, limit: int) -> list[Again]:
        """Up to `limit` dead letters that a person wants taken again, oldest first; until they are `done`."""
        ...

    def read(self, after: int, limit: int = 64) -> list[Stored]:
        """Up to `limit` entries behind position `after`, in order."""
        ...

    def last(self) -> int:
        """The position of the newest entry ever appended; 0 = none."""
        ...

    def newest(self) -> Iterator[Stored]:
        """Entries from the newest to the oldest."""
        ...

    def skip_to(self, position: int) -> None:
        """Give away no position of `position` or below any more: the outbox counts those as used.

        Raises NoRoomError.
        """
        ...

    @property
    def is_short_of_room(self) -> bool:
        """An entry was refused since the last `trim`, or that could not make room: more has to be used first."""
        ...

    def trim(self, used_through: int, now_ns: int) -> bool:
        """Let go of entries that are used and beyond the bounds of size and age, for some 50 ms.

        Returns whether there may be more of them: call again soon.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class Outbox(Protocol):
    """Sealed batches and the last snapshot, durable when a call returns.

    Any call raises NoRoomError when the disk or another program is in the way: later it may succeed.
    """

    @property
    def epoch(self) -> str:
        """The name of this outbox's life; it never changes while the process lives."""
        ...

    @property
    def through(self) -> int:
        """The journal position up to which results were sealed."""
        ...

    def append(self, build: Callable[[str, int], bytes], arrival_ns: int, through: int) -> int:
        """Seal a batch; `build(epoch, seq)` makes its bytes, again when the first try fails. Returns seq.

        A full outbox may thin what waits in it (see `lost`). Raises NoRoomError: nothing was kept.
        """
        ...

    def pending(self, after: int, limit: int) -> list[Sealed]:
        """Batches without a receipt behind `after`, oldest first, none only at the end. Damaged ones are left out."""
        ...

    def discard(self, seqs: Sequence[int]) -> None:
        """Forget batches whose receipt came. Raises NoRoomError."""
        ...

    def set_aside(self, seq: int, reason: str) -> None:
        """Keep a batch that was refused whole, out of the way of the others. Raises NoRoomError."""
        ...

    def backlog(self) -> int:
        """How many batches wait."""
        ...

    def waiting(self) -> Waiting:
        """The same with their size and age: a look at each of them."""
        ...

    def lost(self) -> dict[str, int]:
        """Rows that a full outbox had to drop, by kind (reading, feature, inference, alarm); `batch`: damaged ones."""
        ...

    def save_snapshot(self, through: int, content: bytes) -> None:
        """Replace the snapshot, in one step; `through` is the journal position it stands for.

        Raises NoRoomError; the last one is kept then.
        """
        ...

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """The last snapshot, or None."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...
