"""The aggregator's configuration: one TOML file, checked whole before anything is started.

Secrets are never in the file itself: they lie in files of their own or in the environment, and are read when
used, so that a restart is enough to change one.
"""

from pathlib import Path

from pydantic import Field

from aggregator.config.base import BROKER_PASSWORD, INFLUX_TOKEN, Section
from aggregator.config.broker import Broker
from aggregator.config.maintenance import Maintenance
from aggregator.config.services import Log, Metrics, ReadBack, Retention, Validation
from aggregator.config.stores import Influx1, Influx2, Influx3, Sqlite, StoreConfig
from models.contract.config_errors import load_toml

__all__ = [
    "BROKER_PASSWORD",
    "INFLUX_TOKEN",
    "AggregatorConfig",
    "Broker",
    "Influx1",
    "Influx2",
    "Influx3",
    "Log",
    "Maintenance",
    "Metrics",
    "ReadBack",
    "Retention",
    "Sqlite",
    "StoreConfig",
    "Validation",
    "load",
]


class AggregatorConfig(Section):
    """The whole file."""

    broker: Broker = Field(default_factory=Broker)
    store: StoreConfig
    validation: Validation = Field(default_factory=Validation)
    read_back: ReadBack = Field(default_factory=ReadBack)
    retention: Retention = Field(default_factory=Retention)
    maintenance: Maintenance = Field(default_factory=Maintenance)
    metrics: Metrics = Field(default_factory=Metrics)
    log: Log = Field(default_factory=Log)


def load(path: Path) -> AggregatorConfig:
    """The checked configuration. Raises ConfigError with one line a fault."""
    config = load_toml(path, AggregatorConfig)
    if isinstance(config.store, Sqlite):  # as in the agent's file, a path counts from the file's folder
        store = config.store.model_copy(update={"path": path.resolve().parent / config.store.path})
        return config.model_copy(update={"store": store})
    return config
