"""What many rounds have shown, as Markdown and as JSON. Without a date: only what was measured makes a change."""

import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos.plan import CLOCK, DISK, KILLS, NETWORK
from tests.chaos.rounds import Outcome

NO_SMALL_DISK = "The gateway's disk was never filled: mounting a tmpfs is not allowed here."


class Totals(NamedTuple):
    """Sums over rounds; of recoveries the median and the longest, and the longest that fell into calm, all in s."""

    rounds: int
    published: int
    repeated: int
    kills: Counter[str]
    faults: Counter[str]
    ended: Counter[str]
    errors: Counter[str]
    expected: Counter[str]
    missing: int
    extra: int
    different: int
    recovery_median_s: float
    recovery_longest_s: float
    recovery_calm_s: float
    is_disk_small: bool

    @property
    def is_identical(self) -> bool:
        """The claim."""
        return not (self.missing or self.extra or self.different)


def total(outcomes: Sequence[Outcome]) -> Totals:
    """Of at least one round."""
    recoveries = [recovery for outcome in outcomes for recovery in outcome.recoveries]
    return Totals(
        rounds=len(outcomes),
        published=sum(outcome.published for outcome in outcomes),
        repeated=sum(outcome.repeated for outcome in outcomes),
        kills=sum((outcome.kills for outcome in outcomes), Counter()),
        faults=sum((outcome.faults for outcome in outcomes), Counter()),
        errors=sum((outcome.errors for outcome in outcomes), Counter()),
        ended=sum((outcome.ended for outcome in outcomes), Counter()),
        expected=sum((outcome.expected for outcome in outcomes), Counter()),
        missing=sum(outcome.missing for outcome in outcomes),
        extra=sum(outcome.extra for outcome in outcomes),
        different=sum(outcome.different for outcome in outcomes),
        recovery_median_s=statistics.median(recovery.total_s for recovery in recoveries),
        recovery_longest_s=max(recovery.total_s for recovery in recoveries),
        recovery_calm_s=max(recovery.calm_s for recovery in recoveries),
        is_disk_small=all(outcome.is_disk_small for outcome in outcomes),
    )


def to_json(totals: Totals) -> str:
    """One object on one line."""
    sums = {"kills_total": totals.kills.total(), "rows_total": totals.expected.total()}
    return json.dumps({"chaos": totals._asdict() | sums, "machine": machine()})


def to_markdown(totals: Totals, command: str) -> str:
    """The whole report."""
    verdict = "identical" if totals.is_identical else "NOT identical"
    disk = "" if totals.is_disk_small else f"\n\n{NO_SMALL_DISK}"
    ended = _table("ended by itself", totals.ended) if totals.ended else "None."
    errors = _table("error", totals.errors) if totals.errors else "None."
    return f"""# Chaos: nothing lost, nothing twice

Measured by `{command}` on {machine()}.

In each round the same seeded data set goes through two complete systems of real processes: one that faults strike, one
that is left in peace. When all faults have healed, both InfluxDB databases are compared row by row: every tag, field
and time of the measurements `reading`, `inference` and `alarm`. The claim is that they are identical, bit for bit.

**Result: {totals.kills.total():,} kills, {totals.expected.total():,} rows, {verdict}.**

| | |
|---|---:|
| rounds | {totals.rounds:,} |
| messages published (QoS 1) | {totals.published:,} |
| of these sent again, because a restart of the sensor broker left them unconfirmed | {totals.repeated:,} |
| rows expected | {totals.expected.total():,} |
| rows missing | {totals.missing:,} |
| rows duplicated (more than expected) | {totals.extra:,} |
| rows different | {totals.different:,} |
| recovery, median, s | {totals.recovery_median_s:.1f} |
| recovery, longest, s | {totals.recovery_longest_s:.1f} |
| recovery, longest part of one without any fault, s | {totals.recovery_calm_s:.1f} |

Recovery is the time from the end of a fault to the next write that the database confirms, whatever else breaks
meanwhile; the last line leaves out the time in which something else was broken.

## Rows expected

{_table("measurement", totals.expected)}

## Kills

`kill -9`, except the sensor broker: it owns a message until the agent's PUBACK and keeps it on disk only when it is
stopped in order (SIGTERM). What a `kill -9` of it can lose is said in `deploy/mosquitto-gateway.conf`.

{_table("process", _complete(totals.kills, [kind.name for kind in KILLS]))}

## Other faults

Network faults strike one of four connections: agent to sensor broker, agent to uplink broker, aggregators to uplink
broker, aggregators to database.{disk}

{_table("fault", _complete(totals.faults, [kind.name for kind in (*NETWORK, CLOCK, DISK)]))}

## Processes that ended by themselves

They were restarted, as a supervisor does.

{ended}

## Errors in the logs of agent and aggregators

An error in a log means that data is lost or that a person is needed.

{errors}
"""


def machine() -> str:
    """CPU and cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _complete(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in names}


def _table(title: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {name} | {number:,} |" for name, number in counts.items()]
    return "\n".join([f"| {title} | |", "|---|---:|", *rows])
