"""How the rows are checked and kept, and what the process says of itself."""

from typing import Literal

from pydantic import Field, field_validator

from aggregator.config.base import Section


class Validation(Section):
    """What a gateway may send. Beyond it, rows are refused with a reason, or a batch is left to its gateway."""

    max_payload_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)  # compressed
    max_series: int = Field(default=20_000, ge=1)  # of one gateway, since this process began
    future_s: float = Field(default=3600.0, gt=0)  # how far a gateway's clock may be ahead of this machine's


class ReadBack(Section):
    """Now and then a stored row is asked for: a database may say yes and keep nothing."""

    every_s: float = Field(default=60.0, ge=0)  # 0 = never
    within_s: float = Field(default=30.0, gt=0)  # until a row must be there; some databases take their time


class Retention(Section):
    """How long rows are kept; 0 = for ever. What is older than `raw_d` is not taken any more."""

    raw_d: float = Field(default=0, ge=0, le=36_500)  # longer than the longest outage of a gateway
    minutes_d: float = Field(default=0, ge=0, le=36_500)  # one-minute means of the readings

    @field_validator("raw_d", "minutes_d")
    @classmethod
    def _long_enough(cls, days: float) -> float:
        if 0 < days < 1 / 24:
            msg = "no database keeps less than an hour (allowed: 0 = for ever, 1/24 = 0.0417 and more)"
            raise ValueError(msg)
        return days


class Metrics(Section):
    """Where /metrics, /healthz and /readyz are served; port 0 = nowhere."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class Log(Section):
    """What is written to the standard error stream."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"
