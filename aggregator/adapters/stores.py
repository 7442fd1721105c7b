"""The one table of stores: kind -> what writes and what reads. A new store is a line here and a section in config.

Modules are named by text and loaded on use, so that a store costs its libraries only to those who chose it.
"""

import importlib
from typing import Any, NamedTuple

from aggregator.config import StoreConfig
from aggregator.ports import Reader, Store
from models.contract.config_errors import ConfigError


class Kind(NamedTuple):
    """Where the constructors lie, as `module:name`; each takes the store's section of the configuration."""

    store: str
    reader: str


KINDS: dict[str, Kind] = {
    "sqlite": Kind("store_sqlite:SqliteStore", "store_sqlite:SqliteReader"),
    "influx1": Kind("store_influx1:Influx1Store", "influxql:InfluxQlReader.of_influx1"),
    "influx2": Kind("store_influx2:Influx2Store", "influxql:InfluxQlReader.of_influx2"),
}


def open_store(config: StoreConfig) -> Store:
    """Raises ConfigError when the kind's libraries are not installed or a secret cannot be read."""
    store: Store = _load(config.kind, KINDS[config.kind].store)(config)
    return store


def open_reader(config: StoreConfig) -> Reader:
    """Raises ConfigError as above, and what ports.Reader raises."""
    reader: Reader = _load(config.kind, KINDS[config.kind].reader)(config)
    return reader


def _load(kind: str, place: str) -> Any:  # noqa: ANN401 - whatever stands there
    module, _, names = place.partition(":")
    try:
        found: Any = importlib.import_module(f"aggregator.adapters.{module}")
    except ModuleNotFoundError as error:
        msg = f"store.kind = {kind!r} needs {error.name}: pip install 'tocsin[aggregator]'"
        raise ConfigError(msg) from error
    for name in names.split("."):
        found = getattr(found, name)
    return found
