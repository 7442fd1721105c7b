"""What counts as a number: the one place where the values of all formats are converted, as a topic's settings say."""

import math
import re
from collections.abc import Mapping, Sequence
from reprlib import repr as brief  # of bounded depth: a repr of 1,000 nested lists is a RecursionError
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.errors import DecodeError

_POINT = re.compile(r"\s*+([+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+)\s*+")
_COMMA = re.compile(_POINT.pattern.replace(r"\.", ","))
_MAX_CHARACTERS = 400  # of a number: longer ones take long to read


class Conversion(NamedTuple):
    """The settings of a topic that its values need; see `config/topics.py`."""

    booleans: Literal["number", "refuse"] = "refuse"
    numbers_in_text: bool = False
    decimal_comma: bool = False
    states: Mapping[str, float] = {}
    texts: Literal["refuse", "skip"] = "refuse"
    nulls: Literal["refuse", "skip"] = "refuse"

    def number(self, raw: object, name: str) -> float | None:
        """The value, finite; None: the settings leave it out. Raises DecodeError (`value`)."""
        if isinstance(raw, float) or (isinstance(raw, int) and not isinstance(raw, bool)):
            if math.isfinite(raw):
                return float(raw)
        elif isinstance(raw, bool):
            if self.booleans == "number":
                return float(raw)
        elif isinstance(raw, str | bytes):
            return self._of_text(raw, name)
        elif raw is None and self.nulls == "skip":
            return None
        raise DecodeError("value", f"{name:.60}: {brief(raw):.60} is no finite number{_cure(raw)}")

    def numbers(self, raws: Sequence[object], name: str) -> tuple[NDArray[np.float64], NDArray[np.intp] | None]:
        """The values of a column, and the positions of those that are not left out: None means all of them.

        Raises DecodeError (`value`).
        """
        if not raws:
            raise DecodeError("value", f"{name:.60}: a column needs at least one value")
        if set(map(type, raws)) <= {float, int}:  # numpy alone would also read numbers from text, and true as 1
            column = np.array(raws, np.float64)
            if not np.isfinite(column).all():
                raise DecodeError("value", f"{name:.60}: a value of the column is not finite")
            return column, None
        taken = [(i, value) for i, raw in enumerate(raws) if (value := self.number(raw, name)) is not None]
        column = np.array([value for _, value in taken], np.float64)
        return column, None if len(taken) == len(raws) else np.array([i for i, _ in taken], np.intp)

    def _of_text(self, raw: str | bytes, name: str) -> float | None:
        if isinstance(raw, str):
            if raw in self.states:
                return self.states[raw]
            if self.numbers_in_text and len(raw) <= _MAX_CHARACTERS:
                found = (_COMMA if self.decimal_comma else _POINT).fullmatch(raw)
                if found and math.isfinite(value := float(found[1].replace(",", "."))):
                    return value
        if self.texts == "skip":
            return None
        allowed = f"; allowed are {', '.join(self.states):.120}" if self.states else _cure(raw)
        raise DecodeError("value", f"{name:.60}: {brief(raw):.60} is no finite number{allowed}")


def _cure(raw: object) -> str:
    """Which settings are for values of that kind; empty: none."""
    if isinstance(raw, str | bytes | list | dict):
        return "; `states`, `texts` or `fields` of the topic say what it means"
    if raw is None or isinstance(raw, bool):
        return f"; `{'nulls' if raw is None else 'booleans'}` of the topic says what it means"
    return ""
