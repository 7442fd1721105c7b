"""One edge node with its devices: its session, what its messages mean, and when it has to be asked for its births.

    NBIRTH ─▶ alive ──DATA──▶ readings           before a birth, an unknown alias, a contradiction:
                │                                a dead letter, and a rebirth is wanted
              NDEATH of this session,            a number missing for `reorder_ns`: a rebirth is wanted
              or an NBIRTH of another ─▶ stale   a metric or device that a birth leaves out: stale

Stale means: each channel gets a value that is none, once. Its time is on the clock of the edge node, as near as its
messages tell: a death that waited in the broker must not lie after the life that followed. Marks that a channel is
stale are apart from what a message says: a message that is refused may lead to some.

A message that arrived before the last one is a dead letter that is taken again: it is read by the present births, and
changes none of this.
"""

from collections import Counter
from collections.abc import Iterable

from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value
from edge_agent.core.sparkplug.births import MS_NS, Birth, NodeBirths
from edge_agent.core.sparkplug.payload import Payload
from edge_agent.core.sparkplug.sequence import Sequence
from edge_agent.core.sparkplug.topic import NAMESPACE, Place, Settings

_AGAIN_NS = 10_000_000_000  # a rebirth is asked for at most that often
_AHEAD_NS = 60_000_000_000  # more than that, a clock is not ahead but wrong
_BIRTH_HELPS = frozenset({"before_birth", "alias", "value"})  # reasons of data that is refused


