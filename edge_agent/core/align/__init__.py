"""Alignment: the readings of an asset's channels onto one grid of its own, in event time.

Cell k of an asset with period p holds the readings with (k-1)p < t <= kp; its frame, stamped kp, has for
each channel one value. What that is, is the channel's `Mode`: as a rule the last reading of the cell, else the last
one before, for as long as `hold_s`; or the mean, maximum, minimum or last of the cell's own readings, else missing;
or the straight line between the readings around kp. A cell closes when a
reading of the asset lies more than `lateness_s` beyond its end, or when the asset has been silent for `idle_s` on
the listening clock, which leaves out the agent's own absences and those of the network. Silence is looked for at
ticks only. A reading for a closed cell is late: it is marked and changes no frame.

Invariants
1. Which readings are late, and each value, depends on the readings and ticks before, never on how they were cut into
   batches. A mean is summed in order of arrival for that; a line takes what had arrived when its cell closed: it
   wants its next reading within `lateness_s`, and falls back to the reading held.
2. Closed cells stay closed; frames of an asset come in ascending order, each once.
3. No frame is made where there is no value: a gap of a year costs nothing.
4. Of an open cell at most two entries a channel are kept for long.

Delay: `lateness_s`, plus up to one period. Cost: O(n log n) a batch, and O(open readings) where a cell closes; no
loop over assets or channels.
"""

from edge_agent.core.align.frames import Frames
from edge_agent.core.align.grid import NEVER, Grid, Mode, Modes
from edge_agent.core.align.stage import Align

__all__ = ["NEVER", "Align", "Frames", "Grid", "Mode", "Modes"]
