"""What payloads have for values beside numbers, and the settings that a topic needs for these: no more than that.

Texts that look like states get numbers, in the order of the alphabet, where there are few of them: which number means
what is for a person to say. A text beside numbers of the same name is no state: it says that there is no number.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from edge_agent.core.decode import DECODERS
from edge_agent.core.decode.places import Places
from edge_agent.core.decode.rules import Rules
from edge_agent.core.decode.values import Conversion
from edge_agent.core.errors import DecodeError

_STATES = 20  # a topic: more are no states
_STATE = re.compile(r"[^\W\d_].{0,31}")  # begins with a letter, and is short
_MISSING = frozenset({"nan", "na", "n/a", "nil", "null", "none", "inf", "infinity"})

Setting = str | bool | tuple[str, ...]  # a tuple: states, which count from 0


class _Noting(Conversion):
    """Reads whatever there is, and notes what it was, by name."""

    kinds: defaultdict[str, set[type]]
    words: defaultdict[str, set[str]]

    def number(self, raw: object, name: str) -> float | None:
        """As it is read; a text that is no number is left out."""
        value = super().number(raw, name)
        if isinstance(raw, str) and value is None:
            self.words[name].add(raw)
        else:
            self.kinds[name].add(bytes if isinstance(raw, bytes) else type(raw))
        return value


def settings_for(
    format_name: str, places: Places, payloads: Iterable[bytes], *, names_channels: bool
) -> dict[str, Setting]:
    """Those with which the payloads, which are not compressed, are read as far as can be."""
    noting = _Noting(booleans="number", numbers_in_text=True, texts="skip", nulls="skip")
    noting.kinds, noting.words = defaultdict(set), defaultdict(set)
    for payload in payloads:
        try:
            DECODERS[format_name](payload, "asset", None if names_channels else "channel", 0, Rules(noting, places))
        except DecodeError:
            continue
    kinds = set[type]().union(*noting.kinds.values())
    states, others = _states(noting)
    found: dict[str, Setting] = {}
    if bool in kinds:
        found["booleans"] = "number"
    if str in kinds:
        found["numbers_in_text"] = True
    if type(None) in kinds:
        found["nulls"] = "skip"
    if states:
        found["states"] = states
    if others or bytes in kinds:
        found["texts"] = "skip"
    return found


def joined(one: dict[str, Setting], other: dict[str, Setting]) -> dict[str, Setting]:
    """The settings of both."""
    both = one | other
    states = {text for some in (one, other) if isinstance(texts := some.get("states"), tuple) for text in texts}
    return both | {"states": tuple(sorted(states))} if states else both


def _states(noted: _Noting) -> tuple[tuple[str, ...], bool]:
    """The texts that are states, and whether there are others."""
    found, others = set[str](), False
    for name, words in noted.words.items():
        if noted.kinds.get(name, set()) & {int, float, str} or not all(map(_may_be_state, words)):
            others = True
        else:
            found |= words
    return (tuple(sorted(found)), others) if len(found) <= _STATES else ((), True)


def _may_be_state(text: str) -> bool:
    return text.isprintable() and _STATE.fullmatch(text) is not None and text.lower() not in _MISSING
