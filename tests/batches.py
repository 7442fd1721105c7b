"""Small batches for tests of the aggregator."""

import math

from aggregator.config import Validation
from aggregator.core.points import Points
from aggregator.core.validate import Accepted, Validator
from aggregator.ports import Request
from models.contract.batch import Alarm, Batch, Inferences, Readings, encode_batch, pack
from models.contract.topics import topic

T0 = 1_760_000_000_000_000_000
SECOND = 1_000_000_000


def batch(
    values: list[float],
    *,
    seq: int = 1,
    series: list[tuple[str, str]] | None = None,
    start_ns: int = T0,
    alarms: list[Alarm] | None = None,
) -> Batch:
    """Readings one second apart, in turn over the series, and one inference."""
    names = series or [("pump-7", "vibration")]
    n = len(values)
    return Batch(
        site="north",
        gateway="gw1",
        epoch="e1",
        seq=seq,
        readings=Readings(
            series=names,
            index=pack([i % len(names) for i in range(n)], "<i4"),
            time_ns=pack([start_ns + i * SECOND for i in range(n)], "<i8"),
            value=pack(values),
            denoised=pack([math.nan, *values[1:]] if n else []),
            quality=pack([0x41] * n, "u1"),
        ),
        inferences=Inferences(
            series=[("pump-7", "wear", "1.0")],
            index=pack([0], "<i4"),
            time_ns=pack([start_ns], "<i8"),
            fields={"health": pack([0.25]), "rul_h": pack([math.nan]), "anomaly_score": pack([3.5])},
        ),
        alarms=alarms or [],
        gateway_time_ns=start_ns,
        gateway_fields={"readings_total": float(n)},
    )


def alarm(
    time_ns: int, *, is_open: bool, name: str = "a1", message: str = 'it says "ouch", twice\nand \\ once'
) -> Alarm:
    return Alarm(
        asset="pump-7", code="overheat", time_ns=time_ns, is_open=is_open, severity=0.8, id=name, message=message
    )


def points_of(content: Batch) -> Points:
    """What the aggregator makes of a batch that it accepts."""
    request = Request(topic(content.site, content.gateway, "batch"), encode_batch(content), None, None)
    result = Validator(Validation()).check(request, T0 + 10**18)
    assert isinstance(result, Accepted)
    return result.points
