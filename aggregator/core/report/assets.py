"""Each asset by risk: the largest of what its alarms, its models' failure probability and its health say.

    open alarm                 its severity
    alarm closed in the span   half its severity
    failure probability        as it is, newest
    health                     1 - health / 100, newest

The anomaly score has no scale that all models share, so it counts through the alarms that it raises.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.core.report.content import Alarm, Asset, AssetKey, Forecast, State
from aggregator.core.report.forecasts import forecast
from aggregator.core.report.intervals import Intervals
from aggregator.core.report.sources import CURVES
from aggregator.core.views import Row, number

LOOK_FROM = 0.5  # of risk
_SILENT_AFTER = 3  # intervals without a judgement
_NEWEST = "newest"  # beside the fields: a model's last rows, one a version

Floats = NDArray[np.float64]


def assets(
    scores: Mapping[str, Sequence[Row]],
    newest: Iterable[Row],
    alarms: Iterable[Alarm],
    seen: Iterable[AssetKey],
    span: Intervals,
) -> tuple[Asset, ...]:
    """Worst first. `scores` and `newest` as in `Sources`; `seen` are assets with readings, if without a model."""
    by_field = {name: _by_model(scores.get(name, ())) for name in CURVES} | {_NEWEST: _by_model(newest)}
    warned: dict[AssetKey, list[Alarm]] = {}
    for alarm in alarms:
        warned.setdefault((alarm.site, alarm.asset), []).append(alarm)
    models: dict[AssetKey, set[str]] = {key: set() for key in (*warned, *seen)}
    for site, name, model in {key for found in by_field.values() for key in found}:
        models.setdefault((site, name), set()).add(model)
    found = [
        _asset(key, _Judgements(key, sorted(names), by_field, span), warned.get(key, []), span)
        for key, names in models.items()
    ]
    return tuple(sorted(found, key=_badness))


class _Judgements:
    """What all models of one asset say, put together: the worst of them counts."""

    def __init__(
        self,
        key: AssetKey,
        models: Sequence[str],
        by_field: Mapping[str, Mapping[tuple[str, str, str], list[Row]]],
        span: Intervals,
    ) -> None:
        self._rows = [{name: found.get((*key, model), []) for name, found in by_field.items()} for model in models]
        self._span = span

    def curve(self, field: str, column: str, *, lowest: bool = False) -> Floats:
        """The highest or lowest of all models in each interval."""
        worst = np.full(len(self._span), np.nan)
        for rows in self._rows:
            worst = (np.fmin if lowest else np.fmax)(worst, self._span.curve(rows[field], column))
        return worst

    def newest(self, field: str, *, lowest: bool = False) -> float:
        """The highest or lowest of all models' newest values; NaN = none has one."""
        told = [_last(rows, field) for rows in self._rows]
        return float((np.fmin if lowest else np.fmax).reduce(told)) if told else np.nan

    def forecast(self) -> Forecast | None:
        """Of the model that gives the asset the shortest life."""
        found = [
            forecast(
                self._span.curve(rows["rul_h"], "mean"),
                self._span,
                _last(rows, "rul_low_h"),
                _last(rows, "rul_high_h"),
            )
            for rows in self._rows
        ]
        return min((one for one in found if one), key=lambda one: one.rul_h, default=None)

    def last_at(self) -> int | None:
        """The last interval with a judgement of any kind."""
        return max((self._span.at(row) for rows in self._rows for name in CURVES for row in rows[name]), default=None)

    def peak(self) -> tuple[float, int]:
        """The highest anomaly score, and when its interval began."""
        highest = self.curve("anomaly_score", "max")
        if not np.isfinite(highest).any():
            return np.nan, 0
        at = int(np.nanargmax(highest))
        return float(highest[at]), self._span.time_ns(at)


def _asset(key: AssetKey, told: _Judgements, alarms: Sequence[Alarm], span: Intervals) -> Asset:
    health = told.newest("health", lowest=True)
    failure_prob = told.newest("failure_prob")
    last_at = told.last_at()
    risk, reason = _risk(alarms, failure_prob, health)
    peak, peak_ns = told.peak()
    return Asset(
        site=key[0],
        name=key[1],
        state=_state(alarms, risk, last_at, span),
        risk=risk,
        reason=reason,
        health=health,
        health_curve=tuple(told.curve("health", "mean", lowest=True).tolist()),
        anomaly=told.newest("anomaly_score"),
        anomaly_peak=peak,
        anomaly_peak_ns=peak_ns,
        anomaly_curve=tuple(told.curve("anomaly_score", "mean").tolist()),
        failure_prob=failure_prob,
        forecast=told.forecast(),
        judged_ns=0 if last_at is None else span.time_ns(last_at),
    )


def _risk(alarms: Sequence[Alarm], failure_prob: float, health: float) -> tuple[float, str]:
    reasons = [
        (alarm.severity, f"alarm {alarm.code} is open")
        if alarm.is_open
        else (alarm.severity / 2, f"alarm {alarm.code} was open")
        for alarm in alarms
    ]
    reasons += [(failure_prob, "failure probability"), (1 - health / 100, "health")]
    known = [(min(max(risk, 0.0), 1.0), reason) for risk, reason in reasons if np.isfinite(risk)]
    return max(known, key=lambda one: one[0], default=(0.0, ""))


def _state(alarms: Sequence[Alarm], risk: float, last_at: int | None, span: Intervals) -> State:
    if any(alarm.is_open for alarm in alarms):
        return "alarm"
    if risk >= LOOK_FROM:
        return "look"
    if last_at is None:
        return "not judged"
    return "silent" if last_at < len(span) - 1 - _SILENT_AFTER else "ok"


def _by_model(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((str(row["site"]), str(row["asset"]), str(row["model"])), []).append(row)
    return found


def _last(rows: Mapping[str, Sequence[Row]], field: str) -> float:
    """A model's newest value: of its newest row, else the mean of the last interval with one; NaN = none."""
    newest = max(rows[_NEWEST], key=_time, default={})
    mean = number(rows[field][-1], "mean", np.nan) if rows.get(field) else np.nan
    return float(number(newest, field, mean))


def _time(row: Row) -> float:
    return number(row, "time")


def _badness(asset: Asset) -> tuple[object, ...]:
    return (
        asset.state != "alarm",
        -asset.risk,
        -(asset.anomaly_peak if np.isfinite(asset.anomaly_peak) else -np.inf),
        asset.key,
    )