class Node:
    """`births` is what outlives a restart; `wanted` says why a rebirth is wanted, empty: it is not.

    `size` counts the node, its births, and the metrics in them.
    """

    def __init__(self, births: NodeBirths) -> None:
        self.births = births
        self.wanted = ""
        known = [birth for birth in (births.own, *births.devices.values()) if birth is not None]
        self.size = 1 + sum(birth.size for birth in known)
        self._sequence = Sequence()
        self._asked_ns: int | None = None
        self._lag_ns: int | None = None  # of its last message: arrival after its own time
        self._awaited: set[str] = set()  # devices whose birth has to follow the node's
        self._awaited_since_ns: int | None = None
        self._is_overdue = False

    def take(
        self,
        place: Place,
        payload: Payload,
        arrival_ns: int,
        settings: Settings,
        counts: Counter[str],
        marks: list[Value],
    ) -> Decoded:
        """What a message says. `marks`: here the stale ones are added. Raises DecodeError."""
        if arrival_ns < self.births.heard_ns:
            return self._again(place, payload, settings)
        self.births.heard_ns = arrival_ns
        if place.kind in {"NDEATH", "DDEATH"}:
            marks += self._died(place, payload, arrival_ns, counts)
            return Decoded([], [], False)
        if payload.time_ms is not None:
            self._lag_ns = max(arrival_ns - payload.time_ms * MS_NS, -_AHEAD_NS)
        if place.kind != "NBIRTH" and payload.seq is not None:
            self._sequence.step(payload.seq)
        try:
            if place.kind.endswith("BIRTH"):
                values, skipped = self._born(place, payload, arrival_ns, settings, marks)
                counts["births"] += 1
            else:
                values, skipped = self._data(place, payload, settings)
        except DecodeError as error:
            if error.reason in _BIRTH_HELPS and place.kind.endswith("DATA"):
                self.wanted = self.wanted or str(error)
            raise
        finally:
            marks += self._overdue(arrival_ns)
        return Decoded(values, [], all(value.time_ns is not None for value in values), (), skipped)

    def is_repetition(self, place: Place, payload: Payload) -> bool:
        """Of a message of which an equal one was here before."""
        if place.kind.endswith("DATA"):
            return payload.time_ms is not None or all(metric.time_ms is not None for metric in payload.metrics)
        birth = self._birth(place)
        return place.kind.endswith("BIRTH") and bool(
            birth and birth.is_alive and birth.time_ms is not None and birth.time_ms == payload.time_ms
        )

    def look(self, now_ns: int, reorder_ns: int) -> bool:
        """Timers, by a monotonic clock; whether a rebirth is to be asked for now."""
        if self._sequence.is_overdue(now_ns, reorder_ns):
            self.wanted = self.wanted or "messages are missing"
        if self._awaited and not self._is_overdue:
            if self._awaited_since_ns is None:
                self._awaited_since_ns = now_ns
            self._is_overdue = now_ns - self._awaited_since_ns >= reorder_ns
        return bool(self.wanted) and (self._asked_ns is None or now_ns - self._asked_ns >= _AGAIN_NS)

    def asked(self, now_ns: int) -> None:
        """A rebirth was asked for. What shows that it was in vain asks again."""
        self._asked_ns, self.wanted = now_ns, ""

    @property
    def command_topic(self) -> str:
        """Where it takes commands."""
        return f"{NAMESPACE}/{self.births.group}/NCMD/{self.births.node}"

    @property
    def is_born(self) -> bool:
        """Whether a birth of it, or of one of its devices, was ever seen."""
        return self.births.own is not None or bool(self.births.devices)

    @property
    def is_calm(self) -> bool:
        """Whether `look` has nothing to look for."""
        return not self.wanted and not self._sequence.has_gap and (self._is_overdue or not self._awaited)

    def has_birth(self, place: Place) -> bool:
        """Whether the node or device was ever born."""
        return self._birth(place) is not None

    def _birth(self, place: Place) -> Birth | None:
        return self.births.own if place.device is None else self.births.devices.get(place.device)

    def _again(self, place: Place, payload: Payload, settings: Settings) -> Decoded:
        asset = place.asset(settings.assets)
        if place.kind.endswith("DEATH"):
            return Decoded([], [], True)
        birth = Birth.of(payload, asset) if place.kind.endswith("BIRTH") else self._birth(place)
        if birth is None:
            raise DecodeError("before_birth", f"no birth of {asset:.60} was seen yet")
        values, skipped = birth.read(payload, settings.states)
        return Decoded(values, [], all(value.time_ns is not None for value in values), (), skipped)

    def _data(self, place: Place, payload: Payload, settings: Settings) -> tuple[list[Value], int]:
        birth, asset = self._birth(place), place.asset(settings.assets)
        if birth is None or not birth.is_alive:
            text = f"data of {asset:.60} before its birth: a rebirth is asked for"
            raise DecodeError("before_birth", text)
        birth.asset = asset
        if place.device is not None:
            self._awaited.discard(place.device)
        return birth.read(payload, settings.states)

    def _born(
        self, place: Place, payload: Payload, arrival_ns: int, settings: Settings, marks: list[Value]
    ) -> tuple[list[Value], int]:
        """Nothing changes when the payload is refused."""
        asset, time_ns = place.asset(settings.assets), self._time_ns(payload, arrival_ns)
        birth, before = Birth.of(payload, asset), self._birth(place)
        values, skipped = birth.read(payload, settings.states)
        if before is not None and before.is_alive:
            marks += before.stale(time_ns, birth.channels.values() if before.asset == asset else ())
        if place.device is None:
            marks += self._begin(payload, time_ns, is_alive=before is not None and before.is_alive)
            self.births.own = birth
            self.wanted = ""
        else:
            self.births.devices[place.device] = birth
            self._awaited.discard(place.device)
        self.size += birth.size - (before.size if before is not None else 0)
        return values, skipped

    def _begin(self, payload: Payload, time_ns: int, *, is_alive: bool) -> list[Value]:
        """The node's birth: of the same session when it was asked for, else the devices' lives end with the old one."""
        is_rebirth = is_alive and payload.bd_seq == self.births.bd_seq
        self.births.bd_seq = payload.bd_seq
        self._sequence.begin(payload.seq)
        alive = [name for name, birth in self.births.devices.items() if birth.is_alive]
        self._awaited, self._awaited_since_ns, self._is_overdue = set(alive) if is_rebirth else set(), None, False
        return [] if is_rebirth else self._end(alive, time_ns)

    def _died(self, place: Place, payload: Payload, arrival_ns: int, counts: Counter[str]) -> list[Value]:
        values: list[Value] = []
        known, said = self.births.bd_seq, payload.bd_seq
        if place.device is not None:
            if payload.seq is not None:
                self._sequence.step(payload.seq)
            values = self._end([place.device], self._time_ns(payload, arrival_ns))
        elif None in {known, said} or known == said:
            # The time in its payload is that of the connection's beginning.
            time_ns = self._time_ns(payload, arrival_ns) if self._lag_ns is None else arrival_ns - self._lag_ns
            own = self.births.own
            if own is not None and own.is_alive:
                values, own.is_alive = own.stale(time_ns), False
            values += self._end(self.births.devices, time_ns)
            self._awaited.clear()
            self._sequence.begin(None)
        else:
            counts["deaths_of_older_sessions"] += 1
            return []
        counts["deaths"] += 1
        return values

    def _end(self, devices: Iterable[str], time_ns: int) -> list[Value]:
        values: list[Value] = []
        for name in devices:
            birth = self.births.devices.get(name)
            if birth is not None and birth.is_alive:
                birth.is_alive = False
                values += birth.stale(time_ns)
        return values

    def _overdue(self, arrival_ns: int) -> list[Value]:
        """Devices that a rebirth has left out."""
        if not self._is_overdue:
            return []
        gone, self._awaited, self._is_overdue = sorted(self._awaited), set(), False
        return self._end(gone, arrival_ns - (self._lag_ns or 0))

    @staticmethod
    def _time_ns(payload: Payload, arrival_ns: int) -> int:
        return arrival_ns if payload.time_ms is None else payload.time_ms * MS_NS
