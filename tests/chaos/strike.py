"""Carries a planned fault out on a world, and heals it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.chaos import clock
from tests.chaos.plan import Fault
from tests.chaos.world import World

_HOUR_NS = 3600 * 1_000_000_000
_DEAD_BATTERY_NS = 1_000_000_000 * 1_000_000_000  # 2001-09-09: where the clock of a board without a battery may start


class Struck(NamedTuple):
    """What became of a fault: when it began and had healed (monotonic s), and whether it met its target."""

    fault: Fault
    begin_s: float
    end_s: float
    is_hit: bool


async def strike_all(world: World, faults: Sequence[Fault], report: Callable[[Struck], None]) -> None:
    """Each at its time; returns when all have healed. `report` hears of each once it has healed."""

    async def one(fault: Fault) -> None:
        begin_s = time.monotonic()
        is_hit = await _strike(world, fault)
        report(Struck(fault, begin_s, time.monotonic(), is_hit))

    start_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for fault in faults:
            await asyncio.sleep(max(0.0, start_s + fault.at_s - time.monotonic()))
            tasks.create_task(one(fault))


async def _strike(world: World, fault: Fault) -> bool:
    if fault.is_kill:
        return await _kill(world, fault)
    if fault.target in world.proxies:
        await _break_path(world, fault)
        return True
    if fault.kind == "disk full":
        world.disk.fill()
        await asyncio.sleep(fault.for_s)
        world.disk.empty()
    else:
        clock.set_offset(world.clock, _jump_ns(fault.amount))
        await asyncio.sleep(fault.for_s)
        clock.set_offset(world.clock, 0)
    return True


async def _kill(world: World, fault: Fault) -> bool:
    child = world.children[fault.target]
    is_hit = await child.terminate() if fault.kind.startswith("restart") else child.kill()
    await asyncio.sleep(fault.for_s)
    child.start()
    return is_hit


async def _break_path(world: World, fault: Fault) -> None:
    proxy = world.proxies[fault.target]
    if fault.kind == "cut":
        proxy.cut()
    elif fault.kind == "stall":
        proxy.stall()
    elif fault.kind == "slow":
        proxy.slow(round(500 + 20_000 * fault.amount))
    elif fault.kind == "half-open":
        proxy.half_open()
    else:
        proxy.refuse()
    await asyncio.sleep(fault.for_s)
    await proxy.heal()


def _jump_ns(amount: float) -> int:
    """By up to an hour ahead or back, by a month ahead, to the start of the epoch, or to 2001."""
    jumps = (
        round((2 * amount - 1) * _HOUR_NS),
        30 * 24 * _HOUR_NS,
        -time.time_ns(),
        _DEAD_BATTERY_NS - time.time_ns(),
        _HOUR_NS,
        -_HOUR_NS,
    )
    return jumps[int(amount * 1000) % len(jumps)]
