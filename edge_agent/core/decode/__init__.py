"""Payload decoders, one file a format, one table of them all: `DECODERS`."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.decode.json import decode_json
from edge_agent.core.decode.json_simple import decode_simple
from edge_agent.core.readings import Decoded

# (payload, asset, channel of the topic or None, arrival_ns) -> what it holds. Raises DecodeError and nothing else.
Decoder = Callable[[bytes, str, str | None, int], Decoded]

DECODERS: dict[str, Decoder] = {"json": decode_json}

# Payloads of one reading each -> times in ns and values, [n] each; None: one of them is of another form.
SimpleDecoder = Callable[[Sequence[bytes]], tuple[NDArray[np.int64], NDArray[np.float64]] | None]

SIMPLE_DECODERS: dict[str, SimpleDecoder] = {"json": decode_simple}
