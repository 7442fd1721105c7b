"""What the doctor found, for people (tables, the worst first) and for scripts (one JSON object)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_agent.core.doctor import Diagnosis, Finding, Group
from edge_agent.core.doctor.rates import channel_period_s, interval_s, pace
from edge_agent.core.doctor.trial import ChannelLog

_PLACES, _CHANNELS, _GROUPS = 5, 40, 60  # shown; --json has all
_WIDE = 1000  # columns, in which everything has room
_COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def show(found: Diagnosis, heard_s: float, console: Console) -> None:
    """Print the report."""
    log = found.log
    console.print(f"[bold]{log.count} messages on {len(log.topics)} topics in {heard_s:g} s[/bold]")
    if found.findings:
        console.print(_findings(found.findings))
    if found.groups.groups:
        console.print(_fitted(console, lambda room: _groups(found, room)))
    if found.trial.channels:
        console.print(_fitted(console, lambda room: _channels(found, room)))
        left = len(found.trial.channels) - _CHANNELS
        if left > 0:
            console.print(f"… and {left} channels more: --json has them all")
    refused = sum(count for reasons in found.trial.refused.values() for count, _ in reasons.values())
    empty = f", {found.trial.empty} are read and yield nothing," * bool(found.trial.empty)
    console.print(
        f"Of the samples that the topics of the draft fit, {found.trial.taken} can be read{empty} and {refused} cannot."
    )


def as_json(found: Diagnosis, heard_s: float) -> dict[str, Any]:
    """Everything, as plain values."""
    return {
        "heard_s": heard_s,
        "messages": found.log.count,
        "topics": len(found.log.topics),
        "findings": [finding._asdict() for finding in found.findings],
        "groups": [_group(found, group) for group in found.groups.groups],
        "channels": [_channel(found, channel) for _, channel in sorted(found.trial.channels.items())],
        "samples": {"taken": found.trial.taken, "empty": found.trial.empty, "refused": found.trial.refused},
    }


def _group(found: Diagnosis, group: Group) -> dict[str, Any]:
    each_s = interval_s(found.log, group.topics)
    return group.reading.topic(group.template) | {
        "topics": list(group.topics),
        "messages": _messages(found, group.topics),
        "interval_s": each_s,
        "rate_hz": 1 / each_s if each_s else None,
        "times": sorted({found.guesses[topic].time or "none" for topic in group.topics}),
    }


def _findings(findings: list[Finding]) -> Table:
    table = _table("What deserves a look")
    table.add_column("", no_wrap=True)
    table.add_column("finding", ratio=1)
    table.add_column("where", ratio=1, overflow="fold")
    for finding in findings:
        shown = [f"{place}: {detail}" if detail and place else place or detail for place, detail in finding.places]
        more = [f"… and {len(shown) - _PLACES} more"] if len(shown) > _PLACES else []
        where = "\n".join(escape(_printable(text)) for text in [*shown[:_PLACES], *more])
        colour = _COLOURS[finding.level]
        table.add_row(f"[{colour}]{finding.level}[/{colour}]", finding.sentence, where)
    return table


def _groups(found: Diagnosis, room: int) -> Table:
    table = _table("Topics", "template", "format", "topics", "messages", "rate", "times")
    for group in found.groups.groups[:_GROUPS]:
        reading = group.reading
        name = ", ".join([reading.format, *[reading.compression] * (reading.compression != "none")])
        name += ", fields" * bool(reading.fields)
        times = {found.guesses[topic].time or "none" for topic in group.topics}
        table.add_row(
            _broken(group.template, room),
            name,
            str(len(group.topics)),
            str(_messages(found, group.topics)),
            pace(interval_s(found.log, group.topics)),
            ", ".join(sorted(times)),
        )
    return table


def _channels(found: Diagnosis, room: int) -> Table:
    table = _table("Channels", "asset/channel", "unit", "readings", "rate", "min", "median", "max", "same")
    for _, log in sorted(found.trial.channels.items())[:_CHANNELS]:
        one = _channel(found, log)
        numbers = [pace(one["period_s"]), *(_shown(one[name]) for name in ("min", "median", "max"))]
        share = "" if one["unchanged"] is None else f"{one['unchanged']:.0%}"
        place = _broken(f"{one['asset']}/{one['channel']}", room)
        table.add_row(place, escape(_printable(one["unit"])), str(one["readings"]), *numbers, share)
    return table


def _fitted(console: Console, build: Callable[[int], Table]) -> Table:
    """A table of which names that are too long for the console are broken at their last slash, not anywhere."""
    table = build(_WIDE)
    over = console.measure(table, options=console.options.update(max_width=_WIDE)).maximum - console.width
    names = max(cell_len(str(name)) for name in table.columns[0].cells)
    return build(names - over) if over > 0 else table


def _broken(name: str, room: int) -> str:
    shown = _printable(name)
    return escape(shown if cell_len(shown) <= room else "/\n".join(shown.rsplit("/", 1)))


def _table(title: str, *names: str) -> Table:
    """The first column gives way when there is no room."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(names):
        table.add_column(name, overflow="fold", no_wrap=i > 0)
    return table


def _channel(found: Diagnosis, log: ChannelLog) -> dict[str, Any]:
    values = np.array([value for value in log.values if np.isfinite(value)])
    asset, name = log.key
    return {
        "asset": asset,
        "channel": name,
        "unit": found.unit(log),
        "kind": "waveform" if log.is_block else "value",
        "readings": log.count,
        "period_s": channel_period_s(found.log, log),
        "min": float(values.min()) if len(values) else None,
        "median": float(np.median(values)) if len(values) else None,
        "max": float(values.max()) if len(values) else None,
        "unchanged": float(np.mean(values[1:] == values[:-1])) if len(values) > 1 else None,
    }


def _messages(found: Diagnosis, topics: tuple[str, ...]) -> int:
    return sum(found.log.topics[topic].count for topic in topics)


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"


def _printable(text: str) -> str:
    """Senders choose topics and names: no control character of theirs reaches the terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in text)
