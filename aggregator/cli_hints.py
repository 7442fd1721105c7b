"""What to say when a question finds nothing: a name that is not there, another time, or a store that is empty yet."""

import difflib
from collections.abc import Callable, Iterable
from typing import Literal

import typer

from aggregator.core.questions import Questions
from aggregator.core.times import iso
from aggregator.core.views import Row, number
from models.contract.schema import MEASUREMENTS

Kind = Literal["reading", "inference", "alarm"]

_SHOWN = 12
_NEWEST: dict[Kind, Callable[[Questions], list[Row]]] = {
    "reading": lambda questions: questions.latest(),
    "inference": lambda questions: questions.health(),
    "alarm": lambda questions: questions.alarms(open_only=False),
}
_NONE: dict[Kind, str] = {
    "reading": "there is no reading of it yet",
    "inference": "no model has judged it yet",
    "alarm": "there was no alarm yet",
}

_OUTPUTS = MEASUREMENTS["inference"].floats

EMPTY = (
    "the store holds nothing of this kind yet: `tocsin aggregator fleet` shows which gateways are alive, "
    "`tocsin aggregator query raw` asks for anything else"
)


def of_asset(questions: Questions, kind: Kind, asset: str | None, channel: str | None = None) -> str:
    """Of rows of a kind. Raises BadParameter when the store knows no such asset or channel."""
    rows = [*questions.latest(), *questions.health()]
    if not rows:
        return EMPTY
    if asset is not None:
        _check("asset", asset, (row["asset"] for row in rows))
    rows = [row for row in _NEWEST[kind](questions) if asset in {None, row["asset"]}]
    if channel is not None:
        _check("channel", channel, (row["channel"] for row in rows))
        rows = [row for row in rows if row["channel"] == channel]
    return _another_time(rows) if rows else _NONE[kind]


def of_series(questions: Questions, asset: str, name: str) -> str:
    """Of a channel, or of an output of the models."""
    if name in _OUTPUTS:
        return of_output(questions, name, asset)
    if any(row["asset"] == asset for row in questions.latest()):
        channels = {row["channel"] for row in questions.latest(asset)}
        _check("channel or output of a model", name, [*channels, *_OUTPUTS])
    return of_asset(questions, "reading", asset, name)


def of_output(questions: Questions, name: str, asset: str | None = None) -> str:
    """Of what some models say and others do not."""
    advice = of_asset(questions, "inference", asset)
    judged = [row for row in questions.health() if asset in {None, row["asset"]}]
    if judged and all(row[name] is None for row in judged):
        return f"no model here gives {name}: `tocsin aggregator query models` says which there are"
    return advice


def of_gateway(questions: Questions, gateway: str) -> str:
    """Raises BadParameter when the store knows no such gateway."""
    rows = questions.gateways()
    if not rows:
        return EMPTY
    _check("gateway", gateway, (row["gateway"] for row in rows))
    return _another_time([row for row in rows if row["gateway"] == gateway])


def _check(kind: str, name: str, known: Iterable[object]) -> None:
    names = sorted({str(one) for one in known})
    if name in names:
        return
    alike = {one.lower(): one for one in names}  # PUMP-1 is nearer to pump-1 than to anything else
    close = difflib.get_close_matches(name.lower(), alike, n=1)
    guess = f"; did you mean {alike[close[0]]!r}?" if close else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise typer.BadParameter(f"there is no {kind} {name!r}{guess} (there are: {', '.join(names[:_SHOWN])}{more})")


def _another_time(rows: list[Row]) -> str:
    newest = iso(max(int(number(row, "time")) for row in rows))
    return f"nothing found in this time; the newest row is of {newest} UTC: try --since {newest[:10]}"
