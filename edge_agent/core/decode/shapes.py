"""What parsed content says, whichever format carried it: the shapes shown in `json.py`, in JSON's own types.

Content may also hold a `Moment` where a time stands. All else is refused with the reason `shape`, `channel`, `value`
or `time`.
"""

import math
from reprlib import repr as brief  # of bounded depth: a repr of 1,000 nested lists is a RecursionError

import numpy as np

from edge_agent.core.decode.times import parse_time_ns
from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value, Waveform

TIME_KEYS = ("ts", "time", "timestamp")
_VALUE_KEYS = ("value", "v")


def decode_content(content: object, asset: str, channel: str | None, arrival_ns: int) -> Decoded:
    """Raises DecodeError and nothing else."""
    if isinstance(content, list):
        if not content:
            raise DecodeError("shape", "an empty list: no value in the payload")
        return _of_values([_single(item, asset, channel) for item in content])
    if not isinstance(content, dict):
        if channel is not None and isinstance(content, int | float):
            return _of_values([Value((asset, channel), None, _number(content, channel))])
        raise DecodeError("shape", f"{brief(content):.60}: neither an object nor a list of objects")
    values = content.get("values")
    if isinstance(values, list):
        return Decoded([], [_column(content, values, asset, channel, arrival_ns)], _time(content) is not None)
    if any(key in content for key in _VALUE_KEYS):
        return _of_values([_single(content, asset, channel)])
    return _of_values(_many(content, asset))


def _of_values(values: list[Value]) -> Decoded:
    return Decoded(values, [], all(value.time_ns is not None for value in values))


def _single(item: object, asset: str, channel: str | None) -> Value:
    if not isinstance(item, dict):
        raise DecodeError("shape", f"{brief(item):.60}: not an object")
    name = channel if channel is not None else item.get("channel")
    if not isinstance(name, str):
        raise DecodeError("channel", "neither the topic nor the payload names a channel")
    key = next((key for key in _VALUE_KEYS if key in item), None)
    if key is None:
        raise DecodeError("shape", f"{brief(item):.60}: no key 'value'")
    return Value((asset, name), _time(item), _number(item[key], name))


def _many(content: dict[str, object], asset: str) -> list[Value]:
    time_ns = _time(content)
    nested = content.get("values")
    pairs = nested if isinstance(nested, dict) else {k: v for k, v in content.items() if k not in TIME_KEYS}
    if not pairs:
        raise DecodeError("shape", "no value in the payload")
    if not all(isinstance(name, str) for name in pairs):  # MessagePack and CBOR know other keys
        raise DecodeError("shape", "a key that is no text")
    return [Value((asset, name), time_ns, _number(value, name)) for name, value in pairs.items()]


def _column(
    content: dict[str, object], values: list[object], asset: str, channel: str | None, arrival_ns: int
) -> Waveform:
    if channel is None:
        raise DecodeError("channel", "a column of values needs a topic that names the channel")
    dt_s = content.get("dt")
    if isinstance(dt_s, bool) or not isinstance(dt_s, int | float) or not 0 < dt_s < 86_400:
        raise DecodeError("shape", f"dt {brief(dt_s):.60}: the seconds from one value to the next, above 0, are needed")
    # numpy alone would also read numbers from text, and true as 1.
    if not all(type(value) in (float, int) for value in values):
        raise DecodeError("value", f"{channel}: a column holds numbers only")
    try:
        with np.errstate(over="ignore"):  # beyond float32 it becomes infinite, and is refused below
            samples = np.array(values, "<f4")
    except OverflowError as error:
        raise DecodeError("value", f"{channel}: a column holds numbers only") from error
    if not samples.size or not np.isfinite(samples).all():
        raise DecodeError("value", f"{channel}: a column needs at least one value, all of them finite")
    time_ns = _time(content)
    return Waveform(
        channel=(asset, channel),
        time_ns=arrival_ns if time_ns is None else time_ns,
        dt_ns=max(1, round(dt_s * 1e9)),
        samples=samples.tobytes(),
    )


def _time(item: dict[str, object]) -> int | None:
    raw = next((item[key] for key in TIME_KEYS if key in item), None)
    return None if raw is None else parse_time_ns(raw)


def _number(raw: object, name: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise DecodeError("value", f"{name}: {brief(raw):.60} is no finite number")
    return float(raw)
