"""The edge agent's configuration: one TOML file, checked whole before anything is connected.

Unknown keys are refused, units stand in the names, secrets come from files or the environment. What a
running agent can take over on SIGHUP is everything but the keys of `NEEDS_RESTART`.
"""

import os
import ssl
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from edge_agent.core.topics import TemplateError, TopicTemplate
from models.contract.config_errors import load_toml
from models.contract.topics import NAME_PATTERN

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]
SampleType = Literal[
    "<i1", "<i2", "<i4", "<u1", "<u2", "<u4", "<f4", "<f8", ">i1", ">i2", ">i4", ">u1", ">u2", ">u4", ">f4", ">f8"
]
Level = Literal["debug", "info", "warning", "error"]

# Changing these under a running agent would move its data or its identity, or is not worth the trouble.
NEEDS_RESTART = (
    "site",
    "gateway",
    "state_dir",
    "sensor_broker",
    "uplink",
    "journal",
    "outbox.max_bytes",
    "outbox.when_full",
    "limits.deadletters",
    "limits.unacked_bytes",
    "inference",
    "metrics",
    "log",
)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Strict(BaseModel):
    # No infinity: the configuration is journalled as JSON, which has none.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Broker(_Strict):
    """An MQTT broker. Beyond loopback it needs TLS, unless `allow_plaintext` says otherwise."""

    host: str = "127.0.0.1"
    port: Port = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    allow_plaintext: bool = False
    keepalive_s: int = Field(30, ge=5, le=3600)
    session_expiry_s: int = Field(86_400, ge=60, le=30 * 86_400)

    @model_validator(mode="after")
    def _possible(self) -> "Broker":
        if not self.tls and self.host not in _LOOPBACK and not self.allow_plaintext:
            msg = f"host {self.host!r} is not this machine: set tls = true, or allow_plaintext = true"
            raise ValueError(msg)
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            msg = "ca_file, cert_file and key_file need tls = true"
            raise ValueError(msg)
        if (self.cert_file is None) != (self.key_file is None):
            msg = "cert_file and key_file go together"
            raise ValueError(msg)
        if self.password_file is not None and self.username is None:
            msg = "password_file needs username"
            raise ValueError(msg)
        return self

    def tls_context(self) -> ssl.SSLContext | None:
        """The context of a TLS client; None = no TLS. Raises OSError when a file cannot be read."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def password(self, variable: str) -> SecretStr | None:
        """From the environment variable, else from `password_file`. Raises OSError when the file cannot be read."""
        if variable in os.environ:
            return SecretStr(os.environ[variable])
        return SecretStr(self.password_file.read_text().strip()) if self.password_file else None


class SensorBroker(Broker):
    """The broker to which the sensors publish."""

    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: str = Field("/mqtt", pattern="^/", description="with transport websockets")

    @property
    def is_lean(self) -> bool:
        """Whether the lean link can speak to it; paho speaks to the others, at several times the CPU time."""
        return self.protocol == "5" and self.transport == "tcp"


class UplinkBroker(Broker):
    """The broker between gateways and aggregators: always MQTT 5, for receipts need its request/response."""

    protocol: Literal["5"] = "5"
    keepalive_s: int = Field(15, ge=5, le=3600)  # a dead connection is noticed within twice that
    window_batches: int = Field(16, ge=2, le=1000, description="batches under way without a receipt")
    window_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="the same in bytes")
    receipt_timeout_s: float = Field(10.0, gt=0, description="then a batch is sent again, with back-off")
    backlog_bytes_per_s: int = Field(
        2 * 1024 * 1024, ge=1024, description="how fast a backlog is caught up beside live data"
    )


class Topic(_Strict):
    """Which topics to subscribe to, and what their levels mean: `factory/{line}/{asset}/{channel}`.

    A payload with many channels needs no {channel}; then its keys name them.
    """

    template: str
    format: Literal["json", "msgpack", "cbor", "senml-json", "senml-cbor", "influx-line", "raw"] = "json"
    compression: Literal["none", "gzip", "zstd"] = "none"
    dtype: SampleType | None = Field(None, description="of raw samples, as numpy writes it: byte order, kind, bytes")
    scale: float = 1.0
    offset: float = 0.0
    rate_hz: float | None = Field(None, ge=0.001, le=1e9, description="raw samples a second")

    @model_validator(mode="after")
    def _template(self) -> "Topic":
        try:
            TopicTemplate.parse(self.template)
        except TemplateError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _raw_settings(self) -> "Topic":
        if self.format != "raw":
            if (self.dtype, self.scale, self.offset, self.rate_hz) != (None, 1.0, 0.0, None):
                msg = 'dtype, scale, offset and rate_hz are for format = "raw"'
                raise ValueError(msg)
        elif self.dtype is None or self.rate_hz is None:
            msg = 'format = "raw" needs dtype and rate_hz: its payloads do not say what they are'
            raise ValueError(msg)
        elif "{channel}" not in self.template:
            msg = f'template {self.template!r}: format = "raw" needs {{channel}}: its payloads name none'
            raise ValueError(msg)
        elif not self.scale:
            msg = "scale 0 leaves nothing of the samples"
            raise ValueError(msg)
        return self


class ChannelRule(_Strict):
    """Settings for every channel whose `asset/channel` fits `match` (shell wildcards); the first fitting rule holds."""

    match: str = Field(pattern=r"^[^/]+/[^/]+$")
    unit: str = ""
    kind: Literal["value", "waveform"] = "value"
    range: tuple[float, float] | None = Field(None, description="physical limits; a value outside is marked bad")
    max_rate_per_s: float | None = Field(None, gt=0, description="a faster move is marked; units of the value a second")
    flat_s: float | None = Field(None, gt=0, description="exactly the same for longer, in event time, is marked: stuck")
    hampel_window: int = Field(0, description="readings, the newest included; 0 = no denoising")
    hampel_sigmas: float = Field(3.0, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> "ChannelRule":
        if self.range is not None and not self.range[0] < self.range[1]:
            msg = f"range {list(self.range)}: the lower limit must lie below the upper"
            raise ValueError(msg)
        if self.hampel_window and not 3 <= self.hampel_window <= 99:
            msg = f"hampel_window {self.hampel_window}: allowed are 0 (off) and 3 to 99"
            raise ValueError(msg)
        if self.kind == "waveform" and (self.range or self.hampel_window or self.max_rate_per_s or self.flat_s):
            msg = (
                "a waveform takes no range, max_rate_per_s, flat_s and hampel_window: its features are what is checked"
            )
            raise ValueError(msg)
        return self


class AssetRule(_Strict):
    """Settings for every asset that fits `match`: its grid, its models; the first fitting rule holds."""

    match: str
    period_s: float = Field(1.0, ge=0.001, description="grid to which the asset's channels are aligned")
    hold_s: float = Field(5.0, ge=0, description="how long a value stands in for missing ones")
    lateness_s: float = Field(1.0, ge=0, description="how long a frame waits for late readings")
    idle_s: float = Field(5.0, gt=0, description="silence on the gateway's clock after which open frames are closed")
    models: tuple[Path, ...] = ()


class Journal(_Strict):
    """The ring of recent readings on disk."""

    max_bytes: int = Field(512 * 1024 * 1024, ge=1024 * 1024)
    max_age_s: float = Field(7 * 86_400, gt=0)


class Outbox(_Strict):
    """Results that wait for their receipt."""

    max_bytes: int = Field(1024 * 1024 * 1024, ge=1024 * 1024)
    when_full: Literal["thin", "wait"] = "thin"
    batch_rows: int = Field(5000, ge=1, le=100_000)
    batch_age_s: float = Field(0.02, ge=0, le=60)


class Inference(_Strict):
    """Providers in order of preference; `require` refuses to start without that one."""

    providers: tuple[Literal["cuda", "cpu"], ...] = Field(("cuda", "cpu"), min_length=1)
    require: Literal["cuda", "cpu"] | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Inference":
        if self.require is not None and self.require not in self.providers:
            msg = f"require = {self.require!r} is not among providers {list(self.providers)}"
            raise ValueError(msg)
        return self


class Metrics(_Strict):
    """Where `/metrics` is served; port 0 = not at all."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535)


