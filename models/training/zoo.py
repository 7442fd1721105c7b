"""The zoo: one small anomaly bundle for each kind of machine of a plant."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from models.bundle import Channel
from models.training.anomaly import pca
from models.training.anomaly.base import Floats, raw_of, split_by_time
from models.training.anomaly.calibrate import Budget, calibrate
from models.training.anomaly.export import write_anomaly_bundle
from models.training.table import DataError

# A long healthy run tells the narrow directions well, and a sensor that sticks shows in these alone: so all are
# kept, each weighed by its own variance (T² is then the Mahalanobis distance).
PARAMS = pca.Params(window=10, explained=1.0)
BUDGET = Budget(alarms_per_week=1.0)
HELD_OUT = 0.3
MAX_BYTES = 1_000_000  # a bundle of the zoo travels inside the package


class HealthyRun(NamedTuple):
    """Runs [rows, channels] of machines of one kind that are well, in the units of their channels, oldest first."""

    channels: tuple[Channel, ...]
    runs: tuple[Floats, ...]
    sample_period_s: float


def build_zoo(directory: Path, machines: Mapping[str, HealthyRun], *, version: str = "1") -> list[Path]:
    """Fit and write `<kind>.bundle` for each kind; the same runs give the same bytes.

    Raises:
        DataError: a run cannot be learnt from, or its bundle is larger than `MAX_BYTES`; names the kind.
    """
    return [_build(directory / f"{kind}.bundle", kind, run, version) for kind, run in sorted(machines.items())]


def _build(path: Path, kind: str, machine: HealthyRun, version: str) -> Path:
    try:
        fitted, held_out = split_by_time(machine.runs, HELD_OUT)
        model = pca.fit(fitted, PARAMS)
        scores = [raw_of(model, run)[0] for run in held_out]
        calibration = calibrate(scores, BUDGET, sample_period_s=machine.sample_period_s)
    except DataError as error:
        msg = f"{kind}: {error}"
        raise DataError(msg) from error
    write_anomaly_bundle(
        path,
        model,
        calibration,
        machine.channels,
        name=f"{kind}-anomaly",
        version=version,
        sample_period_s=machine.sample_period_s,
        trained_on=f"{sum(map(len, fitted))} healthy frames of the simulated {kind}",
    )
    if path.stat().st_size > MAX_BYTES:
        path.unlink()
        msg = f"{kind}: the bundle is larger than {MAX_BYTES} bytes: too many channels"
        raise DataError(msg)
    return path
