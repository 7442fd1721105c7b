"""The zoo: one small anomaly bundle for each kind of machine of a plant."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from models.bundle import Channel
from models.training.pca import Floats, fit_pca
from models.training.pca_export import write_pca_bundle
from models.training.table import DataError

WINDOW = 10  # frames
MARGIN = 2.0  # on the squared distance; a simulated plant has no seasons that the run could have missed
MAX_BYTES = 1_000_000  # a bundle of the zoo travels inside the package


class HealthyRun(NamedTuple):
    """Frames [n, channels] of a machine that is well, in the units of its channels, oldest first."""

    channels: tuple[Channel, ...]
    frames: Floats
    sample_period_s: float


def build_zoo(directory: Path, machines: Mapping[str, HealthyRun], *, version: str = "1") -> list[Path]:
    """Fit and write `<kind>.bundle` for each kind; the same runs give the same bytes.

    Raises:
        DataError: a run cannot be learnt from, or its bundle is larger than `MAX_BYTES`; names the kind.
    """
    written = []
    for kind, run in sorted(machines.items()):
        path = directory / f"{kind}.bundle"
        try:
            # A long healthy run tells the narrow directions well, and a sensor that sticks shows in these alone:
            # so all are kept, each weighed by its own variance (T² is then the Mahalanobis distance).
            model = fit_pca(run.frames, window=WINDOW, explained=1.0, margin=MARGIN)
        except DataError as error:
            msg = f"{kind}: {error}"
            raise DataError(msg) from error
        write_pca_bundle(
            path,
            model,
            run.frames,
            run.channels,
            name=f"{kind}-anomaly",
            version=version,
            sample_period_s=run.sample_period_s,
            trained_on=f"{len(run.frames)} healthy frames of the simulated {kind}",
        )
        if path.stat().st_size > MAX_BYTES:
            path.unlink()
            msg = f"{kind}: the bundle is larger than {MAX_BYTES} bytes: too many channels"
            raise DataError(msg)
        written.append(path)
    return written
