"""Assets: the grid of each, what is derived on it, and the models that watch it."""

from pathlib import Path

from pydantic import Field, model_validator

from edge_agent.config.base import Strict
from edge_agent.core.derive.expression import Expression
from edge_agent.core.derive.kinds import REGIME, is_source
from edge_agent.core.derive.statistics import MAX_FRAMES, MIN_FRAMES, Feature

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
LARGEST = 1e15  # a difference, in whatever unit; squares of it have room in a float
MAX_HELD = 100_000  # frames: so many may close at once when an asset speaks again


class Redundant(Strict):
    """Sensors of one and the same quantity: each is checked against the others, and together they give one value."""

    of: tuple[str, ...] = Field(min_length=2, max_length=64, description="channels of the asset")
    max_difference: float = Field(gt=0, le=LARGEST, description="a member farther from the median of all is left out")
    fused: str | None = Field(None, min_length=1, description="channel of the inverse-variance mean; none = not fused")
    sigmas: tuple[float, ...] = Field((), description="standard deviation of each member; none = learnt")

    @model_validator(mode="after")
    def _possible(self) -> "Redundant":
        if len(set(self.of)) < len(self.of):
            msg = f"of: a channel stands twice in {list(self.of)}"
            raise ValueError(msg)
        if self.fused in self.of:
            msg = f"fused {self.fused!r} is one of the members: it needs a name of its own"
            raise ValueError(msg)
        if self.sigmas and (len(self.sigmas) != len(self.of) or min(self.sigmas) <= 0):
            msg = f"sigmas {list(self.sigmas)}: one above 0 for each of {list(self.of)}, or none"
            raise ValueError(msg)
        return self


class Derived(Strict):
    """A channel that is computed from others of the asset, in each frame."""

    channel: str = Field(min_length=1)
    unit: str = ""
    expression: str = Field(description="of channels, fused ones, and derived ones that stand before")

    @model_validator(mode="after")
    def _readable(self) -> "Derived":
        Expression(self.expression)
        return self


class Features(Strict):
    """Features of the last frames of a channel: channels named as `temperature.slope_600s`."""

    of: str = Field(min_length=1, description="a channel, fused and derived ones included; or * for each of these")
    window_s: float = Field(gt=0)
    every_s: float = Field(gt=0, le=WEEK_S)
    give: tuple[Feature, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_a_source(self) -> "Features":
        if not is_source(self.of):
            msg = f"of = {self.of!r}: there are no features of features, nor of the regime"
            raise ValueError(msg)
        return self

    def name(self, channel: str, feature: str) -> str:
        """Of the channel that holds the feature."""
        return f"{channel}.{feature}_{self.window_s:g}s"


class Regime(Strict):
    """A way in which the asset operates."""

    name: str = Field(min_length=1)
    when: str = Field(description="condition on channels, derived ones and features included")

    @model_validator(mode="after")
    def _readable(self) -> "Regime":
        Expression(self.when)
        return self


class AssetRule(Strict):
    """Settings for every asset that fits `match`: its grid, its models; the first fitting rule holds."""

    match: str
    period_s: float = Field(1.0, ge=0.001, le=DAY_S, description="grid to which the asset's channels are aligned")
    hold_s: float = Field(5.0, ge=0, le=WEEK_S, description="how long a value stands in for missing ones")
    lateness_s: float = Field(1.0, ge=0, le=WEEK_S, description="how long a frame waits for late readings")
    idle_s: float = Field(
        5.0, gt=0, le=WEEK_S, description="silence on the gateway's clock after which open frames are closed"
    )
    redundant: tuple[Redundant, ...] = ()
    derived: tuple[Derived, ...] = ()
    features: tuple[Features, ...] = ()
    regimes: tuple[Regime, ...] = Field((), description="the first that fits: 1, 2, …; 0 = none of them")
    regime_dwell_s: float = Field(
        0.0, ge=0, le=WEEK_S, description="how long another regime has to fit before it counts"
    )
    models: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> "AssetRule":
        if self.hold_s / self.period_s > MAX_HELD:
            msg = (
                f"hold_s {self.hold_s:g} is {self.hold_s / self.period_s:.0f} frames of period_s {self.period_s:g}; "
                f"allowed are at most {MAX_HELD}"
            )
            raise ValueError(msg)
        for features in self.features:
            frames = round(features.window_s / self.period_s)
            if not MIN_FRAMES <= frames <= MAX_FRAMES:
                msg = (
                    f"features: window_s {features.window_s:g} is {frames} frames of period_s {self.period_s:g}; "
                    f"allowed are {MIN_FRAMES} to {MAX_FRAMES}"
                )
                raise ValueError(msg)
        names = [group.fused for group in self.redundant if group.fused] + [each.channel for each in self.derived]
        of_all = {
            features.name("*", give) for features in self.features if features.of == "*" for give in features.give
        }
        for features in self.features:
            names += [features.name(features.of, give) for give in features.give]
            names += [
                features.name("*", give)
                for give in features.give
                if features.of != "*" and features.name("*", give) in of_all
            ]
        names += [REGIME] if self.regimes else []
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"more than one of fused, derived, features and regimes gives {', '.join(map(repr, twice))}"
            raise ValueError(msg)
        later = {each.channel for each in self.derived}
        for each in self.derived:
            unknown = later.intersection(Expression(each.expression).names)
            if unknown:
                msg = f"derived {each.channel!r}: {', '.join(map(repr, sorted(unknown)))} comes only after it, or is it"
                raise ValueError(msg)
            later.discard(each.channel)
        return self
