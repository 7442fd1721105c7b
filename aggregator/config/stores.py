"""The stores to choose from: one section each, told apart by `kind`."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aggregator.config.base import INFLUX_TOKEN, Section, readable, refuse, refuse_plain_url, secret

Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
Connections = Annotated[int, Field(ge=1, le=16)]


class Sqlite(Section):
    """A file on this machine: nothing to install, readable while it is written."""

    kind: Literal["sqlite"]
    path: Path
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    connections: Literal[1] = 1  # a file has one writer


class _Server(Section):
    """A database behind HTTP."""

    url: Url
    ca_file: Path | None = None
    allow_plaintext: bool = False
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    connections: Connections = 2  # writes at the same time


class _WithToken(_Server):
    """One that lets in whoever has the token."""

    token_file: Path | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.token_file is not None or INFLUX_TOKEN in os.environ:
            refuse_plain_url(self.url, allowed=self.allow_plaintext)
        readable(token_file=None if INFLUX_TOKEN in os.environ else self.token_file, ca_file=self.ca_file)
        return self

    def token(self) -> str | None:
        """From the environment, else from the file. Raises ConfigError when the file cannot be read."""
        return secret(self.token_file, INFLUX_TOKEN)


class Influx1(_Server):
    """InfluxDB 1.x and what speaks its /write and /query."""

    kind: Literal["influx1"]
    database: str = Field(min_length=1)
    username: str | None = None
    password_file: Path | None = None
    create_database: bool = True

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            refuse("username and password_file must be given together")
        if self.username is not None:
            refuse_plain_url(self.url, allowed=self.allow_plaintext)
        readable(password_file=self.password_file, ca_file=self.ca_file)
        return self

    def password(self) -> str | None:
        """Raises ConfigError when the file cannot be read."""
        return secret(self.password_file, None)


class Influx2(_WithToken):
    """InfluxDB 2.x and 3.x through /api/v2/write; read through InfluxQL, which both speak on /query."""

    kind: Literal["influx2"]
    org: str = ""  # 3.x has none
    bucket: str = Field(min_length=1)


class Influx3(_WithToken):
    """InfluxDB 3 by its own endpoint, which stores the good lines of a write and names the bad ones."""

    kind: Literal["influx3"]
    database: str = Field(min_length=1)


StoreConfig = Annotated[Sqlite | Influx1 | Influx2 | Influx3, Field(discriminator="kind")]
