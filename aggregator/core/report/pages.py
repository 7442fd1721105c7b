"""A report in words: what stands where on its page. The same page becomes Markdown and HTML."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

from aggregator.core.report import gaps
from aggregator.core.report.content import Alarm, Asset, Gap, Gateway, Report
from aggregator.core.report.document import Cell, Document, Level, Mark, Section, Spark, Table
from aggregator.core.report.first import look_first
from aggregator.core.report.planned import plan_section
from aggregator.core.report.words import NONE, count, day, figure, hours, lasting, moment, percent, plain

T = TypeVar("T")

ROWS = 40  # of a table: what a person reads; JSON has all
_LEVELS: dict[str, Level] = {"alarm": "bad", "look": "warn", "ok": "good"}
_BEHIND_S = 300.0
_ASSET_COLUMNS = (
    *("asset", "state", "risk", "because", "health", "health over time"),
    *("anomaly", "peak", "peak in the interval from", "anomaly over time", "failure prob."),
)


def page(report: Report, zone: ZoneInfo) -> Document:
    """Times are shown in `zone`, whose name stands at the top."""
    return _Page(report, zone).document()


class _Page:
    def __init__(self, report: Report, zone: ZoneInfo) -> None:
        self._report, self._zone = report, zone
        self._one_site = len({asset.site for asset in report.assets}) <= 1

    def document(self) -> Document:
        report = self._report
        span = f"{day(report.since_ns, self._zone)} to {day(report.until_ns, self._zone)}"
        lead = [
            f"{span} ({lasting((report.until_ns - report.since_ns) / 1e9)}), times in {self._zone.key}",
            *self._headline(),
        ]
        sections = [
            look_first(report, self._name, self._zone),
            self._assets(),
            self._alarms(),
            self._life(),
            self._quality(),
            self._gaps(),
            self._gateways(),
            *([plan_section(report.plan, self._name, self._zone)] if report.plan else []),
            self._models(),
        ]
        return Document("Shift report", lead, sections)

    def _headline(self) -> list[str]:
        assets = self._report.assets
        if not assets:
            return ["Nothing was heard of any asset in this span."]
        needed = [asset for asset in assets if asset.state in {"alarm", "look"}]
        if needed:
            worst = needed[0]
            verb = "needs" if len(needed) == 1 else "need"
            why = f"{self._name(worst.site, worst.name)}, {plain(worst.reason)} (risk {worst.risk:.2f})"
            lines = [f"{len(needed)} of {count(len(assets), 'asset')} {verb} a look. Worst: {why}."]
        else:
            lines = [f"None of {count(len(assets), 'asset')} needs a look."]
        for state, words in (("silent", "fell silent"), ("not judged", "no model judged")):
            names = [self._name(asset.site, asset.name) for asset in assets if asset.state == state]
            if names:
                lines.append(f"{count(len(names), 'asset')} {words}: {_listed(names)}.")
        return lines

    def _assets(self) -> Section:
        highest = max((a.anomaly_peak for a in self._report.assets if math.isfinite(a.anomaly_peak)), default=1.0)

        def row(asset: Asset) -> tuple[Cell, ...]:
            return (
                self._name(asset.site, asset.name),
                Mark(asset.state, _LEVELS.get(asset.state, "dim")),
                f"{asset.risk:.2f}",
                plain(asset.reason) or NONE,
                figure(asset.health),
                Spark(asset.health_curve, 0.0, 100.0),
                figure(asset.anomaly),
                figure(asset.anomaly_peak),
                moment(asset.anomaly_peak_ns, self._zone),
                Spark(asset.anomaly_curve, 0.0, max(1.0, min(highest, asset.anomaly_peak or 1.0))),
                percent(asset.failure_prob),
            )

        table = _table(
            self._report.assets,
            row,
            _ASSET_COLUMNS,
            {"risk", "health", "anomaly", "peak", "failure prob."},
        )
        note = (
            "Risk is the largest of: severity of an open alarm, half the severity of one that closed, failure "
            "probability, 1 - health / 100. From 0.5 on an asset needs a look. Health is 0 to 100; anomaly scores "
            "of different models have different scales, so they count through their alarms."
        )
        return Section("Assets by risk", [table or "No asset."], note)

    def _alarms(self) -> Section:
        def row(alarm: Alarm) -> tuple[Cell, ...]:
            return (
                self._name(alarm.site, alarm.asset),
                plain(alarm.code),
                Mark("open", "bad") if alarm.is_open else Mark("closed", "dim"),
                figure(alarm.severity),
                moment(alarm.begin_ns, self._zone) if alarm.begin_ns else "earlier",
                moment(alarm.end_ns, self._zone) if alarm.end_ns else NONE,
                self._duration(alarm),
                str(alarm.times),
                lasting(alarm.total_s),
                plain(alarm.message) or NONE,
            )

        columns = ("asset", "alarm", "state", "severity", "begin", "end", "lasted", "times", "open in span", "message")
        table = _table(self._report.alarms, row, columns, {"severity", "times"})
        note = "Begin, end and message are those of the newest time; 'times' counts all that touch the span."
        return Section("Alarms", [table], note) if table else Section("Alarms", ["None was open in this span."])

    def _duration(self, alarm: Alarm) -> str:
        if not alarm.begin_ns:
            return NONE
        return lasting(((alarm.end_ns or self._report.until_ns) - alarm.begin_ns) / 1e9)

    def _life(self) -> Section:
        with_life = [(asset, asset.forecast) for asset in self._report.assets if asset.forecast]
        with_life.sort(key=lambda one: (one[1].rul_h, one[0].key))
        table = _table(
            with_life,
            lambda one: (
                self._name(one[0].site, one[0].name),
                hours(one[1].rul_h),
                f"{hours(one[1].low_h)} to {hours(one[1].high_h)}",
                moment(self._report.until_ns + round(one[1].rul_h * 3.6e12), self._zone),
                one[1].basis,
            ),
            ("asset", "remaining life", "80 % interval", "fails about", "interval from"),
            {"remaining life"},
        )
        note = (
            "'The model's interval' is taken as its 10 % and 90 % quantiles. 'Spread of the forecasts' is not the "
            "model's word: it says how far its forecasts of the moment lay apart within the span (10 % to 90 %)."
        )
        return (
            Section("Remaining life", [table], note) if table else Section("Remaining life", ["No model forecasts it."])
        )

    def _quality(self) -> Section:
        table = _table(
            self._report.qualities,
            lambda one: (
                self._name(one.site, one.asset),
                plain(one.channel),
                percent(one.bad_share),
                ", ".join(f"{reason} {percent(share)}" for reason, share in one.reasons),
                f"{one.readings:,}",
            ),
            ("asset", "channel", "bad", "of its readings", "readings"),
            {"bad", "readings"},
        )
        title = "Sensors in bad quality"
        note = "Channels with more than 1 % of readings that are not good. A bad reading reaches no model."
        return Section(title, [table], note) if table else Section(title, ["None: all channels are good."])

    def _gaps(self) -> Section:
        def row(gap: Gap) -> tuple[Cell, ...]:
            whole = len(gap.channels) == gap.of and gap.of > 1
            names = f"all {gap.of}" if whole else _listed([plain(name) for name in gap.channels])
            return (
                self._name(gap.site, gap.asset),
                names,
                moment(gap.begin_ns, self._zone),
                moment(gap.end_ns, self._zone) if gap.is_over else Mark("goes on", "warn"),
                lasting((gap.end_ns - gap.begin_ns) / 1e9),
            )

        table = _table(self._report.gaps, row, ("asset", "channels", "from", "until", "for"), {"for"})
        every = lasting(self._report.every_ns / 1e9)
        note = f"Stretches of whole intervals of {every} without a reading, where 5 or more would have been usual."
        return Section("Gaps", [table], note) if table else Section("Gaps", ["No channel was without data."])

    def _gateways(self) -> Section:
        def row(gateway: Gateway) -> tuple[Cell, ...]:
            silent_s = (self._report.until_ns - gateway.last_ns) / 1e9
            state = Mark("ok", "good")
            if gateway.lag_s > _BEHIND_S:
                state = Mark(f"behind by {lasting(gateway.lag_s)}", "warn")
            if gateway.is_silent:
                state = Mark(f"silent for {lasting(silent_s)}", "bad")
            return (
                plain(f"{gateway.site}/{gateway.name}"),
                state,
                moment(gateway.last_ns, self._zone),
                figure(gateway.backlog_batches),
                ", ".join(f"{figure(rows)} {words}" for words, rows in gateway.counts) or NONE,
                ", ".join(gateway.remarks) or NONE,
            )

        columns = ("gateway", "state", "last heard", "backlog", "lost or set aside", "remarks")
        table = _table(self._report.gateways, row, columns, {"backlog"})
        note = (
            f"Silent: nothing for {lasting(gaps.SILENT_S)}. Backlog: batches on the gateway's disk, without a receipt."
        )
        if not table:
            return Section("Gateways", ["No gateway has told of itself."])
        return Section("Gateways", [table], note)

    def _models(self) -> Section:
        table = _table(
            self._report.models,
            lambda one: (
                plain(one.name),
                plain(one.version),
                f"{one.assets:,}",
                moment(one.first_ns, self._zone),
                moment(one.last_ns, self._zone),
            ),
            ("model", "version", "assets", "first result", "last result"),
            {"assets"},
        )
        return Section("Models in use", [table or "No model gave a result in this span."])

    def _name(self, site: str, asset: str) -> str:
        return plain(asset if self._one_site else f"{site}/{asset}")


def _table(
    things: Sequence[T], row: Callable[[T], tuple[Cell, ...]], columns: tuple[str, ...], numbers: set[str]
) -> Table | None:
    if not things:
        return None
    shown = [row(thing) for thing in things[:ROWS]]
    return Table(columns, shown, frozenset(numbers), max(len(things) - ROWS, 0))


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
