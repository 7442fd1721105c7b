"""A small plant over two shifts, with faults that a shift report must tell: rows as gateways send them."""

import math
from collections.abc import Iterator

import numpy as np

from models.contract.batch import Alarm, Batch, Inferences, Readings, pack
from tests.batches import SECOND, T0

MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
UNTIL = T0 // HOUR * HOUR + 13 * MINUTE + 7 * SECOND  # no round time
SINCE = UNTIL - 8 * HOUR
BEGIN = SINCE - 8 * HOUR
SCRIPT = "<script>alert(1)</script>"
TIMES = np.arange(BEGIN, UNTIL, MINUTE)


def within(begin_h: float, end_h: float = math.inf) -> np.ndarray:
    """Which rows lie so many hours after the begin of the reported shift."""
    hours = (TIMES - SINCE) / HOUR
    return (hours >= begin_h) & (hours < end_h)


def readings(channels: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Readings:
    """For each (asset, channel): values, quality codes, and which of the rows there are; one a minute."""
    kept = [keep for _, _, keep in channels.values()]
    return Readings(
        series=list(channels),
        index=pack(np.repeat(np.arange(len(channels)), [keep.sum() for keep in kept]), "<i4"),
        time_ns=pack(np.concatenate([TIMES[keep] for keep in kept]), "<i8"),
        value=pack(np.concatenate([values[keep] for values, _, keep in channels.values()])),
        denoised=pack(np.full(sum(int(keep.sum()) for keep in kept), math.nan)),
        quality=pack(np.concatenate([codes[keep] for _, codes, keep in channels.values()]), "u1"),
    )


def inferences(assets: dict[tuple[str, str, str], dict[str, np.ndarray]]) -> Inferences:
    """For each (asset, model, version): its fields, a value a minute."""
    names = sorted({name for fields in assets.values() for name in fields})
    nothing = np.full(len(TIMES), math.nan)
    return Inferences(
        series=list(assets),
        index=pack(np.repeat(np.arange(len(assets)), len(TIMES)), "<i4"),
        time_ns=pack(np.tile(TIMES, len(assets)), "<i8"),
        fields={
            name: pack(np.concatenate([fields.get(name, nothing) for fields in assets.values()])) for name in names
        },
    )


def alarm(asset: str, hours: float, *, is_open: bool, opened_h: float, message: str) -> Alarm:
    time_ns = SINCE + round(hours * HOUR)
    name = f"{asset}/wear/{opened_h}"
    return Alarm(asset=asset, code="wear", time_ns=time_ns, is_open=is_open, severity=0.8, id=name, message=message)


def batches() -> Iterator[Batch]:
    """pump-1 well; pump-2 failing, its alarm open since before the shift; pump-3 with a remaining life and a sensor
    that is bad; pump-4 with an alarm that came twice and a gap; one asset with an evil name; one gateway gone."""
    rng = np.random.default_rng(5)
    n = len(TIMES)
    everywhere, good = np.ones(n, bool), np.zeros(n)
    hours = (TIMES - SINCE) / HOUR

    def steady(level: float) -> np.ndarray:
        return level + rng.normal(0, 0.1, n)

    drifting = steady(1.0) + np.clip(hours, 0, None) * 0.5
    assets = ("pump-1", "pump-2", "pump-3", "pump-4", SCRIPT)
    channels = {(asset, name): (steady(5.0), good, everywhere) for asset in assets for name in ("current", "vibration")}
    channels["pump-2", "vibration"] = (drifting, good, everywhere)
    channels["pump-3", "current"] = (steady(5.0), np.where(within(2, 5), 0x81, 0), everywhere)
    channels["pump-4", "vibration"] = (steady(5.0), good, ~within(3, 6))
    scores = {(asset, "wear", "1.0"): {"anomaly_score": steady(0.4), "health": steady(90.0)} for asset in assets}
    worse = np.clip(hours, 0, None)
    scores["pump-2", "wear", "1.0"] = {"anomaly_score": 0.4 + worse / 4, "health": 90 - worse * 8}
    scores["pump-3", "life", "2.1"] = {
        "rul_h": 60.0 - hours,
        "rul_low_h": np.full(n, 30.0),
        "rul_high_h": np.full(n, 90.0),
        "failure_prob": np.full(n, 0.2),
    }
    scores["pump-4", "life", "2.1"] = {"rul_h": 400.0 - hours + rng.normal(0, 20.0, n)}
    told = "anomaly score 1.3 above 1: vibration 81 %, current 19 %"
    alarms = [
        alarm("pump-2", -1.0, is_open=True, opened_h=-1.0, message=told),
        alarm("pump-4", 1.0, is_open=True, opened_h=1.0, message="once"),
        alarm("pump-4", 1.5, is_open=False, opened_h=1.0, message="back"),
        alarm("pump-4", 4.0, is_open=True, opened_h=4.0, message="twice | \x1b[31mred"),
        alarm("pump-4", 4.25, is_open=False, opened_h=4.0, message="back"),
    ]
    yield Batch(
        site="north",
        gateway="gw1",
        epoch="e1",
        seq=1,
        readings=readings(channels),
        inferences=inferences(scores),
        alarms=alarms,
    )
    for gateway, until_ns in (("gw1", UNTIL), ("gw2", UNTIL - 2 * HOUR)):
        for seq, time_ns in enumerate(range(SINCE, until_ns, 10 * MINUTE), 2):
            lost = 70.0 if gateway == "gw2" and seq > 5 else 0.0
            fields = {"backlog_batches": 3.0, "lag_s": 400.0, "lost_total": 5 + lost, "refused_total": 0.0}
            yield Batch(
                site="north", gateway=gateway, epoch="e1", seq=seq, gateway_time_ns=time_ns, gateway_fields=fields
            )
    last = {"backlog_batches": 3.0, "lag_s": 400.0, "lost_total": 5.0, "refused_total": 0.0}
    yield Batch(
        site="north",
        gateway="gw1",
        epoch="e1",
        seq=1000,
        gateway_time_ns=UNTIL - MINUTE,
        gateway_fields=last,
    )
