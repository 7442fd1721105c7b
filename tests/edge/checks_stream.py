"""Runs streams of readings and ticks through `Checks`, cut as told, growing as channels appear."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from edge_agent.config import AssetRule, ChannelRule, EdgeConfig, Topic
from edge_agent.core.checks import Checks, CheckSettings
from edge_agent.core.readings import ChannelKey
from edge_agent.core.segments import segments
from edge_agent.core.state import dump, load

SECOND = 1_000_000_000


class Reading(NamedTuple):
    channel: int
    time_ns: int
    value: float
    quality: int = 0


class Tick(NamedTuple):
    clock_ns: int = 0
    listened_ns: int = 0


class Found(NamedTuple):
    quality: list[int]  # of the readings, in order of arrival
    ascends: list[bool]
    is_ahead: list[bool]
    silent: list[tuple[int, int]]  # how many events came before the tick, and the channel


def config(*rules: dict[str, Any], asset: dict[str, Any] | None = None) -> EdgeConfig:
    return EdgeConfig.model_validate(
        {
            "site": "plant",
            "gateway": "line",
            "state_dir": "/state",
            "topics": [Topic(template="{asset}/{channel}")],
            "channels": [ChannelRule.model_validate({"match": "*/*"} | rule) for rule in rules or ({},)],
            "assets": [AssetRule.model_validate({"match": "*"} | (asset or {}))],
        }
    )


class Stream:
    """Channels are numbered; `assets` says whose each one is."""

    def __init__(self, found: EdgeConfig, channels: Sequence[ChannelKey] = (("pump", "a"),)) -> None:
        self.channels = list(channels)
        assets = list(dict.fromkeys(asset for asset, _ in channels))
        self.asset_of = np.array([assets.index(asset) for asset, _ in channels], np.intp)
        self.settings = CheckSettings(found)
        self.checks = Checks()
        self.clock_ns = 0
        self.known = 0

    def run(self, events: Sequence[Reading | Tick], cuts: Iterable[int] = (), saved: Iterable[int] = ()) -> Found:
        """Cut before the events `cuts`; written out and read back before the events `saved`."""
        cuts, saved = set(cuts), set(saved)
        out, waiting = Found([], [], [], []), list[Reading]()
        for number, event in enumerate(events):
            if isinstance(event, Tick) or number in cuts | saved:
                self._step(waiting, out)
                waiting = []
            if number in saved:
                state = load(dump(deepcopy(self.checks.snapshot())))
                self.checks = Checks()
                self.checks.restore(state)
            if isinstance(event, Tick):
                silent = self.checks.tick(self.settings, event.clock_ns, event.listened_ns)
                out.silent.extend((number, channel) for channel in silent.tolist())
                self.clock_ns = event.clock_ns
            else:
                waiting.append(event)
        self._step(waiting, out)
        return out

    def _step(self, readings: Sequence[Reading], out: Found) -> None:
        if not readings:
            return
        ids, times, values, qualities = (np.array(column) for column in zip(*readings, strict=True))
        self.known = max(self.known, int(ids.max()) + 1)
        self.settings.extend(self.channels[: self.known], self.asset_of[: self.known])
        self.checks.grow(self.known, int(self.asset_of[: self.known].max()) + 1)
        grouped = segments(ids)
        order = grouped.order
        given = (
            self.asset_of[ids[order]],
            times[order],
            values[order].astype(float),
            qualities[order].astype(np.uint8),
        )
        for array in (*grouped, *given):
            array.flags.writeable = False  # a check that changed what it is given would raise
        checked = self.checks.step(self.settings, grouped, *given, self.clock_ns)
        back = np.argsort(order)
        out.quality.extend(checked.quality[back].tolist())
        out.ascends.extend(checked.ascends[back].tolist())
        out.is_ahead.extend(checked.is_ahead[back].tolist())
