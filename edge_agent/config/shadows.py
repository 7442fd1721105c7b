"""Rules that can never hold, because one before them fits all that they fit."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from edge_agent.config import EdgeConfig


class _Rule(Protocol):
    @property
    def match(self) -> str: ...


def shadowed(config: EdgeConfig) -> list[str]:
    """A sentence for each rule of channels and assets that an earlier one hides."""
    return [*_shadowed("channels", config.channels), *_shadowed("assets", config.assets)]


def _shadowed(section: str, rules: Sequence[_Rule]) -> Iterator[str]:
    for later, rule in enumerate(rules):
        # A pattern of stars alone that fits the other pattern as it is written fits all that this one fits.
        earlier = next((i for i in range(later) if _hides(rules[i].match, rule.match)), None)
        if earlier is not None:
            yield (
                f"{section}[{later}] (match = {rule.match!r}) never holds: {section}[{earlier}]"
                f" (match = {rules[earlier].match!r}) stands before it and fits all that it fits"
            )


def _hides(earlier: str, later: str) -> bool:
    return earlier == later or (not set("?[]") & set(earlier) and fnmatchcase(later, earlier))
