"""What deserves a look, each kind as one plain sentence with the places where it was seen; the worst first."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from edge_agent.config import Limits
from edge_agent.core.doctor.formats import Guess
from edge_agent.core.doctor.heard import Log, TopicLog
from edge_agent.core.doctor.templates import Groups
from edge_agent.core.doctor.trial import ChannelLog, Trial
from models.contract.topics import PREFIX

LEVELS = ("error", "warning", "note")  # readings are lost; they may be wrong; good to know
# By kind: level and sentence.
KINDS = {
    "no_format": ("error", "No decoder reads these payloads."),
    "no_template": ("error", "No template can say what these topics mean; the draft leaves them out."),
    "too_large": ("error", "Payloads are longer than limits.payload_bytes allows."),
    "refused": ("error", "Some messages would become dead letters."),
    "time_refused": ("error", "Times lie beyond limits.earliest_time or limits.future_s: such messages are refused."),
    "states": ("warning", "Texts were heard as values: check the numbers given to them (states)."),
    "skipped": ("warning", "Values are left out: nulls, or texts that stand for no number."),
    "far_from_now": ("warning", "Times lie far from now: a recording, a wrong unit, or a clock that was never set."),
    "clock": ("warning", "The sender's clock is off."),
    "not_ascending": ("warning", "Times run backwards: messages overtake each other, or are sent again."),
    "repeated": ("warning", "Messages come again with the same times: they are taken once."),
    "stuck": ("warning", "Values have stopped changing: a sensor that is stuck, or a machine that stands."),
    "constant": ("warning", "Values never change: a setpoint, a machine that stands, or a sensor that is stuck."),
    "retained_only": ("warning", "Only what the broker had in store was heard: nobody has sent anything since."),
    "large": ("warning", "Payloads are large: they take long on slow lines; compression or smaller blocks help."),
    "qos_0": ("note", "Sent with QoS 0: what is sent while the broker or the agent is away is lost."),
    "untimed": ("note", "Payloads name no time: readings get the time of their arrival, and are marked."),
    "once": ("note", "One message was heard, so nothing is known of the rate: listen for longer."),
    "before_birth": (
        "note",
        "Sparkplug nodes were born before: the agent asks for a rebirth, the doctor does not, and cannot read these.",
    ),
    "own": ("note", "Tocsin's own topics are left out: they are no sensors'."),
    "unlogged": ("note", "More topics than can be looked at together: listen to a narrower filter."),
}
_MANY, _STUCK_SHARE = 10, 0.5  # values before anything is said of them; of those, at the end, that are the same
_FAR_S, _AHEAD_S, _BEHIND_S = 86_400.0, 2.0, 60.0
_LARGE_BYTES = 256 * 1024
_REPEATED_SHARE = 0.1
_DEAD = "; a template of the draft fits it: dead letters"
_YEAR_S = 365.25 * 86_400


class Finding(NamedTuple):
    """`places`: topics or channels, and what was seen there."""

    level: str
    kind: str
    sentence: str
    places: list[tuple[str, str]]


def findings_of(log: Log, guesses: Mapping[str, Guess], groups: Groups, trial: Trial) -> list[Finding]:
    """All of them, the worst first."""
    places: dict[str, list[tuple[str, str]]] = {}
    for topic, one in log.topics.items():
        refused = {
            reason: f"{count} of {trial.tried[topic]}: {reason}: {text}"
            for reason, (count, text) in trial.refused.get(topic, {}).items()
        }
        for kind, detail in _of_topic(one, guesses[topic], refused):
            places.setdefault(kind, []).append((topic, detail))
    for kind, some in (("no_format", places.get("no_format", [])), ("no_template", [*groups.inexpressible.items()])):
        fitting = groups.fit(topic for topic, _ in some)
        places[kind] = [(topic, detail + _DEAD * (topic in fitting)) for topic, detail in some]
    places["states"] = [
        (group.template, ", ".join(f"{text} = {number}" for number, text in enumerate(group.reading.states)))
        for group in groups.groups
        if group.reading.states
    ]
    places["skipped"] = [(topic, f"{count} value{'s' * (count > 1)}") for topic, count in trial.skipped.items()]
    if log.own:
        places["own"] = [(f"{PREFIX}/#", f"{log.own} messages")]
    for (asset, name), channel in trial.channels.items():
        for kind, detail in _of_channel(channel):
            places.setdefault(kind, []).append((f"{asset}/{name}", detail))
    if log.unlogged:
        places["unlogged"] = [("", f"{log.unlogged} messages of topics beyond the first {len(log.topics)}")]
    found = [Finding(level, kind, text, places[kind]) for kind, (level, text) in KINDS.items() if places.get(kind)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _of_topic(log: TopicLog, guess: Guess, refused: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    allowed_bytes = Limits().payload_bytes
    if log.longest_bytes > allowed_bytes:
        yield "too_large", f"{log.longest_bytes} bytes; the default allows {allowed_bytes}"
    elif log.longest_bytes > _LARGE_BYTES:
        yield "large", f"up to {log.longest_bytes // 1024} KiB"
    if guess.reading is None:
        hint = f"; perhaps raw samples of type {guess.dtype}" if guess.dtype else ""
        yield "no_format", f"{guess.fault}{hint}"
    for reason, text in refused.items():
        yield ("before_birth" if reason == "before_birth" else "refused"), text
    if not log.live:
        yield "retained_only", ""
        return
    if log.live == 1:
        yield "once", ""
    if log.qos[0]:
        yield "qos_0", "" if log.qos[0] == log.live else f"{log.qos[0]} of {log.live}"
    if guess.time and log.repeated >= max(2, _REPEATED_SHARE * log.live):
        yield "repeated", f"{log.repeated} of {log.live}"


def _of_channel(channel: ChannelLog) -> Iterator[tuple[str, str]]:
    if channel.untimed:
        yield "untimed", "" if channel.untimed == channel.count else f"{channel.untimed} of {channel.count}"
    yield from _of_times(channel)
    values = np.array([value for value in channel.values if np.isfinite(value)])
    if len(values) < _MANY:
        return
    changes = np.flatnonzero(values[1:] != values[:-1])
    if not len(changes):
        yield "constant", f"{len(values)} times {values[0]:g}"
    elif (same := len(values) - 1 - int(changes[-1])) >= max(_MANY, _STUCK_SHARE * len(values)):
        yield "stuck", f"{same} times {values[-1]:g}, after it had changed"


def _of_times(channel: ChannelLog) -> Iterator[tuple[str, str]]:
    if not channel.times_ns:
        return
    times_ns = np.array(channel.times_ns, np.int64)
    behind_s = (np.array(channel.arrivals_ns, np.int64) - times_ns) / 1e9
    median_s = float(np.median(behind_s))
    limits = Limits()
    if times_ns.min() < limits.earliest_time * 10**9 or behind_s.min() < -limits.future_s:
        yield "time_refused", span(float(behind_s[np.argmax(np.abs(behind_s))]))
    elif abs(median_s) > _FAR_S:
        yield "far_from_now", span(median_s)
    elif median_s < -_AHEAD_S or (median_s > _BEHIND_S and np.ptp(behind_s) < median_s / 2):
        yield "clock", span(median_s)
    back = int((np.diff(times_ns) < 0).sum())
    if back:
        yield "not_ascending", f"{back} of {len(times_ns) - 1} steps"


def span(behind_s: float) -> str:
    """In words."""
    size_s = abs(behind_s)
    text = f"{size_s / _YEAR_S:.1f} years" if size_s > _YEAR_S else f"{size_s / 86_400:.1f} days"
    return f"{text if size_s > _FAR_S else f'{size_s:.1f} s'} {'behind' if behind_s > 0 else 'ahead'}"
