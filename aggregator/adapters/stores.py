"""The one table of stores: kind -> what writes, what reads, what sets it up. A new one is a line here and in config.

Modules are named by text and loaded on use, so that a store costs its libraries only to those who chose it.
"""

import importlib
from typing import Any, NamedTuple

from aggregator.config import Retention, StoreConfig
from aggregator.ports import Keeper, Reader, Store
from models.contract.config_errors import ConfigError


class Kind(NamedTuple):
    """Where the constructors lie, as `module:name`; each takes the store's section of the configuration."""

    store: str
    reader: str
    keeper: str


KINDS: dict[str, Kind] = {
    "sqlite": Kind("store_sqlite:SqliteStore", "read_sqlite:SqliteReader", "keep_sqlite:SqliteKeeper"),
    "influx1": Kind(
        "store_influx1:Influx1Store", "reader_influx:InfluxReader.of_influx1", "keep_influx1:Influx1Keeper"
    ),
    "influx2": Kind(
        "store_influx2:Influx2Store", "reader_influx:InfluxReader.of_influx2", "keep_influx2:Influx2Keeper"
    ),
    "influx3": Kind(
        "store_influx3:Influx3Store", "reader_influx:InfluxReader.of_influx3", "keep_influx3:Influx3Keeper"
    ),
}

_FOR_EVER = Retention()


def open_store(config: StoreConfig, retention: Retention = _FOR_EVER) -> Store:
    """Raises ConfigError when the kind's libraries are not installed or a secret cannot be read.

    The retention is for the embedded store, which keeps to it itself; a server is told of it by a keeper.
    """
    make = _load(config.kind, KINDS[config.kind].store)
    store: Store = make(config, retention) if config.kind == "sqlite" else make(config)
    return store


def open_reader(config: StoreConfig) -> Reader:
    """Raises ConfigError as above, and what ports.Reader raises."""
    reader: Reader = _load(config.kind, KINDS[config.kind].reader)(config)
    return reader


def open_keeper(config: StoreConfig, retention: Retention) -> Keeper:
    """Raises ConfigError as above. A keeper's constructor takes the retention beside the store's section."""
    keeper: Keeper = _load(config.kind, KINDS[config.kind].keeper)(config, retention)
    return keeper


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
