"""`tocsin aggregator query`: questions to the store, whichever it is."""

import time
from functools import partial
from typing import Annotated

import typer

from aggregator import cli_hints
from aggregator.cli_asking import Asking, Language, with_output
from aggregator.cli_common import fail, since_ns
from aggregator.core.questions import Questions
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS

query = typer.Typer(
    help="Questions to the store. Works with each kind of store, and while the aggregator runs. "
    "Answers are tables, CSV, JSON or pictures; --show prints a question's text for the store itself.",
    no_args_is_help=True,
)

_LONGEST_S = 520 * 7 * 86_400
_MOST = 1_000_000_000

Asset = Annotated[str | None, typer.Option(help="Only this machine, for example pump-7.")]
Channel = Annotated[str | None, typer.Option(help="Only this channel, for example vibration.")]
Since = Annotated[str, typer.Option(help="How far back (90s, 30m, 1h, 7d), or an ISO time such as 2026-01-31.")]
Until = Annotated[str | None, typer.Option(help="The end, likewise. Default: no end.")]
Every = Annotated[str, typer.Option(help="The length of an interval: 10s, 1m, 1h.")]
Limit = Annotated[int, typer.Option(min=1, max=_MOST, help="At most this many rows, the newest.")]


@query.command()
@with_output()
def latest(ask: Asking, asset: Asset = None) -> None:
    """The newest reading of each channel, with its quality."""
    ask.answer(lambda q: q.latest(asset), lambda q: cli_hints.of_asset(q, "reading", asset))


@query.command()
@with_output()
def health(ask: Asking, asset: Asset = None) -> None:
    """The newest judgement of each model on each machine, the worst first."""
    ask.answer(lambda q: _of(asset, q.health()), lambda q: cli_hints.of_asset(q, "inference", asset))


@query.command()
@with_output()
def alarms(
    ask: Asking,
    asset: Asset = None,
    open_only: Annotated[bool, typer.Option("--open/--all", help="Open alarms only, or closed ones as well.")] = True,
) -> None:
    """The state of each alarm, since when, and why."""

    def hint(questions: Questions) -> str:
        advice = cli_hints.of_asset(questions, "alarm", asset)
        return "no alarm is open; --all shows closed ones" if open_only else advice

    ask.answer(lambda q: _of(asset, q.alarms(open_only=open_only)), hint)


@query.command()
@with_output()
def alarm_changes(ask: Asking, asset: Asset = None, since: Since = "1d", until: Until = None) -> None:
    """Each opening, change and closing of an alarm in a stretch of time."""
    begin, end = _stretch(since, until)
    ask.answer(lambda q: _of(asset, q.alarm_changes(begin, end)), lambda q: cli_hints.of_asset(q, "alarm", asset))


@query.command()
@with_output(plot=True)
def series(
    ask: Asking,
    asset: Annotated[str, typer.Option(help="The machine, for example pump-7.")],
    channel: Annotated[str, typer.Option(help="A channel, or a field of the models: health, anomaly_score, …")],
    since: Since = "1h",
    until: Until = None,
    limit: Limit = 1000,
) -> None:
    """One channel's readings, or one output of the models, over time."""
    begin, end = _stretch(since, until)
    ask.answer(
        lambda q: q.series(asset, channel, begin, end, limit),
        lambda q: cli_hints.of_series(q, asset, channel),
        ("value", "denoised"),
        limit,
        channel,
    )


@query.command()
@with_output(plot=True)
def anomaly(ask: Asking, asset: Asset = None, since: Since = "1h", until: Until = None, every: Every = "1m") -> None:
    """The highest and the mean anomaly score of each machine and model in each interval."""
    begin, end = _stretch(since, until)
    ask.answer(
        lambda q: q.anomaly(asset, begin, end, _every_s(every)),
        lambda q: cli_hints.of_asset(q, "inference", asset),
        ("max", "mean"),
    )


