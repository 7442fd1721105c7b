"""From files to runs of frames."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.contract.topics import is_channel_name
from models.manifest import Channel
from models.training.data import wide
from models.training.data.frames import Data, Run, Source, whole
from models.training.data.grid import Stretch, align
from models.training.data.long import is_long, read_long
from models.training.data.section import DataSection
from models.training.data.tables import Machine, Read
from models.training.data.times import check_period, found_period_s
from models.training.table import Columns, DataError, TextColumns

_FALLBACK_PERIOD_S = 1.0  # of a file without times
_CYCLE_S = 3600.0  # one cycle counts as one hour, so that remaining lives in hours are cycles
_CMAPSS = ("unit", "cycle", "setting1", "setting2", "setting3", *(f"s{n}" for n in range(1, 22)))


def read_data(
    paths: Sequence[Path], section: DataSection, advance: Callable[[int, int], None] = lambda _done, _of: None
) -> Data:
    """Read files of one layout. `advance` counts files.

    Raises:
        DataError: a file that cannot be read, a name that is not there, a period that the times contradict, other
            channels than in the first file, or no whole frame; names the file and the cure.
    """
    section, reads = _with_layout(section), []
    for done, path in enumerate(paths):
        advance(done, len(paths))
        reads.append(_read(path, section))
    advance(len(paths), len(paths))
    channels = reads[0].channels
    for path, read in zip(paths, reads, strict=True):
        if read.channels != channels:
            msg = f"{path}: channels {', '.join(read.channels)}, but {paths[0]} has {', '.join(channels)}"
            raise DataError(msg)
    _check_names(section, channels)
    period_s = section.sample_period_s or _found(reads) or _FALLBACK_PERIOD_S
    has_times = all(read.has_times for read in reads)
    runs, notes = _runs(paths, reads, section, period_s)
    if not runs:
        msg = f"{paths[0]}: no frame in which every channel has a value; the channels are {', '.join(channels)}"
        raise DataError(msg)
    if words := dict.fromkeys(name for read in reads for name in read.words):
        notes = (f"columns without numbers: {', '.join(words)}", *notes)
    if not has_times:
        notes = (f"no times: each row counts as {period_s:g} s", *notes)
    sources = tuple(Source(path.name, _sha256(path), read.rows) for path, read in zip(paths, reads, strict=True))
    named = tuple(Channel(name=name, unit=section.units.get(name, "")) for name in channels)
    return Data(named, len(section.settings), runs, period_s, has_times, sources, notes)


def _with_layout(section: DataSection) -> DataSection:
    if section.layout != "cmapss":
        return section
    fixed: dict[str, Any] = {"separator": " ", "unit_column": "unit", "time_column": "cycle", "time_unit": "h"}
    fixed |= {"settings": _CMAPSS[2:5], "sample_period_s": section.sample_period_s or _CYCLE_S}
    return section.model_copy(update=fixed)


def open_columns(path: Path, section: DataSection) -> Columns:
    """A file by its suffix. Raises DataError, ModuleNotFoundError (polars)."""
    if path.suffix.lower() == ".parquet":
        from models.training.data.parquet import ParquetColumns  # noqa: PLC0415 - polars only where it is needed

        return ParquetColumns(path)
    return TextColumns(path, section.separator, _CMAPSS if section.layout == "cmapss" else None)


def _read(path: Path, section: DataSection) -> Read:
    table = open_columns(path, section)
    return read_long(table, section) if is_long(table) else wide.read_wide(table, section)


def _found(reads: Sequence[Read]) -> float | None:
    times = [each for read in reads for machine in read.machines for each in machine.times().values()]
    found = found_period_s(times) if all(read.has_times for read in reads) else None
    return None if found is None else float(f"{found:.3g}")


class _Cut(NamedTuple):
    runs: list[Run]
    missing: int
    gaps: int


def _runs(
    paths: Sequence[Path], reads: Sequence[Read], section: DataSection, period_s: float
) -> tuple[tuple[Run, ...], tuple[str, ...]]:
    runs: list[Run] = []
    missing = gaps = refused = 0
    for path, read in zip(paths, reads, strict=True):
        refused += read.refused
        for machine in read.machines:
            if read.has_times:
                times = machine.times()
                inputs = {name: times[name] for name in read.channels if name in times}
                check_period(str(path), inputs, period_s, section.hold_s, thin=section.thin)
            cut = _cut(read, machine, section, period_s)
            runs += cut.runs
            missing, gaps = missing + cut.missing, gaps + cut.gaps
    notes = []
    if refused:
        notes.append(f"{refused:,} readings of bad quality, late or without a number left out")
    if gaps:
        notes.append(f"{gaps:,} gaps, at which runs are cut; {missing:,} frames lack a value and are left out")
    return tuple(runs), tuple(notes)


def _cut(read: Read, machine: Machine, section: DataSection, period_s: float) -> _Cut:
    inputs = len(read.channels)
    holds = [section.hold_s] * (inputs + read.has_label) + [0.0] * read.has_target
    stretches: Iterator[Stretch]
    if read.has_times:
        stretches = align(machine.readings, holds, period_s)
    else:
        rows = machine.table
        stretches = iter([Stretch(np.round(np.arange(len(rows)) * period_s * 1e9).astype(np.int64), rows)])
    runs: list[Run] = []
    missing = 0
    for stretch in stretches:
        found = list(whole(machine.unit, stretch, inputs, has_label=read.has_label, has_target=read.has_target))
        missing += len(stretch.values) - sum(map(len, found))
        runs += found
    return _Cut(runs, missing, max(len(runs) - 1, 0))


def _check_names(section: DataSection, channels: Sequence[str]) -> None:
    for name in channels:
        if not is_channel_name(name):
            msg = f"column {name!r} is no name of a channel: 1 to 500 characters that can be printed are allowed"
            raise DataError(msg)
    for name in section.units:
        if name not in channels:
            msg = f"data.units: {name!r} is no input; there are {', '.join(channels)}"
            raise DataError(msg)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