class Log(_Strict):
    """How the agent speaks to its operator."""

    level: Level = "info"
    format: Literal["json", "console"] = "json"


class Limits(_Strict):
    """What is taken from the sensor side. Beyond it: a dead letter."""

    payload_bytes: int = Field(1024 * 1024, ge=64, description="larger payloads are not even parsed")
    readings_per_message: int = Field(100_000, ge=1)
    earliest_time: int = Field(946_684_800, description="epoch s; earlier event times are refused (2000-01-01)")
    future_s: float = Field(60.0, ge=0, description="how far an event time may lie ahead of the gateway's clock")
    deadletters: int = Field(10_000, ge=0, description="how many are kept for inspection; the oldest go first")
    unacked_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="then reading from the broker pauses")


class EdgeConfig(_Strict):
    """The whole file."""

    site: Name
    gateway: Name
    state_dir: Path
    sensor_broker: SensorBroker = SensorBroker()
    topics: tuple[Topic, ...] = Field(min_length=1)
    channels: tuple[ChannelRule, ...] = Field(min_length=1)
    assets: tuple[AssetRule, ...] = Field(min_length=1)
    uplink: UplinkBroker = UplinkBroker()
    journal: Journal = Journal()
    outbox: Outbox = Outbox()
    inference: Inference = Inference()
    limits: Limits = Limits()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @model_validator(mode="after")
    def _an_entry_fits_the_journal(self) -> "EdgeConfig":
        if self.journal.max_bytes < 4 * self.limits.unacked_bytes:
            msg = "journal.max_bytes must be at least four times limits.unacked_bytes: one commit has to fit"
            raise ValueError(msg)
        return self

    def channel_rule(self, asset: str, channel: str) -> ChannelRule | None:
        """The rule that holds for a channel, or None: the channel is unknown."""
        name = f"{asset}/{channel}"
        return next((rule for rule in self.channels if fnmatchcase(name, rule.match)), None)

    def asset_rule(self, asset: str) -> AssetRule | None:
        """The rule that holds for an asset, or None: it is stored, but not watched by a model."""
        return next((rule for rule in self.assets if fnmatchcase(asset, rule.match)), None)


def load(path: Path) -> EdgeConfig:
    """Read and check the file; relative paths in it are taken from its folder. Raises ConfigError."""
    config = load_toml(path, EdgeConfig)
    base = path.resolve().parent
    assets = tuple(
        rule.model_copy(update={"models": tuple(base / model for model in rule.models)}) for rule in config.assets
    )
    return config.model_copy(update={"assets": assets, "state_dir": base / config.state_dir})
