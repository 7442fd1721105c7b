"""The draft of a configuration, in TOML with comments: what was seen, and what a person has still to say."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

import numpy as np

from edge_agent.config import Broker, Limits
from edge_agent.core.doctor import Diagnosis
from edge_agent.core.doctor.rates import channel_period_s, interval_s, nice, pace
from edge_agent.core.doctor.templates import Group
from edge_agent.core.doctor.trial import ChannelLog

_RULES = 100  # channel names with a rule of their own
_WILDCARDS = frozenset("*?[")
_BARE = re.compile(r"[a-z_]+")  # a key that needs no quotes
_SLOW = 5  # periods without a reading, before an asset counts as silent
_SPREAD = 3.0  # assets whose period differs by more from the commonest have a rule of their own
_ASSETS = 50
_DEFAULT_HOLD_S = 5.0


def draft_of(found: Diagnosis, broker: Broker, heard_s: float) -> str:
    """The text. `broker`: where it was heard. `tocsin edge check` accepts it."""
    parts = [_head(found, heard_s), _broker(broker), _topics(found), _channels(found), _assets(found), _limits(found)]
    return "\n".join(chain.from_iterable([*part, ""] for part in parts)).rstrip() + "\n"


def _head(found: Diagnosis, heard_s: float) -> Iterator[str]:
    heard = f"{found.log.count} messages on {len(found.log.topics)} topics in {heard_s:g} s"
    yield f"# A draft by `tocsin edge doctor`: {heard}."
    yield "# It is what was seen, not what is meant: read it, say what is missing, and run `tocsin edge check` on it."
    yield ""
    yield 'site = "site-1"       # name them: site and gateway together must be unique'
    yield 'gateway = "gateway-1"'
    yield 'state_dir = "state"   # journal, outbox, models; counts from this file\'s folder'


def _broker(broker: Broker) -> Iterator[str]:
    yield "[sensor_broker] # a password comes from TOCSIN_SENSOR_PASSWORD or password_file"
    yield from _address(broker)
    yield ""
    yield "# The broker between gateways and aggregators. The only one known yet is that of the sensors: another may"
    yield "# listen on the default port. A password comes from TOCSIN_UPLINK_PASSWORD or password_file."
    yield "[uplink]"
    yield from _address(broker)


def _address(broker: Broker) -> Iterator[str]:
    for name in ("host", "port", "username", "password_file", "tls", "ca_file", "cert_file", "key_file"):
        value = getattr(broker, name)
        if value not in {None, False}:
            yield f"{name} = {_toml(value if isinstance(value, bool | int) else str(value))}"
    if broker.allow_plaintext:
        yield "allow_plaintext = true # beyond this machine TLS is better"


def _topics(found: Diagnosis) -> Iterator[str]:
    yield "# The first template that fits a topic holds."
    for group in found.groups.groups:
        yield ""
        yield "[[topics]]" + _seen(found, group)
        entry = group.reading.topic(group.template)
        yield from (f"{name} = {_toml(value)}" for name, value in entry.items() if (name, value) != ("format", "json"))
    for topic, guess in sorted(found.guesses.items()):
        if guess.reading is None and guess.dtype:
            yield ""
            yield f"# {_toml(topic)} is perhaps raw samples: check the type, and say how many there are a second."
            yield "# [[topics]]"
            yield "# template = " + _toml("/".join([*topic.split("/")[:-2], "{asset}", "{channel}"]))
            yield f'# format = "raw"\n# dtype = "{guess.dtype}"\n# rate_hz ='
    left = [topic for topic in found.log.topics if found.guesses[topic].reading is None]
    left += found.groups.inexpressible
    if left:
        yield ""
        yield f"# Left out: {_counted(len(left), 'topic')}, such as {_toml(left[0])}: the doctor's report says why."
        dead = sorted(found.groups.fit(left))
        if dead:
            fit = f"{_counted(len(dead), 'topic')} of these, such as {_toml(dead[0])}"
            yield f"# A template above takes {fit}: their messages will be dead letters."


def _seen(found: Diagnosis, group: Group) -> str:
    logs = [found.log.topics[topic] for topic in group.topics]
    each = pace(interval_s(found.log, group.topics))
    rate = f", {each} on each" if each else ""
    times = sorted({found.guesses[topic].time or "none" for topic in group.topics})
    count = sum(log.count for log in logs)
    return f" # {_counted(len(logs), 'topic')}, {_counted(count, 'message')}{rate}; times: {', '.join(times)}"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _channels(found: Diagnosis) -> Iterator[str]:
    """A rule for each name; where assets differ in what it is, one for each of them."""
    yield "# Ranges are what was seen, made wider: take off the comment where they are physical limits."
    by_name: defaultdict[str, list[ChannelLog]] = defaultdict(list)
    for (_, name), channel in sorted(found.trial.channels.items()):
        by_name[name].append(channel)
    for name, channels in list(by_name.items())[:_RULES]:
        if _WILDCARDS & set(name) or "/" in name:
            continue
        is_mixed = len({channel.is_block for channel in channels}) > 1
        for asset, some in _by_asset(channels) if is_mixed else [("*", channels)]:
            yield ""
            yield "[[channels]]"
            yield f"match = {_toml(f'{asset}/{name}')}"
            if unit := next((unit for channel in some if (unit := found.unit(channel))), ""):
                yield f"unit = {_toml(unit)}"
            if all(channel.is_block for channel in some):
                yield 'kind = "waveform" # each message brings many samples'
            elif any(channel.values for channel in some):
                yield f"# range = {_range(some)}"
    yield ""
    yield "[[channels]] # everything else"
    yield 'match = "*/*"'


def _by_asset(channels: list[ChannelLog]) -> Iterator[tuple[str, list[ChannelLog]]]:
    for channel in channels:
        if not _WILDCARDS & set(channel.key[0]):
            yield channel.key[0], [channel]


def _range(channels: list[ChannelLog]) -> str:
    """Twice as wide as what was seen, and a fifth of its size more on each side; rounded outward."""
    values = np.concatenate([np.array(channel.values) for channel in channels])
    values = values[np.isfinite(values)]
    if not len(values):
        return "[0.0, 1.0]"
    low, high = float(values.min()), float(values.max())
    margin = (high - low) / 2 + 0.2 * max(abs(low), abs(high)) or 1.0
    step = 10.0 ** np.floor(np.log10(margin))
    wide = np.floor((low - margin) / step) * step, np.ceil((high + margin) / step) * step
    return f"[{wide[0]:.6g}, {wide[1]:.6g}]"


def _assets(found: Diagnosis) -> Iterator[str]:
    """One grid for most of them; for those that are much faster or slower, one of their own."""
    periods = asset_periods(found)
    common = nice(float(np.median(list(periods.values())))) if periods else 1.0
    others = {a: p for a, p in periods.items() if not common / _SPREAD <= p <= common * _SPREAD}
    for asset, period_s in list(others.items())[:_ASSETS]:
        if not _WILDCARDS & set(asset):
            yield from _asset(asset, nice(period_s))
            yield ""
    yield from _asset("*", common)


def _asset(match: str, period_s: float) -> Iterator[str]:
    yield "[[assets]]"
    yield f"match = {_toml(match)}"
    yield f"period_s = {period_s:g} # the grid on which its channels are aligned: about as fast as they come"
    if period_s * _SLOW > _DEFAULT_HOLD_S:
        yield f"hold_s = {period_s * _SLOW:g} # how long a value stands in for missing ones"
        yield f"idle_s = {period_s * _SLOW:g}"


def asset_periods(found: Diagnosis) -> dict[str, float]:
    """By asset: the median of its channels' periods, s; those of which nothing is known are left out."""
    by_asset: defaultdict[str, list[float]] = defaultdict(list)
    for (asset, _), channel in found.trial.channels.items():
        period_s = channel_period_s(found.log, channel)
        if period_s and not channel.is_block:
            by_asset[asset].append(period_s)
    return {asset: float(np.median(periods)) for asset, periods in sorted(by_asset.items())}


def _limits(found: Diagnosis) -> Iterator[str]:
    longest = max((one.longest_bytes for one in found.log.topics.values()), default=0)
    if longest > Limits().payload_bytes:
        yield "[limits]"
        yield f"payload_bytes = {2 * longest} # the longest that was heard has {longest}"


def _toml(value: object) -> str:
    """Text, numbers and booleans are written as in JSON, but for characters beyond 16 bits; an object in line."""
    if isinstance(value, dict):
        write = str if all(map(_BARE.fullmatch, value)) else _toml
        return "{ " + ", ".join(f"{write(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
