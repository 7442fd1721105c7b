"""State as bytes: plain values and numpy arrays in MessagePack, for snapshots."""

from typing import Any

import msgspec
import numpy as np


def dump(state: Any) -> bytes:  # noqa: ANN401 - any tree of dicts, lists, plain values and arrays
    """Bytes from which `load` gives the same tree back."""
    return msgspec.msgpack.encode(state, enc_hook=_encode_array)


def load(content: bytes) -> Any:  # noqa: ANN401 - what `dump` was given
    """The tree, with arrays of their own (writable). Raises ValueError when the bytes are not of `dump`."""
    try:
        return _restore(msgspec.msgpack.decode(content))
    except (msgspec.DecodeError, KeyError, TypeError, SyntaxError, RecursionError) as error:
        msg = f"no snapshot: {error}"
        raise ValueError(msg) from error


def _encode_array(value: object) -> object:
    if isinstance(value, np.ndarray):
        return {"__array__": value.dtype.str, "shape": list(value.shape), "data": value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    msg = f"{type(value)} cannot be part of a snapshot"
    raise TypeError(msg)


def _restore(value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, dict):
        if "__array__" in value:
            return np.frombuffer(value["data"], value["__array__"]).reshape(value["shape"]).copy()
        return {key: _restore(item) for key, item in value.items()}
    return [_restore(item) for item in value] if isinstance(value, list) else value
