"""One round: the same data through a world that faults strike and through one that is left in peace, at once.

When all faults have healed and nothing more comes, both databases must hold the same rows.
"""

import asyncio
import bisect
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge_agent.config.waveforms import WaveformRule
from tests.chaos import rows
from tests.chaos.plan import CLOCK, DISK, KILLS, NETWORK, Fault, plan
from tests.chaos.plant import START_NS, DataSet, data_set
from tests.chaos.recovery import Recovery, Span, recoveries
from tests.chaos.rows import Content, Difference, Key
from tests.chaos.strike import Struck, strike_all
from tests.chaos.world import DATABASE, IDLE_S, World, running

SPEED = 2.0  # plant seconds a second, while faults strike
_TAIL_S = 4.0  # of data behind the last planned fault
_LOOK_S, _QUIET_S = 0.5, 3.0
_GIVE_UP_S = 60.0  # without a new row
_NEAR_BEFORE_S, _NEAR_AFTER_S = 4.0, 8.0
_SHOWN = 5


class Outcome(NamedTuple):
    """What a round has shown."""

    seed: int
    kills: Counter[str]
    faults: Counter[str]
    ended: Counter[str]  # processes that ended by themselves, with their exit codes
    errors: Counter[str]  # what agent and aggregators logged as errors
    published: int
    repeated: int
    expected: Counter[str]  # rows by measurement
    missing: int
    extra: int
    different: int
    recoveries: tuple[Recovery, ...]
    is_disk_small: bool
    story: str  # of the differences; empty when there are none

    @property
    def is_identical(self) -> bool:
        """The claim."""
        return not (self.missing or self.extra or self.different)


async def play(folder: Path, seed: int, for_s: float, gap_s: float, tell: Callable[[str], None]) -> Outcome:
    """One round of faults for `for_s`; `folder` is empty. Raises RuntimeError when the undisturbed run is not right."""
    data = data_set(seed, SPEED * (for_s + _TAIL_S))
    reference = asyncio.create_task(_undisturbed(folder / "undisturbed", data))
    try:
        async with running(folder / "disturbed", data) as world:
            kinds = (*KILLS, *NETWORK, CLOCK, *([DISK] if world.disk.is_mounted else []))
            faults = plan(seed, for_s, gap_s, kinds)
            struck: list[Struck] = []

            def report(one: Struck) -> None:
                struck.append(one)
                kills = sum(s.is_hit and s.fault.is_kill for s in struck)
                confirmed, published = len(world.publisher.confirmed_s), len(data.publications)
                tell(f"{kills} kills, {len(struck) - kills} other faults, {confirmed:,} of {published:,} messages")

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(world.publisher.run(SPEED))
                tasks.create_task(strike_all(world, faults, report))
            tell("all has healed; waiting for the last rows")
            expected = await reference
            await _settled(world, len(expected))
            found = await asyncio.to_thread(rows.read, world.database.url, DATABASE)
            difference = rows.compare(expected, found)
            return _outcome(seed, world, struck, expected, found, difference)
    finally:
        reference.cancel()


async def _undisturbed(folder: Path, data: DataSet) -> Content:
    """The rows that the data must come to, checked against what the data set states."""
    async with running(folder, data) as world:
        await world.publisher.run(None)
        stated = _stated(data)
        await _settled(world, len(stated), at_least_s=IDLE_S + _QUIET_S)
        content = await asyncio.to_thread(rows.read, world.database.url, DATABASE)
    found = {
        (key.tags[1], key.tags[2], key.time_ns): dict(fields)["value"]
        for key, fields in content.items()
        if key.measurement == "reading"
    }
    changed = [
        place for place, value in stated.items() if place in found and value is not None and found[place] != value
    ]
    if found.keys() != stated.keys() or changed:
        msg = f"the undisturbed run does not hold what was published: {len(stated)} readings, {len(found)} stored"
        raise RuntimeError(f"{msg}, {len(changed)} changed\n{world.complaints()}")
    return content


