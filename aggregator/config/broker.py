"""The uplink broker, to which the gateways publish their batches."""

import os
from pathlib import Path

from pydantic import Field, model_validator

from aggregator.config.base import BROKER_PASSWORD, Section, readable, refuse, refuse_plaintext, secret


class Broker(Section):
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
    # A broker that can tell who published (EMQX and HiveMQ by a rule) says SITE/GATEWAY in this user property of each
    # batch; it must replace what a gateway writes there itself.
    identity_property: str | None = None
    keepalive_s: int = Field(default=10, ge=5, le=3600)  # until then batches go to an aggregator that stands still

    @model_validator(mode="after")
    def _possible(self) -> "Broker":
        has_password = self.password_file is not None or BROKER_PASSWORD in os.environ
        if self.username is not None and not has_password:
            refuse(f"username is given without a password (allowed: password_file, or the variable {BROKER_PASSWORD})")
        if self.password_file is not None and self.username is None:
            refuse("password_file is given without username")
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            refuse("ca_file, cert_file and key_file need tls = true")
        if (self.cert_file is None) != (self.key_file is None):
            refuse("cert_file and key_file must be given together")
        if self.username is not None and not self.tls:
            refuse_plaintext(self.host, allowed=self.allow_plaintext, remedy="tls = true")
        readable(
            password_file=None if BROKER_PASSWORD in os.environ else self.password_file,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )
        return self

    def password(self) -> str | None:
        """From the environment, else from the file. Raises ConfigError when the file cannot be read."""
        return secret(self.password_file, BROKER_PASSWORD) if self.username is not None else None
