"""Results collected for a picture: of each asset its channels, scores and alarms, in the order of time."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contract.batch import Alarm, Batch, floats, indices, ints
from models.contract.quality import Quality
from tocsin.errors import UserError

MOST_CHANNELS = 8
Columns = tuple[NDArray[np.generic], ...]


class Channel(NamedTuple):
    """The readings of one channel, [n] each, ascending in time."""

    name: str
    unit: str
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    denoised: NDArray[np.float64]  # NaN = none
    quality: NDArray[np.uint8]

    @property
    def marked(self) -> int:
        """How many readings are not good."""
        return int(np.count_nonzero(self.quality != Quality.GOOD))


class Score(NamedTuple):
    """One output of one model, [n] each, ascending in time."""

    model: str
    field: str
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]


class Span(NamedTuple):
    """An alarm from its opening to its closing; None: outside of what was recorded."""

    code: str
    opened_ns: int | None
    closed_ns: int | None
    severity: float
    message: str  # of the opening, where it is known


class View(NamedTuple):
    """What is drawn of one asset."""

    site: str
    asset: str
    channels: list[Channel]
    hidden: int  # channels that are not among them
    scores: list[Score]
    spans: list[Span]

    @property
    def range_ns(self) -> tuple[int, int]:
        """The first and the last time of all that is drawn."""
        parts = [*(channel.time_ns for channel in self.channels), *(score.time_ns for score in self.scores)]
        times = [part for part in parts if len(part)]
        return min(int(t[0]) for t in times), max(int(t[-1]) for t in times)


class Recording:
    """All results of all assets, or of `asset` alone. Memory: 25 bytes a reading."""

    def __init__(self, asset: str = "") -> None:
        self._asset = asset
        self._readings: defaultdict[tuple[str, str], list[Columns]] = defaultdict(list)
        self._scores: defaultdict[tuple[str, str, str], list[Columns]] = defaultdict(list)
        self._alarms: defaultdict[str, list[Alarm]] = defaultdict(list)
        self._seen: Counter[str] = Counter()  # readings of each asset

    def add(self, batch: Batch) -> None:
        """Keep what is of interest."""
        r, i = batch.readings, batch.inferences
        columns = (ints(r.time_ns), floats(r.value), floats(r.denoised), np.frombuffer(r.quality, "u1"))
        for (asset, channel), part in _by_series(r.series, indices(r.index), columns):
            self._seen[asset] += len(part[0])
            if self._asset in {"", asset}:
                self._readings[asset, channel].append(part)
        for field, data in i.fields.items():
            for (asset, model, _), part in _by_series(i.series, indices(i.index), (ints(i.time_ns), floats(data))):
                if self._asset in {"", asset}:
                    self._scores[asset, model, field].append(part)
        for alarm in batch.alarms:
            self._alarms[alarm.asset].append(alarm)

    def view(
        self,
        site: str,
        channels: Sequence[str] = (),
        preferred: Callable[[str], Iterable[str]] = lambda _asset: (),
        unit_of: Callable[[str, str], str] = lambda _asset, _channel: "",
    ) -> View:
        """The asset that was asked for, else the one with the most alarms, and of equal ones the most readings.

        `channels`: which to show; by default `MOST_CHANNELS`, the `preferred` ones of the asset first, and of equal
        ones those with the most marks. Raises UserError.
        """
        if not self._seen:
            msg = "nothing to draw: there is no reading"
            raise UserError(msg)
        asset = self._asset or max(self._seen, key=self._rank, default="")
        found = {name: _joined(parts) for (owner, name), parts in self._readings.items() if owner == asset}
        if not found:
            msg = f"nothing to draw: there is no reading of asset {asset!r} (there are: {_some(self._seen)})"
            raise UserError(msg)
        if unknown := [name for name in channels if name not in found]:
            msg = f"--plot-channels {unknown[0]!r}: there is no such channel of {asset} (there are: {_some(found)})"
            raise UserError(msg)
        everything = [Channel(name, unit_of(asset, name), *columns) for name, columns in found.items()]  # type: ignore[arg-type]
        if channels:
            shown = [next(c for c in everything if c.name == name) for name in channels]
        else:
            first = set(preferred(asset))
            best = sorted(everything, key=lambda c: (c.name not in first, -c.marked))[:MOST_CHANNELS]
            shown = [channel for channel in everything if channel in best]
        scores = [
            Score(model, field, *_joined(parts))  # type: ignore[arg-type]
            for (owner, model, field), parts in self._scores.items()
            if owner == asset
        ]
        return View(site, asset, shown, len(everything) - len(shown), scores, _spans(self._alarms[asset]))

    def _rank(self, asset: str) -> tuple[int, int]:
        return sum(alarm.is_open for alarm in self._alarms[asset]), self._seen[asset]


def _by_series(
    series: Sequence[tuple[str, ...]], index: NDArray[np.int32], columns: Columns
) -> Iterable[tuple[tuple[str, ...], Columns]]:
    """Each series that occurs, with its rows in their order."""
    if not len(index):
        return
    order = np.argsort(index, kind="stable")
    cuts = np.flatnonzero(np.diff(index[order])) + 1
    for rows in np.split(order, cuts):
        yield series[int(index[rows[0]])], tuple(column[rows] for column in columns)


def _joined(parts: list[Columns]) -> Columns:
    """Ascending in time (the first column), rows without a number in the second left out."""
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    order = order[~np.isnan(columns[1][order].astype(np.float64))]
    return tuple(column[order] for column in columns)


def _spans(alarms: Sequence[Alarm]) -> list[Span]:
    spans: dict[str, Span] = {}
    for alarm in alarms:
        if alarm.is_open:
            spans[alarm.id] = Span(alarm.code, alarm.time_ns, None, alarm.severity, alarm.message)
        else:
            before = spans.get(alarm.id) or Span(alarm.code, None, None, alarm.severity, "")
            spans[alarm.id] = before._replace(closed_ns=alarm.time_ns)
    return list(spans.values())


def _some(names: Iterable[str], most: int = 20) -> str:
    listed = sorted(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "") if listed else "none"
