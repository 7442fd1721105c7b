"""The brokers: the sensors' and the uplink's."""

import os
import ssl
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from edge_agent.config.base import Port, Strict

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Broker(Strict):
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
    sparkplug_host_id: str | None = Field(
        None, pattern=r"^[^/+#\x00]+$", description="be a Sparkplug host application: the broker keeps no session then"
    )

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
