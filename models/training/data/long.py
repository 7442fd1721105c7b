"""Files with a row a reading: what the aggregator answers, and what a replay of the agent's journal writes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.contract.quality import BAD_FROM, Quality
from models.training.data.grid import Readings
from models.training.data.section import DataSection
from models.training.data.tables import Floats, Ints, Machine, Read
from models.training.data.times import times_ns
from models.training.table import Columns, DataError

_STORED = ("asset", "channel", "value")
_TIMES = ("time_ns", "time")
_REPLAYED = ("measurement", "time_ns", "asset", "name", "field", "value")


def is_long(table: Columns) -> bool:
    """Whether the header is that of `model fetch`, of the aggregator's answers or of `edge replay --out`."""
    names = set(table.names)
    return set(_REPLAYED) <= names or (set(_STORED) <= names and not names.isdisjoint(_TIMES))


def read_long(table: Columns, section: DataSection) -> Read:
    """One machine for each asset (and site). Readings that the live models do not use are left out and counted.

    Raises:
        DataError: no readings, a channel that is asked for and not there, or an asset that lacks one.
    """
    for key in ("time_column", "unit_column", "label_column", "target_column"):
        if getattr(section, key) is not None:
            msg = f"{table.path}: {key} cannot be given: each row is a reading, with time, asset and channel"
            raise DataError(msg)
    is_replayed = set(_REPLAYED) <= set(table.names)
    asset, channel, times, values, is_used = (_replayed if is_replayed else _stored)(table, section)
    is_used &= np.isfinite(values)
    there = sorted(set(channel.tolist()))
    chosen = _channels(table, section, there)
    machines = []
    for unit in dict.fromkeys(asset.tolist()):
        mine = np.flatnonzero((asset == unit) & is_used)
        mine = mine[np.argsort(times[mine], kind="stable")]
        position = np.full(len(mine), -1)
        for at, name in enumerate(chosen):
            position[channel[mine] == name] = at
        mine, position = mine[position >= 0], position[position >= 0]
        lacking = [name for at, name in enumerate(chosen) if not (position == at).any()]
        if lacking:
            msg = f"{table.path}: asset {unit} has no usable reading of {', '.join(lacking)}; leave it or them out"
            raise DataError(msg)
        machines.append(Machine(unit, chosen, Readings(position, times[mine], values[mine])))
    return Read(chosen, tuple(machines), True, table.rows, refused=int((~is_used).sum()))


Texts = NDArray[np.str_]
Flags = NDArray[np.bool_]


def _stored(table: Columns, section: DataSection) -> tuple[Texts, Texts, Ints, Floats, Flags]:
    """Columns time or time_ns, asset, channel, value; site, denoised and quality where they are there."""
    values = table.numbers("value")
    if section.field == "denoised" and "denoised" in table.names:
        values = _denoised(values, table.numbers("denoised"))
    asset = np.array(table.texts("asset"))
    if "site" in table.names and len(set(table.texts("site"))) > 1:
        asset = np.array([f"{site}/{name}" for site, name in zip(table.texts("site"), asset, strict=True)])
    is_used = np.ones(table.rows, np.bool_)
    if "quality" in table.names:
        is_used = _is_used(np.nan_to_num(table.numbers("quality")))
    time = next(name for name in _TIMES if name in table.names)
    return asset, np.array(table.texts("channel")), times_ns(table, time, section.time_unit), values, is_used


def _replayed(table: Columns, section: DataSection) -> tuple[Texts, Texts, Ints, Floats, Flags]:
    """Columns measurement, time_ns, asset, name, field, value: a row a field, in batches field by field."""
    is_reading = np.array(table.texts("measurement")) == "reading"
    field = np.array(table.texts("field"))
    # The fields of a reading stand at the same place of their own rows.
    at = {name: np.flatnonzero(is_reading & (field == name)) for name in ("value", "denoised", "quality")}
    if not len(at["value"]) or len({len(rows) for rows in at.values()}) > 1:
        msg = f"{table.path}: no readings with value, denoised and quality; is it what `edge replay --out` wrote?"
        raise DataError(msg)
    numbers = table.numbers("value")
    values = numbers[at["value"]]
    if section.field == "denoised":
        values = _denoised(values, numbers[at["denoised"]])
    asset, name = (np.array(table.texts(column))[at["value"]] for column in ("asset", "name"))
    return asset, name, times_ns(table, "time_ns", "ns")[at["value"]], values, _is_used(numbers[at["quality"]])


def _denoised(values: Floats, denoised: Floats) -> Floats:
    """Where a reading has no denoised value, no live model sees it; files of before the filters have none at all."""
    return values if np.isnan(denoised).all() else denoised


def _is_used(quality: Floats) -> Flags:
    """The live alignment sets aside what is bad, and what comes after its cell was closed."""
    used: Flags = (quality < BAD_FROM) & (quality != Quality.UNCERTAIN_LATE)
    return used


def _channels(table: Columns, section: DataSection, there: Sequence[str]) -> tuple[str, ...]:
    for name in (*section.columns, *section.exclude, *section.settings):
        if name not in there:
            msg = f"{table.path}: no channel {name!r}; there are {', '.join(there)}"
            raise DataError(msg)
    chosen = section.columns or tuple(n for n in there if n not in section.exclude)
    return (*section.settings, *(name for name in chosen if name not in section.settings))
