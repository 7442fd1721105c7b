"""Topics in groups, each with the template that says what its levels mean.

Topics of one length that are read the same way make a group; unlike first levels keep them apart, when they are few.
The levels that vary within a group become {names}:
- Payloads of one value need {channel}: the last varying level of words (temperature, pressure). A level whose names
  differ in their digits alone (pump-1, pump-2) counts things, and things are assets; when all varying levels count
  things, the channel is the last level. {asset} is the varying level before it, or behind it, or its neighbour.
- Payloads that name their channels need none: {asset} is the last varying level, one that counts things before one
  of words; when none varies, the last one with a digit, or the last of all.
The most literal template comes first, for the first one that fits a topic holds. Where two groups would still take
each other's topics, one is cut into a template for each name of a level that tells them apart, or both become one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.core.doctor.formats import Reading
from edge_agent.core.doctor.texts import joined
from edge_agent.core.sparkplug.topic import NAMESPACE
from edge_agent.core.topics import TopicTemplate

_FIRST_LEVELS = 8  # so many, and each has groups of its own
_CUTS = 20  # templates that one group may be cut into
_DIGITS = re.compile(r"\d+")
_LITERAL = re.compile(r"[^{}+#]+")


@dataclass(frozen=True, slots=True)
class Group:
    """Topics that one template fits. `template` empty: none can."""

    template: str
    reading: Reading
    topics: tuple[str, ...]

    @property
    def order(self) -> tuple[int, str]:
        """Literal levels come first."""
        return sum(1 for level in self.template.split("/") if level.startswith("{")), self.template


class Groups(NamedTuple):
    """`groups` in the order in which the draft names them."""

    groups: list[Group]
    inexpressible: dict[str, str]  # topics that no template fits, and why

    def fit(self, topics: Iterable[str]) -> set[str]:
        """Those that a template takes, though they be of no group: the agent gets them all the same."""
        plain = [TopicTemplate.parse(one.template) for one in self.groups if one.reading.format != "sparkplug-b"]
        return {topic for topic in topics if any(template.read(topic) for template in plain)}


def group_topics(readings: Mapping[str, Reading]) -> Groups:
    """Each topic in one group."""
    made: list[Group] = []
    why: dict[str, str] = {}
    sets: defaultdict[tuple[Reading, str, int, str], list[str]] = defaultdict(list)
    firsts = {topic.split("/")[0] for topic in readings}
    for topic, reading in sorted(readings.items()):
        levels = topic.split("/")
        if reading.format == "sparkplug-b":
            name = levels[1] if _LITERAL.fullmatch(levels[1]) else "+"
            sets[reading, f"{NAMESPACE}/{name}/#", 0, ""].append(topic)
        elif not all(levels):
            why[topic] = "a level is empty, and no template has such a level"
        elif len(levels) == 1 and not reading.names_channels:
            why[topic] = "one level cannot name both the asset and the channel, and the payload names none"
        else:
            sets[reading, "", len(levels), levels[0] if len(firsts) <= _FIRST_LEVELS else ""].append(topic)
    for (reading, template, _, _), topics in sets.items():
        made.append(Group(template or _template(topics, reading), reading, tuple(topics)))
    made, shadowed = _apart(made)
    return Groups(made, why | shadowed)


def _template(topics: Sequence[str], reading: Reading, fixed: int = -1) -> str:
    """`fixed`: a level that stays as it is: it has one name here, and is no asset."""
    names = [set(level) for level in zip(*(topic.split("/") for topic in topics), strict=True)]
    asset, channel = _places(names, reading, fixed)
    levels = []
    for i, found in enumerate(names):
        name = next(iter(found))
        if i == channel:
            levels.append("{channel}")
        elif i == asset:
            levels.append("{asset}")
        elif len(found) > 1 or not _LITERAL.fullmatch(name):
            levels.append(f"{{level_{chr(ord('a') + i % 26)}}}")
        else:
            levels.append(name)
    return "/".join(levels)


def _places(names: Sequence[set[str]], reading: Reading, fixed: int) -> tuple[int, int | None]:
    """The level of the asset and that of the channel; None: the payload names it."""
    varying = [i for i, found in enumerate(names) if len(found) > 1]
    things = [i for i in varying if _counts_things(names[i])]
    if reading.names_channels:
        numbered = [i for i, found in enumerate(names) if i != fixed and all(map(_DIGITS.search, found))]
        others = [i for i in range(len(names)) if i != fixed]
        return next(levels[-1] for levels in (things, varying, numbered, others, [0]) if levels), None
    words = [i for i in varying if i not in things]
    channel = words[-1] if words else len(names) - 1
    before, behind = [i for i in varying if i < channel], [i for i in varying if i > channel]
    if before:
        return before[-1], channel
    return (behind[-1] if behind else channel - 1 if channel else 1), channel


def _counts_things(names: Iterable[str]) -> bool:
    """Whether they differ in their digits alone, all or some of them: pump-1, pump-2, valve-1."""
    found = list(names)
    return any(_DIGITS.search(name) for name in found) and len({_DIGITS.sub("0", name) for name in found}) < len(found)


def _apart(groups: Sequence[Group]) -> tuple[list[Group], dict[str, str]]:
    """In an order, and cut or joined, so that each topic finds its own group first. What cannot be is left out."""
    done: list[Group] = []
    why: dict[str, str] = {}
    for group in sorted(groups, key=lambda one: (-len(one.topics), one.template)):
        tries = ([*done, *parts] for parts in ([group], *_cuts(group)))
        wide = [wider for i, one in enumerate(done) if (wider := _joined(one, group, [*done[:i], *done[i + 1 :]]))]
        for wanted in (*tries, *wide):
            ordered = sorted(wanted, key=lambda one: one.order)
            if not _strays(ordered):
                done = ordered
                break
        else:
            text = "the topics cannot be told from those of another format: give one of them a level of its own"
            why |= dict.fromkeys(group.topics, text)
    return done, why


def _cuts(group: Group) -> list[list[Group]]:
    """The group in parts, by the names of one level that is neither the asset's, if it can be, nor the channel's."""
    if group.reading.format == "sparkplug-b":
        return []
    levels, found = group.template.split("/"), []
    for i, level in reversed(list(enumerate(levels))):
        parts: defaultdict[str, list[str]] = defaultdict(list)
        for topic in group.topics:
            parts[topic.split("/")[i]].append(topic)
        if len(parts) > _CUTS or not all(map(_LITERAL.fullmatch, parts)):
            continue
        if level.startswith("{level_"):
            named = {name: "/".join([*levels[:i], name, *levels[i + 1 :]]) for name in parts}
        elif level == "{asset}" and group.reading.names_channels:
            named = {name: _template(topics, group.reading, i) for name, topics in parts.items()}
        else:
            continue
        found.append([Group(named[name], group.reading, tuple(topics)) for name, topics in parts.items()])
    return found


def _joined(one: Group, other: Group, rest: list[Group]) -> list[Group] | None:
    """Both as one group with a {channel}: a payload that names its channels is read under such a template as well."""
    a, b = one.reading, other.reading
    if (a.format, a.compression, a.fields) != (b.format, b.compression, b.fields) or a.format == "sparkplug-b":
        return None
    if a.fields and a.names_channels != b.names_channels:
        return None
    template = one.template if b.names_channels or not a.names_channels else other.template
    pattern = TopicTemplate.parse(template).pattern
    if not all(map(pattern.fullmatch, (*one.topics, *other.topics))):
        return None
    settings = tuple(joined(dict(a.settings), dict(b.settings)).items())
    reading = Reading(a.format, a.compression, a.names_channels and b.names_channels, settings, a.fields)
    return [*rest, Group(template, reading, (*one.topics, *other.topics))]


def _strays(groups: Sequence[Group]) -> bool:
    """Whether a topic fits the template of another group before its own."""
    templates = [
        None if group.reading.format == "sparkplug-b" else TopicTemplate.parse(group.template) for group in groups
    ]
    for i, group in enumerate(groups):
        own = group.reading
        for before, template in zip(groups[:i], templates, strict=False):
            if template is None or before.reading == own:
                continue
            if any(template.pattern.fullmatch(topic) for topic in group.topics):
                return True
    return False
