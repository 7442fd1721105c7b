"""All gateways in one table, worst first: what the broker knows of them beside what they last said of themselves.

    broker   retained state     is it connected, what does it run
    store    newest heartbeat   how is it, and when did it last get through

             heartbeat fresh    old, or none for long    nothing known of the store
    online       ALIVE               SILENT                     ALIVE
    not online  OFFLINE (it died, or the line is cut), or STOPPED when it said goodbye
    no state     ALIVE               SILENT                       -

Times are the gateway's own: one whose clock is behind looks silent, one whose clock is ahead never does.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from aggregator.core.views import Row, number
from models.contract.schema import HEARTBEAT
from models.contract.state import RunningModel, State

Said = dict[str, float | None]
Gateway = tuple[str, str]  # site, gateway
_SECOND_NS = 1_000_000_000
_LATE_S = 60.0  # a lag that is worth a word
_COUNTED = {"lost_total": "rows lost", "refused_total": "rows refused", "deadletters_total": "dead letters"}


class Life(StrEnum):
    """Worst first."""

    OFFLINE = "offline"
    SILENT = "silent"
    STOPPED = "stopped"
    ALIVE = "alive"


class Member(NamedTuple):
    """One gateway. None = not known; what it says of itself is as of `heartbeat_ns`."""

    site: str
    gateway: str
    life: Life
    since_ns: int | None  # alive: its process began; stopped: it said so; else when it was last heard of
    heartbeat_ns: int | None
    version: str | None
    models: tuple[RunningModel, ...]
    providers: tuple[str, ...]  # that the models run on; without models none
    is_provider_first: bool | None  # whether all run on the first that they should run on; None = no models
    config_digest: str | None
    said: Said  # each field of a heartbeat
    warnings: tuple[str, ...]


def fleet(
    states: Mapping[Gateway, State] | None, heartbeats: Iterable[Row] | None, now_ns: int, stale_s: float
) -> list[Member]:
    """Every gateway that either side knows. None = that side could not be asked.

    `heartbeats`: rows of the measurement `gateway`; of several of one gateway the newest counts. `stale_s`: a
    heartbeat older than that is silence.
    """
    newest: dict[Gateway, Row] = {}
    for row in heartbeats or ():
        name = str(row["site"]), str(row["gateway"])
        if name not in newest or number(row, "time") > number(newest[name], "time"):
            newest[name] = row
    known = states or {}
    asked = heartbeats is not None
    members = [
        _member(name, known.get(name), newest.get(name), now_ns, stale_s, is_store_known=asked)
        for name in known.keys() | newest.keys()
    ]
    return sorted(members, key=_badness)


def summary(members: Iterable[Member]) -> dict[Life, int]:
    """How many there are of each kind, the worst first."""
    counts = dict.fromkeys(Life, 0)
    for member in members:
        counts[member.life] += 1
    return counts


def _member(
    name: Gateway, state: State | None, beat: Row | None, now_ns: int, stale_s: float, *, is_store_known: bool
) -> Member:
    heartbeat_ns = None if beat is None else int(number(beat, "time"))
    life = _life(state, heartbeat_ns, now_ns - int(stale_s * _SECOND_NS), is_store_known=is_store_known)
    said = {field: _known(beat, field) for field in HEARTBEAT}
    models = state.models if state else ()
    return Member(
        *name,
        life,
        _since_ns(life, state, beat),
        heartbeat_ns,
        (state and state.version) or None,
        models,
        tuple(sorted({model.provider for model in models})),
        _is_provider_first(state, said),
        (state and state.config_digest) or None,
        said,
        tuple(_warnings(state, said)),
    )


def _life(state: State | None, heartbeat_ns: int | None, fresh_from_ns: int, *, is_store_known: bool) -> Life:
    if state is not None and not state.online:
        return Life.STOPPED if state.stopped_ns else Life.OFFLINE
    if not is_store_known:
        return Life.ALIVE
    # One that has just begun may not have had the time for a heartbeat.
    heard_ns = max(heartbeat_ns or 0, state.since_ns if state else 0)
    return Life.ALIVE if heard_ns >= fresh_from_ns else Life.SILENT


def _since_ns(life: Life, state: State | None, beat: Row | None) -> int | None:
    heard_ns = int(number(beat, "time")) if beat else 0
    if life is Life.STOPPED and state:
        return state.stopped_ns
    if life is not Life.ALIVE:
        return heard_ns or (state.since_ns if state and life is Life.SILENT else 0) or None
    if state and state.since_ns:
        return state.since_ns
    return heard_ns - int(number(beat, "uptime_s") * _SECOND_NS) if beat else None


def _warnings(state: State | None, said: Said) -> Iterable[str]:
    if _is_provider_first(state, said) is False:
        reasons = sorted({model.provider_reason for model in state.models} - {""}) if state else []
        yield f"models do not run on {_wanted(state)}" + "".join(f": {reason}" for reason in reasons[:1])
    refused = state.refused_models if state else ()
    if out := sorted(model.name for model in refused if not model.serves):
        yield f"models out of service: {', '.join(out)}"
    if old := sorted(model.name for model in refused if model.serves):
        yield f"models whose file cannot be used, the bundle of before serves: {', '.join(old)}"
    if said["clock_is_behind"]:
        yield "its clock was set back"
    if (said["lag_s"] or 0) > _LATE_S:
        yield "its data come late"
    for field, text in _COUNTED.items():
        if count := said[field]:
            yield f"{count:.0f} {text}"


def _wanted(state: State | None) -> str:
    first = state.providers_wanted[0] if state and state.providers_wanted else "auto"
    return "the first wanted provider" if first == "auto" else first


def _is_provider_first(state: State | None, said: Said) -> bool | None:
    """The broker's word first: it stands from the start on."""
    if state and state.models and state.providers_wanted:
        wanted = state.providers_wanted[0]  # the gateway knows what its "auto" is, and gives a reason if it is not that
        return not any(model.provider_reason or wanted not in {"auto", model.provider} for model in state.models)
    flag = said["provider_is_first"]
    return None if flag is None else bool(flag)


def _known(row: Row | None, field: str) -> float | None:
    cell = row.get(field) if row else None
    return float(cell) if isinstance(cell, (int, float)) else None


_RANK = {life: rank for rank, life in enumerate(Life)}


def _badness(member: Member) -> tuple[object, ...]:
    return (
        _RANK[member.life],
        -(member.said["lost_total"] or 0),
        -(member.said["lag_s"] or 0),
        -len(member.warnings),
        member.site,
        member.gateway,
    )
