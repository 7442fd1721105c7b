"""Which points of a long line to draw, so that the picture stays the same and no spike is lost."""

import numpy as np
from numpy.typing import NDArray


def thin(time_ns: NDArray[np.int64], value: NDArray[np.float64], columns: int) -> NDArray[np.intp]:
    """Positions of the points that make the picture `columns` pixels wide, ascending; at most four a column.

    time_ns: [n], ascending. value: [n], no NaN. Of each column of pixels the first, the last, the lowest and the
    highest point stay: what a line through all points covers, a line through these covers (Jugel et al., M4: A
    Visualization-Oriented Time Series Data Aggregation, VLDB 2014).
    """
    n = len(time_ns)
    if n <= 4 * columns:
        return np.arange(n)
    # Offsets as floats: the column of a point may be off by one at its border, which keeps all that is said above.
    offset = (time_ns - time_ns[0]).astype(np.float64)
    column = np.minimum(offset * (columns / max(offset[-1], 1.0)), columns - 1).astype(np.intp)
    order = np.lexsort((value, column))  # within a column by value
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    ends = np.append(starts[1:], n) - 1
    return np.unique(np.concatenate((starts, ends, order[starts], order[ends])))