def _stated(data: DataSet) -> dict[tuple[str, str, int], float | None]:
    """Every reading that must be stored, with its value where the value is known bit for bit."""
    stated: dict[tuple[str, str, int], float | None] = {}
    for row in data.rows:
        channel, _, feature = row.channel.partition(".")
        if feature:
            stated |= {(row.asset, f"{channel}.{name}", row.time_ns): None for name in WaveformRule().features}
        else:
            stated[row.asset, row.channel, row.time_ns] = row.value
    return stated


async def _settled(world: World, expected: int, at_least_s: float = _QUIET_S) -> None:
    """Until the database holds so many rows and has got no other for a while, or none at all for a long time."""
    last, since_s = -1, time.monotonic()
    while True:
        found = await asyncio.to_thread(rows.count, world.database.url, DATABASE)
        now_s = time.monotonic()
        if found != last:
            last, since_s = found, now_s
        if now_s - since_s > (at_least_s if found >= expected else _GIVE_UP_S):
            return
        await asyncio.sleep(_LOOK_S)


def _outcome(
    seed: int, world: World, struck: list[Struck], expected: Content, found: Content, difference: Difference
) -> Outcome:
    hits = [s.fault for s in struck if s.is_hit]
    return Outcome(
        seed=seed,
        kills=Counter(fault.kind for fault in hits if fault.is_kill),
        faults=Counter(fault.kind for fault in hits if not fault.is_kill),
        ended=Counter(
            {f"{child.name}: exit {code}": n for child in world.children.values() for code, n in child.ended.items()}
        ),
        errors=world.errors(),
        published=len(world.data.publications),
        repeated=world.publisher.repeated,
        expected=Counter(key.measurement for key in expected),
        missing=len(difference.missing),
        extra=len(difference.extra),
        different=len(difference.different),
        recoveries=tuple(recoveries([Span(s.begin_s, s.end_s) for s in struck], world.writes_s)),
        is_disk_small=world.disk.is_mounted,
        story="" if difference.is_none else _story(world, struck, expected, found, difference),
    )


def _story(world: World, struck: list[Struck], expected: Content, found: Content, difference: Difference) -> str:
    """The first rows of each kind, what was broken near them, and what our processes complained of."""
    lines = [f"confirmed without a subscriber: {world.publisher.unheard}"]
    for name, keys in zip(difference._fields, difference, strict=True):
        lines.append(f"{name}: {len(keys)} rows, {dict(Counter(key.measurement for key in keys))}")
        for key in keys[:_SHOWN]:
            lines.append(f"  {_at_s(key):8.2f} s {key}")
            for who, content in (("expected", expected), ("found", found)):
                if key in content:
                    lines.append(f"      {who}: {content[key]}")
            lines.append(f"      near: {', '.join(_near(world, struck, key)) or 'no fault'}")
    return "\n".join([*lines, world.complaints()])


def _near(world: World, struck: list[Struck], key: Key) -> list[str]:
    publications, confirmed_s = world.data.publications, world.publisher.confirmed_s
    place = bisect.bisect_left(publications, _at_s(key), key=lambda publication: publication.at_s)
    moment_s = confirmed_s[min(place, len(confirmed_s) - 1)]
    return [
        f"{_describe(s.fault)} at {s.begin_s - moment_s:+.1f} s"
        for s in sorted(struck, key=lambda s: s.begin_s)
        if s.begin_s < moment_s + _NEAR_AFTER_S and s.end_s > moment_s - _NEAR_BEFORE_S
    ]


def _describe(fault: Fault) -> str:
    return fault.kind if fault.is_kill or fault.target in fault.kind else f"{fault.kind} {fault.target}"


def _at_s(key: Key) -> float:
    """Plant time."""
    return (key.time_ns - START_NS) / 1e9
