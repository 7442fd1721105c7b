"""Fills in the demo's configuration files: free ports, a folder, the store."""

import json
import socket
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from tocsin.demo.models import sign_models

DATABASE = "tocsin_demo"


class InfluxTarget(NamedTuple):
    """An InfluxDB to write to: 1.x, or 2.x when a bucket is named."""

    url: str
    org: str | None = None
    bucket: str | None = None
    token_file: Path | None = None


class Setup(NamedTuple):
    """Where everything is."""

    folder: Path
    port_v5: int
    port_v4: int
    port_metrics: int

    @property
    def broker(self) -> Path:
        """Configuration of the embedded broker."""
        return self.folder / "broker.toml"

    @property
    def edge(self) -> Path:
        """Configuration of the edge agent."""
        return self.folder / "edge.toml"

    @property
    def aggregator(self) -> Path:
        """Configuration of the aggregator and its store."""
        return self.folder / "aggregator.toml"

    @property
    def ledger(self) -> Path:
        """What the plant has published."""
        return self.folder / "ledger.csv"


def prepare(folder: Path, influx: InfluxTarget | None = None) -> Setup:
    """Write the configuration files into `folder`. Raises UserError when the zoo has no bundles yet."""
    zoo = Path(str(resources.files("models"))) / "zoo"
    sign_models(zoo, folder)
    port_v5, port_v4, port_metrics = free_ports(3)
    setup = Setup(folder, port_v5, port_v4, port_metrics)
    values = setup._asdict() | {"store": _store(folder, influx)}
    for path in (setup.broker, setup.edge, setup.aggregator):
        path.write_text(render(path.name, values), encoding="utf-8")
    return setup


def render(name: str, values: dict[str, object]) -> str:
    """A template of this package with its placeholders filled in."""
    return resources.files("tocsin.demo").joinpath(name).read_text(encoding="utf-8").format_map(values)


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of the loopback that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _store(folder: Path, influx: InfluxTarget | None) -> str:
    if influx is None:
        content = {"kind": "sqlite", "path": str(folder.resolve() / "store.db")}
    elif influx.bucket is None:
        content = {"kind": "influx1", "url": influx.url, "database": DATABASE}
    else:
        content = {"kind": "influx2", "url": influx.url, "org": influx.org or "", "bucket": influx.bucket}
        if influx.token_file:
            content["token_file"] = str(influx.token_file.resolve())
    # A JSON string is a TOML string.
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in content.items())
