"""Results of the pipeline, collected into the contract's batch."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.readings import ChannelKey
from models.contract.batch import Alarm, Batch, Inferences, Readings, pack
from models.contract.schema import MEASUREMENTS


class Results:
    """Rows in the order in which they came; one object a batch."""

    def __init__(self) -> None:
        self._channels: Sequence[ChannelKey] = []
        self._readings: list[tuple[NDArray[np.generic], ...]] = []
        self._assets: Sequence[str] = []
        self._models: dict[tuple[str, str], int] = {}
        self._scored: list[tuple[NDArray[np.generic], ...]] = []
        self.alarms: list[Alarm] = []
        self.rows = 0

    def add_readings(
        self,
        channels: Sequence[ChannelKey],
        ids: NDArray[np.intp],
        time_ns: NDArray[np.int64],
        value: NDArray[np.float64],
        denoised: NDArray[np.float64],
        quality: NDArray[np.uint8],
    ) -> None:
        """N readings; ids [n] are positions in `channels`, a list that only ever grows."""
        self._channels = channels
        self._readings.append((ids, time_ns, value, denoised, quality))
        self.rows += len(ids)

    def add_scores(
        self,
        assets: Sequence[str],
        ids: NDArray[np.intp],
        model: str,
        version: str,
        time_ns: NDArray[np.int64],
        fields: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """N scored windows of one model; ids [n] are positions in `assets`, a list that only ever grows."""
        self._assets = assets
        number = self._models.setdefault((model, version), len(self._models))
        nothing = np.full(len(ids), np.nan)
        columns = (fields.get(name, nothing) for name in MEASUREMENTS["inference"].floats)
        self._scored.append((np.full(len(ids), number), ids, time_ns, *columns))
        self.rows += len(ids)

    def add_alarms(self, changes: list[Alarm]) -> None:
        """Openings, changes and closings."""
        self.alarms += changes
        self.rows += len(changes)

    @property
    def opened(self) -> int:
        """Alarms that open here; what else is said of an open one shares its id, which names when it opened."""
        return sum(alarm.is_open and alarm.id.endswith(f"/{alarm.time_ns}") for alarm in self.alarms)

    def batch(self, site: str, gateway: str, epoch: str, seq: int) -> Batch:
        """All of it as one batch; columns that no model fills are left out."""
        batch = Batch(site=site, gateway=gateway, epoch=epoch, seq=seq, alarms=self.alarms)
        if self._readings:
            ids, time_ns, value, denoised, quality = map(np.concatenate, zip(*self._readings, strict=True))
            used, index = np.unique(ids, return_inverse=True)
            batch.readings = Readings(
                series=[self._channels[i] for i in used.tolist()],
                index=pack(index, "<i4"),
                time_ns=pack(time_ns, "<i8"),
                value=pack(value),
                denoised=pack(denoised),
                quality=pack(quality, "u1"),
            )
        if self._scored:
            model, asset, time_ns, *columns = map(np.concatenate, zip(*self._scored, strict=True))
            count, models = len(self._assets), list(self._models)
            used, index = np.unique(model * count + asset, return_inverse=True)
            names = MEASUREMENTS["inference"].floats
            fields = {name: pack(c) for name, c in zip(names, columns, strict=True) if not np.isnan(c).all()}
            batch.inferences = Inferences(
                series=[(self._assets[key % count], *models[key // count]) for key in used.tolist()],
                index=pack(index, "<i4"),
                time_ns=pack(time_ns, "<i8"),
                fields=fields,
            )
        return batch
