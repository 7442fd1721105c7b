"""Results as a table in long form: a row a value, with measurement, time, asset, name, field."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contract.batch import Batch, floats, indices, ints


class LongForm(NamedTuple):
    """The values of one field of one measurement, n rows."""

    measurement: str
    field: str
    series: list[tuple[str, str]]  # asset, and name: the channel, the model or the alarm's code
    position: NDArray[np.int32]  # [n], in `series`
    time_ns: NDArray[np.int64]  # [n]
    value: NDArray[np.float64]  # [n], NaN = none


def long_form(batch: Batch) -> Iterator[LongForm]:
    """All values of a batch."""
    r, i, alarms = batch.readings, batch.inferences, batch.alarms
    index, time_ns = indices(r.index), ints(r.time_ns)
    quality = np.frombuffer(r.quality, "u1").astype(np.float64)
    for name, column in (("value", floats(r.value)), ("denoised", floats(r.denoised)), ("quality", quality)):
        yield LongForm("reading", name, r.series, index, time_ns, column)
    models = [(asset, model) for asset, model, _ in i.series]
    for name, data in i.fields.items():
        yield LongForm("inference", name, models, indices(i.index), ints(i.time_ns), floats(data))
    codes = [(alarm.asset, alarm.code) for alarm in alarms]
    times = np.array([alarm.time_ns for alarm in alarms], np.int64)
    is_open = np.array([alarm.is_open for alarm in alarms], np.float64)
    yield LongForm("alarm", "is_open", codes, np.arange(len(alarms), dtype=np.int32), times, is_open)
