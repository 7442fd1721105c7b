"""Checks of quality: readings are marked, never removed or changed. One file a check, all channels at once.

    readings ─▶ range ─▶ clock ─▶ order ─▶ rate, flat, quantum, redundancy ─▶ marks, ascends, is_ahead
                each     the       time     look at those before that ascend and are not bad
                alone    sender's  ascends
    ticks ────▶ silence: channels without data; clock: what the senders' clocks do

`marks` says which mark stays where two checks disagree, `settings` what holds for each channel, `rows` how readings
are handed to a check, `chain` calls them in order.

Invariants, for every check
1. Marks depend on the readings and ticks before, never on how readings between two ticks were cut into batches.
2. A value that is NaN is no reading: no check looks at it.
3. State is a few hundred bytes a channel, in arrays; what is configured for no channel costs next to nothing.
"""

from edge_agent.core.checks.chain import Checked, Checks
from edge_agent.core.checks.settings import CheckSettings

__all__ = ["CheckSettings", "Checked", "Checks"]
