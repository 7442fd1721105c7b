"""What a report knows, in numbers: no words, no order of pages. Times are ns since 1970; NaN or None = not known."""

from dataclasses import dataclass
from typing import Literal

AssetKey = tuple[str, str]  # site, asset
State = Literal["alarm", "look", "ok", "silent", "not judged"]
Curve = tuple[float, ...]  # one value an interval of the report, NaN = none


@dataclass(frozen=True)
class Forecast:
    """Remaining life from the report's end on. `low_h` and `high_h` enclose 80 %, `basis` says whose they are."""

    rul_h: float
    low_h: float
    high_h: float
    basis: Literal["the model's interval", "spread of the forecasts", "one forecast"]


@dataclass(frozen=True)
class Moved:
    """A channel whose recent means lie elsewhere than in the span before."""

    channel: str
    before: float  # median of the interval means
    now: float
    sigmas: float  # robust; inf = it never moved before


@dataclass(frozen=True)
class Asset:
    """One machine, over all its models: the worst of them counts."""

    site: str
    name: str
    state: State
    risk: float  # 0 to 1
    reason: str  # what made the risk
    health: float  # 0 to 100, newest
    health_curve: Curve
    anomaly: float  # newest
    anomaly_peak: float
    anomaly_peak_ns: int
    anomaly_curve: Curve
    failure_prob: float
    forecast: Forecast | None
    judged_ns: int  # begin of the last interval with a judgement; 0 = none
    moved: tuple[Moved, ...] = ()

    @property
    def key(self) -> AssetKey:
        """Site and name."""
        return self.site, self.name


@dataclass(frozen=True)
class Alarm:
    """All spans of one alarm (site, asset, code) that touch the report's; of the newest: begin, end and message."""

    site: str
    asset: str
    code: str
    is_open: bool
    times: int
    begin_ns: int  # 0 = before everything that is stored
    end_ns: int  # 0 = still open
    total_s: float  # all spans together, within the report's span
    severity: float  # the highest
    message: str


@dataclass(frozen=True)
class ChannelQuality:
    """Readings of one channel that are not good, by reason."""

    site: str
    asset: str
    channel: str
    readings: int
    reasons: tuple[tuple[str, float], ...]  # label, share of the readings; the largest first

    @property
    def bad_share(self) -> float:
        """Readings that no model used."""
        return sum(share for reason, share in self.reasons if reason.startswith("bad"))


@dataclass(frozen=True)
class Gap:
    """A stretch without any reading, of one or more channels of an asset."""

    site: str
    asset: str
    channels: tuple[str, ...]
    of: int  # channels of the asset
    begin_ns: int
    end_ns: int
    is_over: bool


@dataclass(frozen=True)
class Gateway:
    """What a gateway last said of itself."""

    site: str
    name: str
    last_ns: int
    is_silent: bool
    lag_s: float  # age of the oldest datum that is on the gateway only
    backlog_batches: float
    counts: tuple[tuple[str, float], ...]  # what went wrong within the span, in words, and how often
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class ModelInUse:
    """One version of a model, and how many assets it judged."""

    name: str
    version: str
    assets: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True)
class Work:
    """What the plan says of one asset. `begin_ns` 0 = it stays undone."""

    site: str
    asset: str
    begin_ns: int
    crew: str
    hours: float
    cost: float  # expected, of what the plan says
    undone: float  # expected, of leaving it
    failure_prob: float  # until the horizon
    basis: str  # where the probability comes from
    why: str


@dataclass(frozen=True)
class MaintenancePlan:
    """Work in the order of time, then what stays undone by what it may cost."""

    work: tuple[Work, ...]
    unplanned: tuple[tuple[str, str, str], ...]  # site, asset, why nothing can be said of it
    without_costs: int  # assets that no rule of the configuration fits
    cost: float
    undone: float  # expected cost of doing nothing
    gap: float  # how much a better plan might save; 0 = there is none
    horizon_h: float
    currency: str


@dataclass(frozen=True)
class Report:
    """One shift. Assets come worst first."""

    since_ns: int
    until_ns: int
    every_ns: int
    assets: tuple[Asset, ...]
    alarms: tuple[Alarm, ...]
    qualities: tuple[ChannelQuality, ...]
    gaps: tuple[Gap, ...]
    gateways: tuple[Gateway, ...]
    models: tuple[ModelInUse, ...]
    plan: MaintenancePlan | None
