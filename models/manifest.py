"""What a bundle says of its model: `manifest.json`.

It says what goes into the graph, what comes out, where the alarm limits lie, what the model was made from,
and the SHA-256 of every part of the bundle. Whoever trusts these bytes trusts the whole bundle.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

MODEL = "model.onnx"
MAX_WINDOW_VALUES = 1 << 22  # of one window, frames times columns: 16 MiB as float32
MAX_STATE = 1 << 20  # values a model may carry from window to window: 4 MiB for each asset
RESERVED = {"manifest.json", "signature.json"}  # these two stand for the bundle itself
PART_NAME = r"^(model\.onnx|[a-z][a-z0-9_-]{0,31}\.(csv|html|json|md|png|svg|toml|txt))$"

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PartName = Annotated[str, Field(pattern=PART_NAME)]
# One value a window.
Scalar = Literal["anomaly_score", "failure_prob", "health", "rul_h", "rul_low_h", "rul_high_h", "quality_score"]
# One value a channel. `direction`: which way to move the channel so that quality rises, -1 to 1.
PerChannel = Literal["contribution", "direction"]
Output = Scalar | PerChannel
PER_CHANNEL: tuple[PerChannel, ...] = ("contribution", "direction")


class BundleError(ValueError):
    """The file is no bundle that can be trusted to run; the text says what is wrong. Do not try again."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Channel(_Strict):
    """One input channel; the order of channels is the order of the model's last axis."""

    name: str
    unit: str = ""


class Threshold(_Strict):
    """When the alarm opens and closes on one output. `above`: high values are bad; else low values are."""

    output: Scalar
    open_at: float
    close_at: float
    above: bool = True
    open_after: Count = Field(1, description="scored windows in a row beyond open_at before the alarm opens")
    close_after: Count = Field(1, description="scored windows in a row back at close_at before it closes")
    evidence: int = Field(1, ge=1, description="of the last evidence_windows so many are scored when the alarm opens")
    evidence_windows: int = Field(1, ge=1, le=1000)
    blind_after: Count = Field(60, description="unscored windows in a row after which an open alarm says so")
    severity: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _hysteresis(self) -> "Threshold":
        if (self.close_at > self.open_at) if self.above else (self.close_at < self.open_at):
            side = "below" if self.above else "above"
            msg = f"close_at {self.close_at} must lie {side} open_at {self.open_at}, or be equal"
            raise ValueError(msg)
        if self.evidence > self.evidence_windows:
            msg = f"evidence {self.evidence} is more than there are in evidence_windows {self.evidence_windows}"
            raise ValueError(msg)
        return self


class Manifest(_Strict):
    """What a model is. The graph takes `window`: float32 [batch, window, width], oldest frame first.

    `width` is the number of channels. With a mask it is twice that: the values, 0 where one is missing; then for
    each channel 1 where its value is present, else 0. A model with `state` also takes `state` and gives `state_next`,
    both float32 [batch, state]: what it carries from one window of an asset to the next, zeros at first.
    """

    format: Literal[1] = 1
    name: Name
    version: Name
    kind: Literal["anomaly", "failure", "quality"]
    channels: Annotated[tuple[Channel, ...], FailFast()] = Field(min_length=1)
    sample_period_s: float = Field(ge=0.001, le=86_400, description="the grid the channels are aligned to")
    window: int = Field(ge=1, description="frames per window")
    stride: int = Field(1, ge=1, le=1 << 31, description="frames from one window to the next")
    missing: Literal["abstain", "mask"] = Field(
        "abstain", description="a window with a missing value is not scored; or the graph is told by a mask"
    )
    state: int = Field(0, ge=0, le=MAX_STATE, description="values carried from window to window; 0: none")
    outputs: tuple[Output, ...] = Field(
        min_length=1, description="graph outputs, float32 [batch, 1]; contribution and direction are [batch, channels]"
    )
    threshold: Threshold
    health_windows: float = Field(10.0, ge=0, description="time constant of the published health; 0: as it comes")
    trained_on: str
    evaluation: dict[str, float] = {}
    parts: dict[PartName, Sha256] = Field(
        default={}, description="SHA-256 of every other part of the bundle but its signature; filled in when packed"
    )

    @property
    def width(self) -> int:
        """Columns of the graph's input."""
        return len(self.channels) * (2 if self.missing == "mask" else 1)

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        for what, names in (("channels", [channel.name for channel in self.channels]), ("outputs", self.outputs)):
            if len(set(names)) < len(names):
                msg = f"{what}: a name stands twice in {list(names)}"
                raise ValueError(msg)
        if self.threshold.output not in self.outputs:
            msg = f"threshold.output {self.threshold.output!r} is not among the outputs {list(self.outputs)}"
            raise ValueError(msg)
        if self.window * self.width > MAX_WINDOW_VALUES:
            msg = f"window: {self.window} frames of {self.width} columns are more than {MAX_WINDOW_VALUES} values"
            raise ValueError(msg)
        if reserved := RESERVED & set(self.parts):
            msg = f"parts: {sorted(reserved)} are not for other parts"
            raise ValueError(msg)
        return self
