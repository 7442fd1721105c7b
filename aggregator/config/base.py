"""What the sections share: strict keys, and secrets that never stand in the file itself."""

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from models.contract.config_errors import ConfigError

BROKER_PASSWORD = "TOCSIN_BROKER_PASSWORD"  # noqa: S105 - the variable's name, no password
INFLUX_TOKEN = "TOCSIN_INFLUX_TOKEN"  # noqa: S105 - the variable's name, no token


class Section(BaseModel):
    """A table of the file. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def secret(path: Path | None, variable: str | None) -> str | None:
    """From the environment, else from the file. Raises ConfigError when the file cannot be read."""
    if variable is not None and variable in os.environ:
        return os.environ[variable]
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}"
        raise ConfigError(msg) from error


def refuse(why: str) -> None:
    """Raises ValueError, which pydantic tells as a fault of the section."""
    raise ValueError(why)


def refuse_plain_url(url: str, *, allowed: bool) -> None:
    """No secret over http:// beyond this machine, unless it is allowed."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        refuse_plaintext(parts.hostname or "", allowed=allowed, remedy="an https:// url")


def refuse_plaintext(host: str, *, allowed: bool, remedy: str) -> None:
    """No secret in plain text beyond this machine, unless it is allowed."""
    if not allowed and not is_loopback(host):
        refuse(f"a secret would travel in plain text to {host} (allowed: {remedy}, a loopback, allow_plaintext = true)")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def readable(**files: Path | None) -> None:
    """Each file that is named must be there and readable; the key stands in the fault."""
    for key, path in files.items():
        if path is not None and not os.access(path, os.R_OK):
            refuse(f"{key}: {path} does not exist or is not readable")
