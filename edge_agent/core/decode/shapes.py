"""What parsed content says, whichever format carried it: the shapes of `json.py`, or those of the topic's `fields`.

Content is of JSON's own types; it may also hold a `Moment` or a MessagePack extension where a time stands. All else is
refused with the reason `shape`, `channel`, `value`, `time` or `quality`.
"""

from reprlib import repr as brief  # of bounded depth: a repr of 1,000 nested lists is a RecursionError

import numpy as np

from edge_agent.core.decode.places import MISSING, Chain, find, find_around, items
from edge_agent.core.decode.rules import PLAIN, Rules
from edge_agent.core.decode.source_quality import parse_quality
from edge_agent.core.decode.times import parse_time_ns, parse_times_ns
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Column, Decoded, Value
from models.contract.quality import Quality


def decode_content(content: object, asset: str, channel: str | None, arrival_ns: int, rules: Rules = PLAIN) -> Decoded:
    """Raises DecodeError and nothing else."""
    reader = _Reader(asset, channel, arrival_ns, rules)
    if channel is not None and rules.places.is_usual and (content is None or isinstance(content, int | float | str)):
        reader.add(channel, None, content)
    else:
        for item in items(content, rules.places.items):
            reader.read(item)
    if not (reader.values or reader.columns or reader.skipped):
        raise DecodeError("shape", "no value in the payload")
    return Decoded(reader.values, [], reader.is_timed, reader.columns, reader.skipped)


_TIME_KEYS = frozenset(path[0] for path in PLAIN.places.time)


class _Reader:
    """Collects what the items of one payload say."""

    def __init__(self, asset: str, channel: str | None, arrival_ns: int, rules: Rules) -> None:
        self._asset, self._channel, self._arrival_ns, self._rules = asset, channel, arrival_ns, rules
        self._quality = Quality.GOOD  # of the item that is read
        self.values: list[Value] = []
        self.columns: list[Column] = []
        self.is_timed = True
        self.skipped = 0

    def read(self, around: Chain) -> None:
        """One item; `around` begins with it."""
        item, places = around[0], self._rules.places
        if not isinstance(item, dict):
            raise DecodeError("shape", f"{brief(item):.60}: neither an object nor a list of objects")
        if places.asset:
            self._asset = _name(find_around(around, places.asset), "asset")
        if places.quality:
            raw = find_around(around, places.quality)
            self._quality = parse_quality(None if raw is MISSING else raw, self._rules.quality_codes)
        values = find(item, places.values)
        time = find_around(around, places.time)
        if isinstance(values, list):
            self._add_column(self._name(around), values, time, around)
        elif (value := find(item, places.value)) is not MISSING:
            self.add(self._name(around), self._time_ns(time), value)
        elif isinstance(values, dict) and values:
            self._add_many(values, time, around)
        elif places.is_usual and values is MISSING and (names := [key for key in item if key not in _TIME_KEYS]):
            time_ns = self._time_ns(time)
            for name in names:
                self.add(_name(name, "channel"), time_ns, item[name])
        else:
            raise DecodeError("shape", f"{brief(item):.60}: no value there")

    def add(self, name: str, time_ns: int | None, raw: object) -> None:
        """One value."""
        value = self._rules.convert.number(raw, name)
        if value is None:
            self.skipped += 1
            return
        if time_ns is None:
            self.is_timed = False
        self.values.append(Value((self._asset, name), time_ns, value, self._quality))

    def _add_many(self, pairs: dict[object, object], time: object, around: Chain) -> None:
        """A value, or a column, of each of several channels."""
        time_ns = None if isinstance(time, list) else self._time_ns(time)
        for key, raw in pairs.items():
            name = _name(key, "channel")
            if isinstance(raw, list):
                self._add_column(name, raw, time, around)
            elif isinstance(time, list):
                raise DecodeError("shape", f"{name:.60}: one value and several times")
            else:
                self.add(name, time_ns, raw)

    def _add_column(self, name: str, raws: list[object], time: object, around: Chain) -> None:
        value, kept = self._rules.convert.numbers(raws, name)
        count, quality = len(raws), self._quality
        if isinstance(time, list):
            if len(time) != count:
                raise DecodeError("shape", f"{name:.60}: {count} values and {len(time)} times")
            dt_ns, times_ns = 0, parse_times_ns(time, self._rules.time_unit)
        else:
            dt_ns, first_ns = self._dt_ns(around), self._time_ns(time)
            if first_ns is None:
                self.is_timed, quality = False, quality or Quality.UNCERTAIN_ARRIVAL_TIME
                first_ns = self._arrival_ns - (count - 1) * dt_ns
            if not -(2**63) <= first_ns <= first_ns + (count - 1) * dt_ns < 2**63:
                raise DecodeError("time", f"{name:.60}: the times of a column are not within 64 bits of ns")
            times_ns = first_ns + np.arange(count, dtype=np.int64) * dt_ns
        if kept is not None:
            self.skipped += count - len(kept)
            dt_ns, times_ns = 0, times_ns[kept]
        if len(value):
            self.columns.append(Column((self._asset, name), times_ns, value, dt_ns, quality))

    def _name(self, around: Chain) -> str:
        if self._channel is not None:
            return self._channel
        return _name(find_around(around, self._rules.places.channel), "channel")

    def _time_ns(self, raw: object) -> int | None:
        return None if raw is None or raw is MISSING else parse_time_ns(raw, self._rules.time_unit)

    def _dt_ns(self, around: Chain) -> int:
        dt_s = find_around(around, self._rules.places.dt)
        if isinstance(dt_s, bool) or not isinstance(dt_s, int | float) or not 0 < dt_s < 86_400:
            raise DecodeError(
                "shape", f"dt {_shown(dt_s)}: the seconds from one value to the next, above 0, are needed"
            )
        return max(1, round(dt_s * 1e9))


def _name(raw: object, what: str) -> str:
    if not isinstance(raw, str):
        raise DecodeError("channel", f"{what} {_shown(raw)}: neither the topic nor the payload names one")
    if not raw or not raw.isprintable():
        raise DecodeError("channel", f"{what} {raw!a:.60}: a name that is empty or cannot be printed")
    return raw


def _shown(raw: object) -> str:
    return "is missing" if raw is MISSING else f"{brief(raw):.60}"
