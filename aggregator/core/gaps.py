"""What a gateway has sealed and this aggregator has not seen: its batches are numbered without a gap.

Each batch says which is the oldest that its gateway still holds without a receipt: the floor. What lies below the
floor is settled, here or by another aggregator that shares the work. So a hole between the floor and the highest
seq seen closes by itself in one of two ways: its batch comes here, or the floor moves past it. A floor that stands
still below others that came is worth a word: a batch that does not get through.

Bounded: at most `max_gateways`, each with two epochs, each with at most `max_intervals` stretches. Beyond that the
gateway longest unheard of is forgotten, and the newest hole is taken for seen: the count of missing batches is then
too low, while the oldest hole stays.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_GATEWAYS = 1000
MAX_INTERVALS = 250
_MAX_EPOCHS = 2  # of one gateway: the old one comes again when two agents share a name
_MAX_NAME = 64

Gateway = tuple[str, str]  # site, gateway


class Seen(NamedTuple):
    """What was new about a batch."""

    is_repeated: bool
    replaced: str  # the epoch that this batch's epoch follows for the first time; empty = none


class Missing(NamedTuple):
    """Holes of one gateway's newest epoch."""

    batches: int
    oldest: int  # seq; 0 = none is missing
    age_s: float  # for how long the oldest has been the oldest


@dataclass
class Epoch:
    """One life of a gateway's outbox: the seqs seen from the floor on, as stretches in ascending order."""

    floor: int
    now_s: float
    max_intervals: int = MAX_INTERVALS
    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)  # inclusive
    _since_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._since_s = self.now_s

    def add(self, seq: int, floor: int, now_s: float) -> bool:
        """A batch came; True when it had been seen, or settled, before. `floor` <= `seq`."""
        before = self.oldest_missing
        self._raise(floor)
        is_repeated = not self._insert(seq)
        if self.oldest_missing != before:
            self._since_s = now_s
        return is_repeated

    @property
    def oldest_missing(self) -> int:
        """0 = none."""
        if not self._starts or self._starts[0] > self.floor:
            return self.floor if self._starts else 0
        return self._ends[0] + 1 if len(self._ends) > 1 else 0

    def missing(self, now_s: float) -> Missing:
        """The holes now."""
        oldest = self.oldest_missing
        if not oldest:
            return Missing(0, 0, 0.0)
        seen = sum(self._ends) - sum(self._starts) + len(self._starts)
        return Missing(self._ends[-1] + 1 - self.floor - seen, oldest, now_s - self._since_s)

    def _insert(self, seq: int) -> bool:
        at = bisect_right(self._starts, seq)
        if seq < self.floor or (at and seq <= self._ends[at - 1]):
            return False
        joins_left = at > 0 and self._ends[at - 1] == seq - 1
        joins_right = at < len(self._starts) and self._starts[at] == seq + 1
        if joins_left and joins_right:
            self._ends[at - 1] = self._ends.pop(at)
            self._starts.pop(at)
        elif joins_left:
            self._ends[at - 1] = seq
        elif joins_right:
            self._starts[at] = seq
        else:
            self._starts.insert(at, seq)
            self._ends.insert(at, seq)
        if len(self._starts) > self.max_intervals:
            self._starts.pop()
            del self._ends[-2]
        return True

    def _raise(self, floor: int) -> None:
        if floor <= self.floor:
            return
        self.floor = floor
        done = bisect_right(self._starts, floor)
        while done and self._ends[done - 1] >= floor:  # the stretch around the floor stays, from the floor on
            done -= 1
        del self._starts[:done], self._ends[:done]
        if self._starts:
            self._starts[0] = max(self._starts[0], floor)


class GapMap:
    """All gateways that this aggregator has heard of lately."""

    def __init__(self, max_gateways: int = MAX_GATEWAYS, max_intervals: int = MAX_INTERVALS) -> None:
        self._max_gateways, self._max_intervals = max_gateways, max_intervals
        self._gateways: dict[Gateway, dict[str, Epoch]] = {}  # heard last = last; newest epoch = last

    def add(self, gateway: Gateway, epoch: str, seq: int, oldest: int, now_s: float) -> Seen:
        """A valid batch came; `oldest` is what it says of the floor (one that cannot be is taken for `seq`)."""
        floor = oldest if 1 <= oldest <= seq else seq
        epochs = self._gateways.pop(gateway, {})
        self._gateways[gateway] = epochs
        if len(self._gateways) > self._max_gateways:
            del self._gateways[next(iter(self._gateways))]
        epoch, replaced = epoch[:_MAX_NAME], ""
        if epoch not in epochs:
            replaced = next(reversed(epochs), "")
            epochs[epoch] = Epoch(floor, now_s, self._max_intervals)
            if len(epochs) > _MAX_EPOCHS:
                del epochs[next(iter(epochs))]
        return Seen(epochs[epoch].add(seq, floor, now_s), replaced)

    def missing(self, now_s: float) -> dict[Gateway, Missing]:
        """The holes of each gateway's newest epoch; gateways without any stand in it with 0."""
        return {gateway: next(reversed(epochs.values())).missing(now_s) for gateway, epochs in self._gateways.items()}
