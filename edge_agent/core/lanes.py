"""Which batch goes next: two lanes through one window. Seqs, sizes and times in, decisions out; payloads stay outside.

    sealed while connected ────────────────▶ LIVE ───────────────┐
                                                                 ├─▶ window ─▶ broker ─▶ receipt
    all that waited when we connected ─────▶ BACKLOG ─rate limit─┘      ▲          │
                                                                        └─ time-out┘
Invariants
1. Within a lane batches go in ascending order, and each goes again after a time-out until it is settled.
2. Never more than `batches` under way. The backlog has at most half of them, live at most all but one: neither
   can starve the other. Each lane has half of the bytes, or one batch, however large.
3. Live never waits behind backlog: of the backlog little is on the wire at a time, and it is rate-limited.
4. A live lane that lags becomes backlog as it stands, so that the newest data go at once again.
5. A batch that gets no receipt again and again steps aside when others want its place, and goes again behind them:
   what an aggregator cannot take now does not hold up what it can.
6. While the broker says that nobody listens, nothing new is begun and the oldest batch is the probe; once somebody
   does, all that went unheard goes again at once.
"""

import math
from dataclasses import dataclass
from enum import Enum

LATE_S = 10.0
_UNHEARD_S = 1.0  # between two probes while nobody listens
_WIRE_BYTES = 128 * 1024  # of the backlog, not yet taken by the broker: what a live batch may have to wait for
_BURST_S = 1.0
_MAX_RESEND_S = 60.0


class Lane(Enum):
    """Which way a batch goes."""

    LIVE = "live"
    BACKLOG = "backlog"


@dataclass(frozen=True)
class Limits:
    """Of what is under way, of the backlog's rate, and how long a receipt may take before a batch goes again."""

    batches: int
    bytes: int
    backlog_bytes_per_s: float
    resend_s: float


@dataclass
class _Flight:
    lane: Lane
    size: int
    wait_s: float
    due_s: float = math.inf  # it is still on the wire
    is_unheard: bool = False


