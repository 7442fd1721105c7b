"""Which fault strikes what, when and for how long: a pure function of the seed.

Each target has at most one fault at a time, and after it a while in which it may work; so every kill hits a process
that runs. Different targets fail together freely. The first faults are one of each kind in random order, so that a
short plan has them all.
"""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of fault. `up_s`: how long its target is left in peace afterwards."""

    name: str
    targets: tuple[str, ...]
    shortest_s: float
    longest_s: float
    weight: float
    up_s: float = 0.8
    is_kill: bool = False


class Fault(NamedTuple):
    """One fault: from `at_s` after the start, for `for_s`. `amount` is drawn from 0 to 1, for kinds that need one."""

    at_s: float
    for_s: float
    kind: str
    target: str
    amount: float
    is_kill: bool

    @property
    def end_s(self) -> float:
        """When it heals."""
        return self.at_s + self.for_s


LINKS = ("agent>sensor", "agent>uplink", "aggregators>uplink", "aggregators>database")

KILLS = (
    Kind("kill agent", ("agent",), 0.1, 1.5, 3.0, up_s=2.5, is_kill=True),
    Kind("kill aggregator", ("aggregator-1", "aggregator-2"), 0.1, 3.0, 4.0, up_s=1.0, is_kill=True),
    Kind("kill uplink broker", ("uplink",), 0.1, 2.0, 3.0, is_kill=True),
    Kind("kill database", ("database",), 0.1, 2.0, 3.0, is_kill=True),
    Kind("restart sensor broker", ("sensor",), 0.1, 2.0, 1.5, is_kill=True),
)
NETWORK = (
    Kind("cut", LINKS, 0.0, 0.0, 1.0),
    Kind("stall", LINKS, 0.5, 4.0, 1.0),
    Kind("slow", LINKS, 0.5, 4.0, 1.0),
    Kind("half-open", LINKS, 1.0, 6.0, 1.0),
    Kind("refuse", LINKS, 0.5, 3.0, 1.0),
)
DISK = Kind("disk full", ("disk",), 0.5, 3.0, 0.7, up_s=2.0)
CLOCK = Kind("clock jump", ("clock",), 0.5, 4.0, 1.0)
ALL = (*KILLS, *NETWORK, DISK, CLOCK)

_TOGETHER = 0.25  # chance that a fault strikes at the same moment as the one before
_QUIET_S = 1.0  # before the first fault


def plan(seed: int, for_s: float, gap_s: float, kinds: Iterable[Kind] = ALL) -> list[Fault]:
    """Faults in order of time, all healed by `for_s` except what begins shortly before; `gap_s` apart on average."""
    random = Random(seed)
    kinds = list(kinds)
    deck = random.sample(kinds, len(kinds))
    free_s: dict[str, float] = {}  # by target: when the next fault may strike it
    faults: list[Fault] = []
    now_s = _QUIET_S
    while now_s < for_s:
        kind = _first_possible(deck, free_s, now_s) or _draw(random, kinds, free_s, now_s)
        if kind is not None:
            target = random.choice([target for target in kind.targets if free_s.get(target, 0.0) <= now_s])
            fault = Fault(
                round(now_s, 3),
                round(random.uniform(kind.shortest_s, kind.longest_s), 3),
                kind.name,
                target,
                random.random(),
                kind.is_kill,
            )
            faults.append(fault)
            free_s[target] = fault.end_s + kind.up_s
        if random.random() >= _TOGETHER:
            now_s += random.expovariate((1 - _TOGETHER) / gap_s)
    return faults


def _first_possible(deck: list[Kind], free_s: dict[str, float], now_s: float) -> Kind | None:
    for kind in deck:
        if _is_possible(kind, free_s, now_s):
            deck.remove(kind)
            return kind
    return None


def _draw(random: Random, kinds: list[Kind], free_s: dict[str, float], now_s: float) -> Kind | None:
    possible = [kind for kind in kinds if _is_possible(kind, free_s, now_s)]
    if not possible:
        return None
    return random.choices(possible, [kind.weight for kind in possible])[0]


def _is_possible(kind: Kind, free_s: dict[str, float], now_s: float) -> bool:
    return any(free_s.get(target, 0.0) <= now_s for target in kind.targets)
