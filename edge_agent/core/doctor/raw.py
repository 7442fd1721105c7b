"""Whether payloads are raw arrays of numbers, and of which type: a guess for a person to check, never more.

Samples of a machine are smooth: one number is near the one before, against how far they range. Read with a wrong size
or byte order they jump. The type whose steps are the smallest against their range is the guess. Floats go first, and
hold when all of them could have been measured: what is none would hardly look like that, while the bits of a float
also ascend as an integer's do. Wider types go before those of half their size.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FLOATS, _INTEGERS = ("<f8", ">f8", "<f4", ">f4"), ("<i4", ">i4", "<i2", ">i2", "<u1")
_MIN_NUMBERS = 8
_LARGEST, _SMALLEST = 1e9, 1e-9  # of a measured number, but 0
_PRINTABLE = frozenset(range(32, 127)) | {9, 10, 13}
_BETTER = 0.8  # a later type must be smoother by this factor


def guess_dtype(payloads: Sequence[bytes]) -> str:
    """The type as numpy names it; empty: these are no raw samples."""
    if not payloads or all(set(payload) <= _PRINTABLE for payload in payloads):
        return ""
    return _smoothest(_FLOATS, payloads) or _smoothest(_INTEGERS, payloads)


def _smoothest(names: Sequence[str], payloads: Sequence[bytes]) -> str:
    best, roughness = "", np.inf
    for name in names:
        dtype = np.dtype(name)
        if any(len(payload) % dtype.itemsize or len(payload) < _MIN_NUMBERS * dtype.itemsize for payload in payloads):
            continue
        found = max(_roughness(np.frombuffer(payload, dtype)) for payload in payloads)
        if found < roughness * _BETTER:
            best, roughness = name, found
    return best


def _roughness(numbers: NDArray[np.generic]) -> float:
    """Mean step over mean deviation; infinite for numbers that nobody measures."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        values = numbers.astype(np.float64)
    size = np.abs(values[values != 0])
    if numbers.dtype.kind == "f" and not (np.isfinite(values).all() and ((size < _LARGEST) & (size > _SMALLEST)).all()):
        return float("inf")
    deviation = float(np.mean(np.abs(values - np.median(values))))
    return float(np.mean(np.abs(np.diff(values)))) / deviation if deviation else 0.0
