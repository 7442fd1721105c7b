"""What the agent itself needs: files, inference, metrics, log, limits."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from edge_agent.config.base import Strict

Level = Literal["debug", "info", "warning", "error"]
Provider = Literal["auto", "tensorrt", "cuda", "cpu"]


class Journal(Strict):
    """The ring of recent readings on disk."""

    max_bytes: int = Field(512 * 1024 * 1024, ge=1024 * 1024)
    max_age_s: float = Field(7 * 86_400, gt=0)


class Outbox(Strict):
    """Results that wait for their receipt."""

    max_bytes: int = Field(1024 * 1024 * 1024, ge=1024 * 1024)
    when_full: Literal["thin", "wait"] = "thin"
    batch_rows: int = Field(5000, ge=1, le=100_000)
    batch_age_s: float = Field(0.02, ge=0, le=60)


class Inference(Strict):
    """Providers in order of preference; `require` refuses to start without that one."""

    providers: tuple[Provider, ...] = Field(
        ("auto",), description='auto: as ["cuda", "cpu"] where there is an NVIDIA device, else as ["cpu"]'
    )
    require: Literal["tensorrt", "cuda", "cpu"] | None = None
    max_batch: int = Field(4096, ge=1, le=65_536, description="windows that are scored together, at most")
    max_wait_s: float = Field(0.0, ge=0, le=60, description="how long windows wait for others, by the journal's time")
    run_timeout_s: float = Field(10.0, gt=0, le=600, description="a run that takes longer is stopped")
    gpu_memory_bytes: int | None = Field(None, ge=1 << 20, description="of device memory that each model may take")
    trusted_keys: tuple[Path, ...] = Field((), description="public keys (PEM) that may sign models")
    allow_unsigned: bool = Field(False, description="run models that no trusted key has signed as well")

    @field_validator("providers")  # a least length would count the names that are left when one is not known
    @classmethod
    def _some(cls, names: tuple[Provider, ...]) -> tuple[Provider, ...]:
        if not names:
            msg = "name at least one, or leave the key out"
            raise ValueError(msg)
        return names

    @model_validator(mode="after")
    def _possible(self) -> "Inference":
        twice = sorted({name for name in self.providers if self.providers.count(name) > 1})
        if twice:
            msg = f"providers {list(self.providers)}: {twice[0]!r} stands there more than once: name each once"
            raise ValueError(msg)
        if "auto" in self.providers and len(self.providers) > 1:
            msg = f"providers {list(self.providers)}: 'auto' stands alone, or not at all"
            raise ValueError(msg)
        if self.require is not None and self.require not in self.providers and "auto" not in self.providers:
            msg = f"require = {self.require!r} is not among providers {list(self.providers)}"
            raise ValueError(msg)
        if self.require == "tensorrt" and "auto" in self.providers:
            msg = "require = 'tensorrt': 'auto' never tries it, name it in providers"
            raise ValueError(msg)
        return self


class Metrics(Strict):
    """Where `/metrics` is served; port 0 = not at all."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535)


class Log(Strict):
    """How the agent speaks to its operator."""

    level: Level = "info"
    format: Literal["json", "console"] = "json"


class Limits(Strict):
    """What is taken from the sensor side. Beyond it: a dead letter."""

    payload_bytes: int = Field(1024 * 1024, ge=64, description="larger payloads are not even parsed")
    readings_per_message: int = Field(100_000, ge=1)
    earliest_time: int = Field(946_684_800, description="epoch s; earlier event times are refused (2000-01-01)")
    future_s: float = Field(60.0, ge=0, description="how far an event time may lie ahead of the gateway's clock")
    deadletters: int = Field(10_000, ge=0, description="how many are kept for inspection; the oldest go first")
    deadletter_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="of their payloads, kept for another try; the oldest go first"
    )
    unacked_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="then reading from the broker pauses")
