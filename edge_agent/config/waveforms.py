"""Waveforms: how each is denoised, and which features are taken of it."""

import tomllib
from functools import cache
from importlib.resources import files
from itertools import pairwise
from math import cos, radians
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from edge_agent.config.base import Name, Strict
from edge_agent.core.features import WAVEFORM_FEATURES

Band = tuple[Annotated[float, Field(ge=0)], PositiveFloat]
FAULTS = ("bpfo", "bpfi", "bsf", "ftf")
# Settings that some features need and the others have no use for, and how one gives them.
_NEEDED = {
    "bands_hz": "bands_hz",
    "unit": "unit",
    "zone_edges_mm_s": "zones or zone_edges_mm_s",
    "bearing": "bearing",
}


class Butterworth(Strict):
    """The words of the filter for readings, but of whole waveforms: without phase, and so without delay."""

    filter: Literal["butterworth"]
    kind: Literal["lowpass", "highpass", "bandpass"] = "lowpass"
    cutoff_hz: PositiveFloat | tuple[PositiveFloat, PositiveFloat] = Field(
        description="Hz, where 71 % of the amplitude passes; of a bandpass [low, high]"
    )
    order: int = Field(4, ge=1, le=8, description="each adds 20 dB a decade outside the band")

    @model_validator(mode="after")
    def _possible(self) -> "Butterworth":
        if isinstance(self.cutoff_hz, tuple) != (self.kind == "bandpass"):
            msg = "cutoff_hz: a bandpass takes [low, high], lowpass and highpass take one number"
            raise ValueError(msg)
        if isinstance(self.cutoff_hz, tuple):
            _rising("cutoff_hz", self.cutoff_hz)
        return self

    @property
    def edges_hz(self) -> tuple[float | None, float | None]:
        """The lower and the upper edge of what passes; None = there is none."""
        if isinstance(self.cutoff_hz, tuple):
            return self.cutoff_hz
        return (None, self.cutoff_hz) if self.kind == "lowpass" else (self.cutoff_hz, None)


class Wavelet(Strict):
    """Wavelet shrinkage: coefficients that noise alone could have made are taken away."""

    filter: Literal["wavelet"]
    wavelet: Literal["haar", "db2", "db4", "db8", "sym4", "sym8", "coif2"] = "db4"
    levels: int | None = Field(None, ge=1, le=16, description="none = as many as the length allows")
    threshold: Literal["soft", "hard"] = "soft"
    noise: Literal["white", "coloured"] = Field(
        "white", description="white: one level for all, from the finest scale; coloured: each scale its own"
    )


class Bearing(Strict):
    """A rolling bearing by its geometry, or by its fault orders: frequency over the shaft's. The outer race stands."""

    balls: int | None = Field(None, ge=3, le=200)
    ball_diameter_mm: PositiveFloat | None = None
    pitch_diameter_mm: PositiveFloat | None = None
    contact_angle_deg: float = Field(0.0, ge=0, lt=90)
    bpfo: PositiveFloat | None = None
    bpfi: PositiveFloat | None = None
    bsf: PositiveFloat | None = None
    ftf: PositiveFloat | None = None
    harmonics: int = Field(3, ge=1, le=20, description="of each fault frequency, added up")
    tolerance: float = Field(0.01, ge=0, le=0.1, description="relative; slip moves fault frequencies by 1 to 2 %")
    envelope_hz: Band | None = Field(None, description="band that rings; none = from 1/8 to 3/8 of the sample rate")

    @model_validator(mode="after")
    def _possible(self) -> "Bearing":
        geometry = (self.balls, self.ball_diameter_mm, self.pitch_diameter_mm)
        has_orders = any(getattr(self, name) is not None for name in FAULTS)
        if has_orders == any(part is not None for part in geometry) or (not has_orders and None in geometry):
            msg = (
                "a bearing needs either balls, ball_diameter_mm and pitch_diameter_mm,"
                f" or its fault orders ({', '.join(FAULTS)})"
            )
            raise ValueError(msg)
        if self.ball_diameter_mm is not None and self.pitch_diameter_mm is not None:
            _rising("ball_diameter_mm and pitch_diameter_mm", (self.ball_diameter_mm, self.pitch_diameter_mm))
        if self.envelope_hz is not None:
            _rising("envelope_hz", self.envelope_hz)
            if not self.envelope_hz[0]:
                msg = "envelope_hz: the lower edge must lie above 0"
                raise ValueError(msg)
        return self

    @property
    def fault_orders(self) -> dict[str, float]:
        """By name, those that are known."""
        if self.balls is None or self.ball_diameter_mm is None or self.pitch_diameter_mm is None:
            declared = {name: getattr(self, name) for name in FAULTS}
            return {name: order for name, order in declared.items() if order is not None}
        size = self.ball_diameter_mm / self.pitch_diameter_mm
        slant = size * cos(radians(self.contact_angle_deg))
        orders = (
            self.balls * (1 - slant) / 2,
            self.balls * (1 + slant) / 2,
            (1 - slant**2) / size / 2,
            (1 - slant) / 2,
        )
        return dict(zip(FAULTS, orders, strict=True))