class Lanes:
    """The state of one uplink; `connect` begins anew."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._flights: dict[int, _Flight] = {}
        self._sent = dict.fromkeys(Lane, 0)  # the last seq that was sent
        self._boundary = 0  # the last seq of the backlog
        self._drained_s = self._filled_s = 0.0  # when live had nothing more; when the allowance was reckoned
        self._allowance = 0.0  # bytes the backlog may send now; below 0 = debt
        self._aside: set[int] = set()  # seqs that made room for others
        self._again_s = 0.0  # when these may go again
        self.is_heard = True  # whether anybody was there to hear the last batch

    def connect(self, oldest: int, newest: int, now_s: float) -> None:
        """A connection stands; `oldest` to `newest` wait in the outbox (newest 0 = none)."""
        self._flights.clear()
        self._aside.clear()
        self.is_heard = True
        self._boundary, self._sent = newest, {Lane.LIVE: newest, Lane.BACKLOG: oldest - 1}
        self._allowance, self._filled_s = self._limits.backlog_bytes_per_s * _BURST_S, now_s
        self._drained_s = now_s

    def split(self, newest: int, now_s: float) -> None:
        """What waits up to `newest` is backlog, what comes behind it is live."""
        self._boundary = max(newest, self._sent[Lane.LIVE])
        self._sent[Lane.LIVE] = self._boundary
        self._drained_s = now_s

    def is_late(self, now_s: float) -> bool:
        """Whether live batches have been waiting for too long: then `split`."""
        return now_s - self._drained_s > LATE_S

    def has_room(self, lane: Lane) -> bool:
        """Whether the window takes another batch of this lane. May be asked by any thread."""
        limits, flights = self._limits, list(self._flights.values())
        if flights and not self.is_heard:
            return False
        own = [flight for flight in flights if flight.lane is lane]
        if lane is Lane.LIVE:
            slots = limits.batches - max(1, len(flights) - len(own))
        else:
            slots = min(limits.batches // 2, limits.batches - len(flights) + len(own))
        if not own or len(own) >= slots:
            return len(own) < slots
        on_wire = sum(flight.size for flight in own if flight.due_s == math.inf)
        is_held_up = lane is Lane.BACKLOG and on_wire >= _WIRE_BYTES
        return sum(flight.size for flight in own) < limits.bytes // 2 and not is_held_up

    def after(self, lane: Lane, now_s: float) -> int | None:
        """Behind which seq the lane's next batch is to be looked for; None = not now."""
        if not self.has_room(lane):
            return None
        if lane is Lane.BACKLOG:
            rate = self._limits.backlog_bytes_per_s
            self._allowance = min(rate * _BURST_S, self._allowance + rate * (now_s - self._filled_s))
            self._filled_s = now_s
            if self._aside and self._sent[lane] >= self._boundary and now_s >= self._again_s:
                self._sent[lane], self._boundary = min(self._aside) - 1, max(self._boundary, *self._aside)
                self._aside.clear()
            if self._sent[lane] >= self._boundary or self._allowance <= 0:
                return None
        return self._sent[lane]

    def admit(self, lane: Lane, seq: int, size: int) -> bool:
        """The batch found behind `after`: True = send it now. False = it is under way, or of the other lane."""
        if lane is Lane.BACKLOG and seq > self._boundary:
            self._sent[lane] = self._boundary
            return False
        self._sent[lane] = seq
        if seq in self._flights:  # sent by the live lane before that became backlog
            return False
        self._flights[seq] = _Flight(lane, size, self._limits.resend_s)
        if lane is Lane.BACKLOG:
            self._allowance -= size
        return True

    def drained(self, lane: Lane, now_s: float) -> None:
        """Nothing was found behind `after`."""
        if lane is Lane.LIVE:
            self._drained_s = now_s
        else:
            self._sent[lane] = self._boundary

    def confirmed(self, seq: int, now_s: float, *, is_heard: bool) -> None:
        """The broker has taken the batch. If it had anybody to hand it to, the receipt is waited for from now on."""
        if is_heard and not self.is_heard:
            for one in self._flights.values():
                if one.is_unheard and one.due_s < math.inf:  # else it is on the wire again
                    one.due_s, one.is_unheard = now_s, False
        self.is_heard = is_heard
        if flight := self._flights.get(seq):
            flight.is_unheard = not is_heard
            flight.due_s = now_s + (flight.wait_s if is_heard else _UNHEARD_S)

    def step_aside(self, now_s: float) -> list[int]:
        """Overdue batches that have had their chances and take the place of others: no longer under way."""
        full = {lane for lane in Lane if self.is_heard and not self.has_room(lane)}
        gone = [
            seq
            for seq, flight in self._flights.items()
            if flight.lane in full and flight.due_s <= now_s and flight.wait_s >= _MAX_RESEND_S
        ]
        for seq in gone:
            del self._flights[seq]
            self._again_s = now_s + _MAX_RESEND_S
        self._aside.update(gone)
        return gone

    def due(self, now_s: float) -> list[int]:
        """Batches whose receipt is overdue: to be sent again now, in this order. The next wait is twice as long."""
        late = sorted(seq for seq, flight in self._flights.items() if flight.due_s <= now_s)
        if not self.is_heard:
            for seq in late[1:]:
                self._flights[seq].due_s = now_s + _UNHEARD_S
            for seq in late[:1]:
                self._flights[seq].due_s = math.inf
            return late[:1]
        for seq in late:
            flight = self._flights[seq]
            flight.wait_s, flight.due_s = min(_MAX_RESEND_S, 2 * flight.wait_s), math.inf
        return late

    def settled(self, seq: int) -> None:
        """The receipt came and is recorded."""
        self._flights.pop(seq, None)
        self._aside.discard(seq)

    @property
    def under_way(self) -> int:
        """How many batches wait for their receipt."""
        return len(self._flights)

    @property
    def floor(self) -> int:
        """No batch below this one is held without a receipt."""
        unsent = self._sent[Lane.LIVE] + 1
        if self._sent[Lane.BACKLOG] < self._boundary:
            unsent = self._sent[Lane.BACKLOG] + 1
        return min([unsent, *self._flights, *self._aside])
