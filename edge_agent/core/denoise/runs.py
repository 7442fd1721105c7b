"""What a filter is, and what it is given.

A filter has one setting and serves any number of channels; each has a slot in its arrays. It is given runs: finite
readings of one slot whose times ascend, without a gap that the setting calls one. What is missing, bad or out of order
never gets here (see chain.py). A run that is new begins with a blank memory; the last run of a slot is what it
remembers.

Each filter: causal; results depend on the readings before, never on how they were cut into batches, bit for bit; its
attributes are its whole state: plain arrays whose first axis is the slot.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.core.segments import preceding
from edge_agent.core.settings import Strict

Ids = NDArray[np.intp]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)
Item = TypeVar("Item")

_GAP_PERIODS = 10
_SPARSE = 2  # from so many positions a reading on, a window of its own for each is cheaper


class Runs(NamedTuple):
    """How m readings, grouped by slot and by time within it, fall into k runs. No run is empty."""

    slot: Ids  # [k], the runs of one slot stand together, in order of time
    starts: Ids  # [k], the first reading of each
    lasts: Ids  # [k], the last one
    rank: Ids  # [m], the run of each reading
    is_new: Flags  # [k], nothing that the slot remembers counts
    is_last: Flags  # [k], the slot's last run

    @property
    def lengths(self) -> Ids:
        """[k], readings of each run."""
        return self.lasts - self.starts + 1


class Filter(Protocol):
    """One filter with one setting."""

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        ...

    def step(self, runs: Runs, time_ns: Ints, value: Floats) -> tuple[Floats, Flags | None]:
        """Filter m readings [m]. Returns their filtered values [m], and which are spikes [m] (None: none are)."""
        ...


def by_identity(items: Sequence[Item]) -> tuple[list[Item], Ids]:
    """The distinct objects in order of first appearance, and which of them each item is: a cheap first grouping."""
    identities = np.fromiter(map(id, items), np.int64, len(items))
    _, firsts, which = np.unique(identities, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return [items[first] for first in firsts[order].tolist()], place[which]


class FilterSettings(Strict):
    """What every filter can be told."""

    max_gap_s: float | None = Field(None, gt=0, description="after a longer gap the filter begins anew; none: never")

    @property
    def gap_s(self) -> float | None:
        """After a longer gap the filter begins anew, s; None: never."""
        return self.max_gap_s

    def delay_s(self, period_s: float) -> float:  # noqa: ARG002 - most delays depend on it
        """How far a slow signal lags behind where a reading comes every `period_s`, s; 0 unless a filter says more."""
        return 0.0


class EvenRateSettings(FilterSettings):
    """For filters that count readings for time: they hold for readings that come at an even rate.

    A reading that is missing is passed over, as if time had stood still; after a gap the filter begins anew.
    """

    rate_hz: float = Field(gt=0, le=1e9, description="readings a second, Hz")
    max_gap_s: float | None = Field(
        None, gt=0, description="after a longer gap the filter begins anew; none: after 10 sample periods"
    )

    @property
    def gap_s(self) -> float | None:
        """See `FilterSettings`."""
        return self.max_gap_s or _GAP_PERIODS / self.rate_hz


def remembered(runs: Runs, state: NDArray[Scalar], blank: float) -> NDArray[Scalar]:
    """What each run begins with, [k, …]: a copy of the slot's state, `blank` for a new run."""
    before = state[runs.slot]
    before[runs.is_new] = blank
    return before


def remember(runs: Runs, state: NDArray[Scalar], after: NDArray[Scalar]) -> None:
    """Keep what the runs end with, [k, …]."""
    state[runs.slot[runs.is_last]] = after[runs.is_last]


def elapsed_s(runs: Runs, time_ns: Ints, heard_ns: Ints) -> Floats:
    """Seconds since the reading before, [m], any at the first of a new run; `heard_ns` [slots] is brought up to date.

    At least a nanosecond: no division by 0, and nothing grows back in time.
    """
    past_ns = preceding(time_ns, runs.starts, heard_ns[runs.slot])
    remember(runs, heard_ns, time_ns[runs.lasts])
    since_ns: Ints = np.maximum(time_ns - past_ns, 1)
    return since_ns.astype(np.float64) * 1e-9


class Lagged(NamedTuple):
    """m readings each with the w - 1 before it, as w columns.

    Column j at position p is the reading j before the newest one of the window that ends there. `at` picks the
    readings' own positions: of long runs the columns are views into one array, so that no window is copied, and there
    are windows across two runs among them, which are nobody's.
    """

    columns: list[Floats]  # [w] of [positions], newest first; NaN where no reading was
    at: Ids  # [m]


def lagged(runs: Runs, value: Floats, history: Floats) -> Lagged:
    """The window that ends at each reading; `history` [slots, w - 1], newest last, is brought up to date in place."""
    before = history.shape[1]
    k = len(runs.slot)
    longest = np.empty(len(value) + k * before)
    bases = runs.starts + np.arange(k) * before
    new = np.arange(len(value)) + (runs.rank + 1) * before
    longest[new] = value
    longest[bases[:, None] + np.arange(before)] = remembered(runs, history, np.nan)
    ends = np.append(bases[1:], len(longest))
    remember(runs, history, longest[ends[:, None] - before + np.arange(before)])
    positions = len(longest) - before
    if positions > _SPARSE * len(value):
        return Lagged([longest[new - j] for j in range(before + 1)], np.arange(len(value)))
    return Lagged([longest[before - j : before - j + positions] for j in range(before + 1)], new - before)


def rows(window: Lagged, which: Ids) -> Floats:
    """The windows of some readings, [len(which), w], oldest first: a copy."""
    return np.column_stack([column[window.at[which]] for column in reversed(window.columns)])