@query.command()
@with_output()
def top(
    ask: Asking,
    since: Since = "1d",
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many machines.")] = 10,
) -> None:
    """The machines that fail soonest: by the newest failure probability of their models."""
    begin, _ = _stretch(since, None)
    ask.answer(lambda q: q.top(limit, begin), lambda q: cli_hints.of_output(q, "failure_prob"))


@query.command()
@with_output(plot=True)
def means(
    ask: Asking,
    asset: Asset = None,
    channel: Channel = None,
    since: Since = "1h",
    until: Until = None,
    every: Every = "1m",
) -> None:
    """Mean, lowest and highest reading of each channel in each interval, and their number."""
    begin, end = _stretch(since, until)
    ask.answer(
        lambda q: q.means(asset, channel, begin, end, _every_s(every)),
        lambda q: cli_hints.of_asset(q, "reading", asset, channel),
        ("mean",),
    )


@query.command()
@with_output()
def gateways(ask: Asking) -> None:
    """The newest figures of each gateway: readings, backlog, gaps, losses."""
    ask.answer(lambda q: q.gateways(), lambda _: cli_hints.EMPTY)


@query.command()
@with_output(plot=True)
def gateway(
    ask: Asking,
    name: Annotated[str, typer.Argument(help="The gateway, for example gw-1.", metavar="GATEWAY")],
    since: Since = "1h",
    until: Until = None,
    limit: Limit = 1000,
) -> None:
    """One gateway's figures over time: where its gaps and losses are."""
    begin, end = _stretch(since, until)
    ask.answer(
        lambda q: q.gateway(name, begin, end, limit),
        lambda q: cli_hints.of_gateway(q, name),
        MEASUREMENTS["gateway"].floats,
        limit,
    )


@query.command()
@with_output()
def models(ask: Asking, since: Since = "7d") -> None:
    """The models in use: versions, on how many machines, first and last seen."""
    begin, _ = _stretch(since, None)
    ask.answer(lambda q: q.models(begin), lambda q: cli_hints.of_asset(q, "inference", None))


@query.command()
@with_output()
def qualities(ask: Asking, asset: Asset = None, since: Since = "1d", until: Until = None) -> None:
    """How many readings of each channel were good, uncertain or bad, the worst first: which sensors to look at."""
    begin, end = _stretch(since, until)
    ask.answer(lambda q: q.qualities(begin, end, asset), lambda q: cli_hints.of_asset(q, "reading", asset))


@query.command()
@with_output()
def raw(
    ask: Asking,
    text: Annotated[str, typer.Argument(help="A question in a language of the store, in quotes.")],
    language: Annotated[Language | None, typer.Option(help="Default: the store's first one.")] = None,
) -> None:
    """Any text that asks and changes nothing. SQLite and InfluxDB 3 speak SQL, InfluxDB InfluxQL, 2.x also Flux."""
    if ask.show is not None:
        raise typer.BadParameter("--show is for named questions: this one is a text already")
    try:
        ask.answer(lambda q: q.raw(text, language))
    except ValueError as error:
        fail(str(error), 2)


def _stretch(since: str, until: str | None) -> tuple[int, int | None]:
    """Begin and end in ns since 1970. Raises typer.BadParameter."""
    moment = partial(since_ns, now_ns=time.time_ns())
    begin, end = moment(since), None if until is None else moment(until)
    if end is not None and begin >= end:
        raise typer.BadParameter(f"--since {since} does not lie before --until {until}")
    return max(begin, 0), None if end is None else max(end, 0)


def _every_s(text: str) -> int:
    every_s = -since_ns(text, 0) // 10**9  # a span, counted back from 0
    if not 1 <= every_s <= _LONGEST_S:
        raise typer.BadParameter(f"--every {text}: a span such as 10s, 1m or 1h is needed, at most 520w")
    return every_s


def _of(asset: str | None, rows: list[Row]) -> list[Row]:
    return [row for row in rows if asset in {None, row["asset"]}]
