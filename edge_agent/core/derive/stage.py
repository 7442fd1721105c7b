"""The stage: puts what is derived on the grid into the frames, for the assets whose rule declares something."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import EdgeConfig
from edge_agent.config.assets import AssetRule
from edge_agent.core.align import Frames
from edge_agent.core.derive.program import Program, Virtual
from edge_agent.core.segments import grown

_DECLARES = ("redundant", "derived", "features", "regimes", "regime_dwell_s", "period_s")
_NONE = Virtual(np.empty(0, np.intp), np.empty(0, np.int64), np.empty(0))


class Numbering(Protocol):
    """What of the catalogue is needed."""

    channels: list[tuple[str, str]]
    assets: list[str]
    asset_of: NDArray[np.intp]


class Derive:
    """One `Program` for all rules that declare the same; its state outlives a configuration that says so as well.

    The values depend on the frames before, each once and in order for an asset, not on how they were cut into steps.
    """

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}  # by what is declared
        self._rules: dict[str, AssetRule] = {}
        self._config: EdgeConfig | None = None
        self._known = 0  # channels
        self._program_of: NDArray[np.intp] = np.empty(0, np.intp)  # [assets], -1 = none, -2 = not looked up yet

    def settle(self, config: EdgeConfig, catalogue: Numbering) -> None:
        """Take over a configuration; the state of what is declared as before survives."""
        saved = self.snapshot()
        self._config, self._known = config, 0
        self._rules = {key: rule for rule in config.assets if (key := _key(rule))}
        self._programs = {key: Program(rule) for key, rule in self._rules.items()}
        self._program_of = self._program_of[:0]
        self.grow(catalogue)
        self.restore(saved)

    def grow(self, catalogue: Numbering) -> None:
        """Take notice of channels that are new."""
        if self._known == len(catalogue.channels) or self._config is None:
            return
        looked_up = len(self._program_of)
        self._program_of = grown(self._program_of, len(catalogue.assets), -1)
        position, programs = {key: i for i, key in enumerate(self._programs)}, list(self._programs.values())
        if programs:
            for number in range(looked_up, len(catalogue.assets)):
                rule = self._config.asset_rule(catalogue.assets[number])
                self._program_of[number] = position.get(_key(rule), -1) if rule else -1
            for number in range(self._known, len(catalogue.channels)):
                asset = int(catalogue.asset_of[number])
                if self._program_of[asset] >= 0:
                    programs[self._program_of[asset]].add(asset, catalogue.channels[number][1], number)
            for program in programs:
                program.settle()
        self._known = len(catalogue.channels)

    def step(self, frames: Frames) -> tuple[Frames, Virtual]:
        """Returns the frames with the virtual channels in them, and what of these is to be stored."""
        if not self._programs or not len(frames.asset):
            return frames, _NONE
        program_of = self._program_of[frames.asset]
        found: list[Virtual] = []
        for i, program in enumerate(self._programs.values()):
            rows = np.flatnonzero(program_of == i)
            if len(rows):
                frames, more = program.step(frames, rows)
                found += more
        if not found:
            return frames, _NONE
        channel, time_ns, value = (np.concatenate(column) for column in zip(*found, strict=True))
        return frames, Virtual(channel, time_ns, value)

    def snapshot(self) -> dict[str, Any]:
        """The state, as plain values and arrays: not a copy."""
        return {key: program.snapshot() for key, program in self._programs.items()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a snapshot, after `settle`; what is declared no longer is left out."""
        for key, state in saved.items():
            if key in self._programs:
                self._programs[key].restore(state)


def _key(rule: AssetRule) -> str:
    """The same for rules that declare the same; empty for those that declare nothing."""
    if not (any(group.fused for group in rule.redundant) or rule.derived or rule.features or rule.regimes):
        return ""
    return rule.model_dump_json(include=set(_DECLARES))
