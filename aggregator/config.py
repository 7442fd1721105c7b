"""The aggregator's configuration: one TOML file, checked whole before anything is started.

Secrets are never in the file itself: they lie in files of their own or in the environment, and are read when
used, so that a restart is enough to change one.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.contract.config_errors import ConfigError, load_toml

BROKER_PASSWORD = "TOCSIN_BROKER_PASSWORD"  # noqa: S105 - the variable's name, no password
INFLUX_TOKEN = "TOCSIN_INFLUX_TOKEN"  # noqa: S105 - the variable's name, no token

Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Broker(_Section):
    """The uplink broker, to which the gateways publish their batches."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    allow_plaintext: bool = False
    share: str = Field(default="aggregators", pattern=r"^[^/+#\s]+$")
    client_id: str | None = None
    keepalive_s: int = Field(default=10, ge=5, le=3600)  # until then batches go to an aggregator that stands still

    @model_validator(mode="after")
    def _possible(self) -> "Broker":
        has_password = self.password_file is not None or BROKER_PASSWORD in os.environ
        if self.username is not None and not has_password:
            _refuse(f"username is given without a password (allowed: password_file, or the variable {BROKER_PASSWORD})")
        if self.password_file is not None and self.username is None:
            _refuse("password_file is given without username")
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            _refuse("ca_file, cert_file and key_file need tls = true")
        if (self.cert_file is None) != (self.key_file is None):
            _refuse("cert_file and key_file must be given together")
        if self.username is not None and not self.tls:
            _refuse_plaintext(self.host, allowed=self.allow_plaintext, remedy="tls = true")
        _readable(
            password_file=None if BROKER_PASSWORD in os.environ else self.password_file,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )
        return self

    def password(self) -> str | None:
        """From the environment, else from the file. Raises ConfigError when the file cannot be read."""
        return _secret(self.password_file, BROKER_PASSWORD) if self.username is not None else None


class Sqlite(_Section):
    """A file on this machine: nothing to install, readable while it is written."""

    kind: Literal["sqlite"]
    path: Path
    timeout_s: float = Field(default=10.0, gt=0, le=300)


class Influx1(_Section):
    """InfluxDB 1.x and what speaks its /write and /query."""

    kind: Literal["influx1"]
    url: Url
    database: str = Field(min_length=1)
    username: str | None = None
    password_file: Path | None = None
    create_database: bool = True
    ca_file: Path | None = None
    allow_plaintext: bool = False
    timeout_s: float = Field(default=10.0, gt=0, le=300)

    @model_validator(mode="after")
    def _possible(self) -> "Influx1":
        if (self.username is None) != (self.password_file is None):
            _refuse("username and password_file must be given together")
        if self.username is not None:
            _refuse_plain_url(self.url, allowed=self.allow_plaintext)
        _readable(password_file=self.password_file, ca_file=self.ca_file)
        return self

    def password(self) -> str | None:
        """Raises ConfigError when the file cannot be read."""
        return _secret(self.password_file, None)


class Influx2(_Section):
    """InfluxDB 2.x and 3.x through /api/v2/write; read through InfluxQL, which both speak on /query."""

    kind: Literal["influx2"]
    url: Url
    org: str = ""  # 3.x has none
    bucket: str = Field(min_length=1)
    token_file: Path | None = None
    ca_file: Path | None = None
    allow_plaintext: bool = False
    timeout_s: float = Field(default=10.0, gt=0, le=300)

    @model_validator(mode="after")
    def _possible(self) -> "Influx2":
        if self.token_file is not None or INFLUX_TOKEN in os.environ:
            _refuse_plain_url(self.url, allowed=self.allow_plaintext)
        _readable(token_file=None if INFLUX_TOKEN in os.environ else self.token_file, ca_file=self.ca_file)
        return self

    def token(self) -> str | None:
        """From the environment, else from the file. Raises ConfigError when the file cannot be read."""
        return _secret(self.token_file, INFLUX_TOKEN)


StoreConfig = Annotated[Sqlite | Influx1 | Influx2, Field(discriminator="kind")]


class Metrics(_Section):
    """Where Prometheus finds /metrics; port 0 = nowhere."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class Log(_Section):
    """What is written to the standard error stream."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"


class AggregatorConfig(_Section):
    """The whole file."""

    broker: Broker = Field(default_factory=Broker)
    store: StoreConfig
    metrics: Metrics = Field(default_factory=Metrics)
    log: Log = Field(default_factory=Log)


def load(path: Path) -> AggregatorConfig:
    """The checked configuration. Raises ConfigError with one line a fault."""
    config = load_toml(path, AggregatorConfig)
    if isinstance(config.store, Sqlite):  # as in the agent's file, a path counts from the file's folder
        store = config.store.model_copy(update={"path": path.resolve().parent / config.store.path})
        return config.model_copy(update={"store": store})
    return config


def _secret(path: Path | None, variable: str | None) -> str | None:
    if variable is not None and variable in os.environ:
        return os.environ[variable]
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}"
        raise ConfigError(msg) from error


def _refuse(why: str) -> None:
    raise ValueError(why)


def _refuse_plain_url(url: str, *, allowed: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http":
        _refuse_plaintext(parts.hostname or "", allowed=allowed, remedy="an https:// url")


def _refuse_plaintext(host: str, *, allowed: bool, remedy: str) -> None:
    if not allowed and not _is_loopback(host):
        _refuse(
            f"a secret would travel in plain text to {host} (allowed: {remedy}, a loopback, allow_plaintext = true)"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _readable(**files: Path | None) -> None:
    for key, path in files.items():
        if path is not None and not os.access(path, os.R_OK):
            _refuse(f"{key}: {path} does not exist or is not readable")
