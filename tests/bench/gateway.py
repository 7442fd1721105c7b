"""The gateway of the benchmarks: twenty pumps of ten channels, watched by the zoo's model of a pump."""

from pathlib import Path

from edge_agent import logs
from edge_agent.config import EdgeConfig, load
from tests.agents import AGGREGATOR, EDGE, Process
from tests.bench import procfs

ASSETS = 20
CHANNELS = {
    "temperature": 45.0,
    "pressure": 4.0,
    "current": 11.0,
    "speed": 1480.0,
    "vibration.rms": 0.5,
    "vibration.kurtosis": 3.0,
    "vibration.crest": 3.5,
    "flow": 20.0,
    "level": 2.0,
    "torque": 70.0,
}
NAMES = tuple(CHANNELS)
_MODEL = Path(__file__).parents[2] / "models" / "zoo" / "pump.bundle"


def asset(number: int) -> str:
    """The asset of the n-th message."""
    return f"pump-{number % ASSETS}"


def message(number: int, time_ns: int) -> tuple[str, bytes]:
    """The n-th message, one reading: assets in turn, then their channels in turn."""
    name = NAMES[number // ASSETS % len(NAMES)]
    value = CHANNELS[name] * (1 + number % 97 / 1e4)
    return f"factory/line{number % 4}/{asset(number)}/{name}", b'{"ts": %d, "value": %.4f}' % (time_ns, value)


def configure(folder: Path, sensor_port: int, uplink_port: int, extra: str = "") -> EdgeConfig:
    """The agent's configuration in its file; `extra`: more tables of it."""
    path = folder / "edge.toml"
    path.write_text(
        f"""
site = "bench"
gateway = "bench"
state_dir = "state"
topics = [{{ template = "factory/{{line}}/{{asset}}/{{channel}}" }}, {{ template = "factory/{{line}}/{{asset}}" }}]
channels = [{{ match = "*/*", range = [0, 10000], denoise = [{{ filter = "hampel", window = 7 }}] }}]
assets = [{{ match = "pump-*", period_s = 0.5, models = ["{_MODEL}"] }}, {{ match = "*" }}]
sensor_broker = {{ port = {sensor_port} }}
uplink = {{ port = {uplink_port} }}
inference = {{ providers = ["cpu"], allow_unsigned = true }}
{extra}
"""
    )
    config = load(path)
    logs.set_up(config.log)  # of what is measured in this process: away from the standard output
    return config


class Daemon(Process):
    """A process that can be looked into, on Linux."""

    @property
    def cpu_s(self) -> float:
        """Of all its threads, since its start."""
        return procfs.cpu_s(self._pid)

    @property
    def resident_mb(self) -> float:
        """Of its memory, in 10^6 bytes."""
        return procfs.resident_mb(self._pid)

    @property
    def _pid(self) -> int:
        assert self._child is not None
        return self._child.pid


def agent(folder: Path) -> Daemon:
    """The agent of the folder's configuration, as a process."""
    return Daemon(EDGE, ["run", str(folder / "edge.toml")], folder)


def aggregator(folder: Path, uplink_port: int, store: str) -> Daemon:
    """An aggregator; `store`: the table of its store, as TOML."""
    path = folder / "aggregator.toml"
    path.write_text(f"[broker]\nport = {uplink_port}\n[store]\n{store}\n")
    return Daemon(AGGREGATOR, ["run", str(path)], folder)
