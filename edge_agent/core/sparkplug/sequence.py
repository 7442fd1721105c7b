"""The sequence numbers of one edge node: 0 to 255, and around; whether some are missing, and for how long.

A message that comes too early is not held back. Its readings carry their own times and can be taken at once; to hold
it would mean either to acknowledge what is not in the journal, or to stop the acknowledgements of all senders, for
they go in order of receipt, and some brokers stop after 20. What holding would save is a birth that was overtaken by
its data: that data is a dead letter until the birth comes.

Pure: time, of a monotonic clock, is an argument.
"""

_COUNT = 256


class Sequence:
    """Any first number is accepted, and any number in a birth of the node."""

    def __init__(self) -> None:
        self._expected: int | None = None
        self._missing: set[int] = set()
        self._since_ns: int | None = None  # of the gap; None: not looked at yet

    @property
    def has_gap(self) -> bool:
        """Whether a number is missing."""
        return bool(self._missing)

    def begin(self, seq: int | None) -> None:
        """A birth of the node: what was before does not count."""
        self._expected = None if seq is None else (seq + 1) % _COUNT
        self._missing.clear()
        self._since_ns = None

    def step(self, seq: int) -> None:
        """A message came."""
        if self._expected is None:
            self._expected = seq
        if seq in self._missing:
            self._missing.discard(seq)
        else:
            ahead = (seq - self._expected) % _COUNT
            self._missing.update((self._expected + i) % _COUNT for i in range(ahead))
            self._expected = (seq + 1) % _COUNT
        if not self._missing:
            self._since_ns = None

    def is_overdue(self, now_ns: int, timeout_ns: int) -> bool:
        """Whether what is missing has been waited for, from the first look at it, and is given up now."""
        if not self._missing:
            return False
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns < timeout_ns:
            return False
        self._missing.clear()
        self._since_ns = None
        return True
