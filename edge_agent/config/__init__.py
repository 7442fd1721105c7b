"""The edge agent's configuration: one TOML file, checked whole before anything is connected.

Unknown keys are refused, units stand in the names, secrets come from files or the environment. What a
running agent can take over on SIGHUP is everything but the keys of `NEEDS_RESTART`.
"""

from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import Field, model_validator

from edge_agent.config.assets import AssetRule
from edge_agent.config.base import Name, Strict
from edge_agent.config.brokers import Broker, SensorBroker, UplinkBroker
from edge_agent.config.channels import ChannelRule
from edge_agent.config.services import Inference, Journal, Limits, Log, Metrics, Outbox
from edge_agent.config.topics import Topic
from models.contract.config_errors import load_toml

__all__ = [
    "NEEDS_RESTART",
    "AssetRule",
    "Broker",
    "ChannelRule",
    "EdgeConfig",
    "Inference",
    "Journal",
    "Limits",
    "Log",
    "Metrics",
    "Outbox",
    "SensorBroker",
    "Topic",
    "UplinkBroker",
    "load",
]

# Changing these under a running agent would move its data or its identity, or is not worth the trouble.
NEEDS_RESTART = (
    "site",
    "gateway",
    "state_dir",
    "sensor_broker",
    "uplink",
    "inference.providers",
    "inference.require",
    "inference.run_timeout_s",
    "inference.gpu_memory_bytes",
    "journal",
    "outbox.max_bytes",
    "outbox.when_full",
    "limits.deadletters",
    "limits.deadletter_bytes",
    "limits.unacked_bytes",
    "metrics",
    "log",
)


class EdgeConfig(Strict):
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
    keys = tuple(base / key for key in config.inference.trusted_keys)
    inference = config.inference.model_copy(update={"trusted_keys": keys})
    return config.model_copy(update={"assets": assets, "state_dir": base / config.state_dir, "inference": inference})
