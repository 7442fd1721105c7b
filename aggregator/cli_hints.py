"""What to say when a question finds nothing: a name that is not there, another time, or a store that is empty yet."""

import difflib
from collections.abc import Iterable

import typer

from aggregator.core.questions import Questions
from aggregator.core.times import iso
from aggregator.core.views import Row, number
from models.contract.schema import MEASUREMENTS

_SHOWN = 12

EMPTY = (
    "the store holds nothing of this kind yet: `tocsin aggregator fleet` shows which gateways are alive, "
    "`tocsin aggregator query raw` asks for anything else"
)


def of_asset(questions: Questions, asset: str | None, channel: str | None = None, *, outputs: bool = False) -> str:
    """Raises BadParameter when the store knows no such asset or channel; with `outputs` a model's are channels too."""
    rows = [*questions.latest(), *questions.health()]
    if not rows:
        return EMPTY
    if asset is not None:
        _check("asset", asset, (row["asset"] for row in rows))
        rows = [row for row in rows if row["asset"] == asset]
    if channel is not None:
        known = {row["channel"] for row in rows if "channel" in row}
        _check("channel", channel, known | set(MEASUREMENTS["inference"].floats if outputs else ()))
        rows = [row for row in rows if row.get("channel", channel) == channel]
    return _another_time(rows)


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
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise typer.BadParameter(f"there is no {kind} {name!r}{guess} (there are: {', '.join(names[:_SHOWN])}{more})")


def _another_time(rows: list[Row]) -> str:
    newest = iso(max(int(number(row, "time")) for row in rows)) if rows else ""
    return f"nothing found in this time; the newest row is of {newest} UTC: try --since {newest[:10]}"
