"""What a reporter is, and what it is given.

A reporter thins out what is sent on; models see everything all the same. It is given the readings of a channel one
after the other and says which to report, now or later. Readings that tell of trouble are reported whatever it says:
see `Mark` and reports.py.

Whether a reading is reported depends on what was reported before it: reporters go through readings one by one, in a
plain loop over lists, at less than a microsecond each. They run only where they are asked for.
"""

from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.core.denoise.runs import Flags, Floats, Ids, Ints
from edge_agent.core.settings import Strict


class ReportRows(NamedTuple):
    """m readings as they would be reported."""

    channel: Ids  # [m]
    time_ns: Ints  # [m]
    value: Floats  # [m]
    denoised: Floats  # [m], what reporters compare
    quality: NDArray[np.uint8]  # [m]

    def take(self, which: Ids | Flags) -> "ReportRows":
        """Some of them, in the order given."""
        columns: list[NDArray[Any]] = list(self)
        return ReportRows(*(column[which] for column in columns))

    @classmethod
    def joined(cls, parts: "list[ReportRows]") -> "ReportRows":
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    @classmethod
    def none(cls) -> "ReportRows":
        """No row."""
        none = np.empty(0, np.int64)
        return cls(none.astype(np.intp), none, none.astype(float), none.astype(float), none.astype(np.uint8))


class Mark(IntEnum):
    """What is known of a reading before a reporter sees it."""

    PLAIN = 0  # the reporter decides
    REPORT = 1  # the first, bad, or of another quality than the one before: reported, and what follows starts from it
    ASIDE = 2  # its time does not ascend: reported, and else as if it had never come


class Reporter(Protocol):
    """One reporter with one setting; each of its channels has a slot in its arrays."""

    def grow(self, slots: int) -> None:
        """Make room for more slots."""
        ...

    def step(self, slot: Ids, ends: Ids, rows: ReportRows, marks: list[int]) -> ReportRows:
        """Which of m rows to report, and of those kept back before; both in the order in which that was decided.

        slot: [k], each once. ends: [k], after the last of the rows of each. marks: [m], `Mark` of each.
        """
        ...

    def flush(self, slot: Ids) -> ReportRows:
        """What is kept back for these slots (each once), to be reported now; slots that keep back nothing add none."""
        ...


class ReportSettings(Strict):
    """What every reporter can be told."""

    max_interval_s: float = Field(
        600.0, gt=0, le=1e9, description="s; a reading that comes this long after the last one reported is reported"
    )

    @property
    def max_interval_ns(self) -> int:
        """In ns."""
        return round(self.max_interval_s * 1e9)
