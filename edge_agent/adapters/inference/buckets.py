"""n windows, cut into runs of few fixed sizes: a GPU prepares itself for each size of batch it meets.

Pure. A bucket is the size of a run; the last one may be filled up with copies of the last window.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Of runs on a CPU, which prepares nothing for a size: a few assets must not pay for many. More windows gain nothing.
_ON_CPU = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_ON_GPU = (1, 2, 32, 256, 4096)  # 2: a lone row is often added up in another order than two or more
_MOST_VALUES_ON_CPU = 1 << 16  # more leave its caches
_MOST_VALUES_ON_GPU = 1 << 22  # 16 MiB


def sizes(provider: str, max_batch: int, values: int) -> tuple[int, ...]:
    """The buckets for a model, ascending, the first of them 1; `values`: of one of its windows."""
    all_sizes, most_values = (_ON_CPU, _MOST_VALUES_ON_CPU) if provider == "cpu" else (_ON_GPU, _MOST_VALUES_ON_GPU)
    most = max(1, min(max_batch, most_values // values))
    return tuple(size for size in all_sizes if size <= most)


def cut(n: int, costs: Mapping[int, float]) -> tuple[int, ...]:
    """Buckets for n windows, the larger ones first, at the least cost; costs: of a run of each bucket.

    A run of a larger bucket is never taken to cost more than the smaller ones that it stands for: a cost is measured
    once or twice, on a machine that has other things to do.
    """
    sane: list[tuple[int, float]] = []
    for size, cost in sorted(costs.items()):
        sane.append((size, min([cost, *(other * -(-size // small) for small, other in sane)])))
    return _cut(n, sane[::-1])[2]


def _cut(n: int, costs: Sequence[tuple[int, float]]) -> tuple[float, int, tuple[int, ...]]:
    """The least cost, and then the fewest runs; their number; and the runs. costs: descending by bucket."""
    if n <= 0:
        return 0.0, 0, ()
    (size, cost), smaller = costs[0], costs[1:]
    full, rest = divmod(n, size)
    runs = full + (rest > 0)
    padded_up = (runs * cost, runs, (size,) * runs)
    if not smaller or not rest:
        return padded_up
    cheaper, more, cuts = _cut(rest, smaller)
    return min(padded_up, (full * cost + cheaper, full + more, (size,) * full + cuts))


def padded(windows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """[k, ...] -> [size, ...], the last one again and again; k from 1 to size."""
    if len(windows) == size:
        return windows
    out = np.empty((size, *windows.shape[1:]), np.float32)
    out[: len(windows)] = windows
    out[len(windows) :] = windows[-1]
    return out