class WaveformRule(Strict):
    """What is made of the waveforms of a channel `v`: the readings `v.rms`, …, as `features` names them."""

    features: tuple[str, ...] = Field(("rms", "crest", "kurtosis"), min_length=1)
    denoise: tuple[Annotated[Butterworth | Wavelet, Field(discriminator="filter")], ...] = ()
    bands_hz: dict[Name, Band] = Field({}, description="for bands: name -> edges; gives v.bands.NAME")
    peak_count: int = Field(3, ge=1, le=20, description="for peaks: how many; gives v.peaks.1_hz, v.peaks.1, …")
    unit: Literal["g", "m/s2"] | None = Field(None, description="of the samples, for velocity_rms and zone")
    zones: str | None = Field(None, description="for zone: a name of the table iso20816.toml")
    zone_edges_mm_s: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="for zone: A|B, B|C, C|D; hold instead of those that `zones` names"
    )
    bearing: Bearing | None = Field(None, description="for bpfo, bpfi, bsf and ftf")
    speed_rpm: PositiveFloat | None = Field(None, description="of the bearing's shaft, when it is always the same")
    speed_channel: str | None = Field(None, min_length=1, description="channel of the same asset that has it in rpm")

    @model_validator(mode="before")
    @classmethod
    def _edges_by_name(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        # Edges stand in the configuration itself, for it is journalled: another table must not change a replay.
        if isinstance(data, dict) and data.get("zones") is not None and data.get("zone_edges_mm_s") is None:
            table = zone_table()
            if data["zones"] not in table:
                msg = f"zones {data['zones']!r} is not in the table; there are {', '.join(table)}"
                raise ValueError(msg)
            return data | {"zone_edges_mm_s": table[data["zones"]]}
        return data

    @model_validator(mode="after")
    def _possible(self) -> "WaveformRule":
        unknown = [name for name in self.features if name not in WAVEFORM_FEATURES]
        if unknown:
            msg = f"features {', '.join(unknown)}: not known; there are {', '.join(WAVEFORM_FEATURES)}"
            raise ValueError(msg)
        if len(set(self.features)) < len(self.features):
            msg = f"features {list(self.features)}: each may stand there once"
            raise ValueError(msg)
        for name, band in self.bands_hz.items():
            _rising(f"bands_hz.{name}", band)
        if self.zone_edges_mm_s is not None:
            _rising("zone_edges_mm_s", self.zone_edges_mm_s)
        return self

    @model_validator(mode="after")
    def _complete(self) -> "WaveformRule":
        needed = {setting: name for name in self.features for setting in WAVEFORM_FEATURES[name].needs}
        for setting, how in _NEEDED.items():
            if setting in needed and not getattr(self, setting):
                msg = f"features: {needed[setting]} needs {how}"
                raise ValueError(msg)
            if setting not in needed and getattr(self, setting):
                msg = f"{how} is given, but used by none of the features {', '.join(self.features)}"
                raise ValueError(msg)
        if (self.speed_rpm is not None) + (self.speed_channel is not None) != (self.bearing is not None):
            msg = "a bearing needs its speed, and only a bearing: either speed_rpm or speed_channel"
            raise ValueError(msg)
        if self.bearing is not None:
            missing = [name for name in self.features if name in FAULTS and name not in self.bearing.fault_orders]
            if missing:
                msg = f"features: {', '.join(missing)} needs an order of that name in bearing"
                raise ValueError(msg)
        return self


@cache
def zone_table() -> dict[str, tuple[float, float, float]]:
    """Zone edges by name, mm/s, from the table that lies beside the features."""
    text = (files("edge_agent.core.features") / "iso20816.toml").read_text(encoding="utf-8")
    return {name: tuple(entry["edges_mm_s"]) for name, entry in tomllib.loads(text).items()}


def _rising(what: str, values: tuple[float, ...]) -> None:
    if any(low >= high for low, high in pairwise(values)):
        msg = f"{what} {list(values)}: each must lie above the one before"
        raise ValueError(msg)
