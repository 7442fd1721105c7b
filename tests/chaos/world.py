"""Every process of one run, real, on ports and in folders of its own.

    plant ─▶ sensor broker ─▶ [1] ─▶ agent ─▶ [2] ─▶ uplink broker ─▶ [3] ─▶ aggregator 1, 2 ─▶ [4] ─▶ InfluxDB
             persistent              small disk,     memory only            shared subscription
             SIGTERM only            own clock

[1] to [4] are fault proxies. The undisturbed run has the same processes and proxies that nothing happens to.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.chaos import clock, logs, rows
from tests.chaos.children import Child, SmallDisk
from tests.chaos.plan import LINKS
from tests.chaos.plant import START_NS, DataSet, Publication
from tests.chaos.proxy import Proxy
from tests.chaos.publisher import Publisher
from tests.servers import Influx1, Mosquitto, quiet_ports
from tocsin.plant.messages import Row, single
from tocsin.plant.training import KINDS

DATABASE = "chaos"
IDLE_S = 5.0
_DISK_BYTES = 96 * 1024 * 1024
_PROBE_EVERY_S, _READY_S = 0.3, 60.0
_AGGREGATOR = "import sys; from aggregator.cli import app; sys.argv[0] = 'aggregator'; app()"
_OURS = ("agent", "aggregator-1", "aggregator-2")
_ZOO = Path(__file__).parents[2] / "models" / "zoo"


class World:
    """Built and ended by `running`."""

    def __init__(self, folder: Path, disk: SmallDisk, data: DataSet) -> None:
        self.data, self.disk = data, disk
        self.sensor, self.uplink = Mosquitto(folder / "sensor", persistence=True), Mosquitto(folder / "uplink")
        self.database = Influx1(folder / "influx")
        ports = quiet_ports(3 + len(LINKS))
        self.sensor.port, self.uplink.port, self.database.port = ports[:3]
        self.writes_s: list[float] = []  # when the database confirmed a write, monotonic
        targets = (self.sensor.port, self.uplink.port, self.uplink.port, self.database.port)
        self.proxies = {
            link: Proxy(port, target, self._on_answer)
            for link, port, target in zip(LINKS, ports[3:], targets, strict=True)
        }
        self.clock = folder / "clock"
        clock.set_offset(self.clock, 0)
        self.publisher = Publisher(self.sensor.port, data.publications)
        edge, aggregator = self._configure(folder)
        servers = {"sensor": self.sensor, "uplink": self.uplink, "database": self.database}
        for server in servers.values():
            server.folder.mkdir()
        commands = {name: server.command() for name, server in servers.items()} | {
            "agent": [sys.executable, "-m", "tests.chaos.clock", str(self.clock), str(edge)],
            "aggregator-1": [sys.executable, "-c", _AGGREGATOR, "run", str(aggregator)],
            "aggregator-2": [sys.executable, "-c", _AGGREGATOR, "run", str(aggregator)],
        }
        self.children = {name: Child(name, command, folder) for name, command in commands.items()}

    async def ready(self) -> None:
        """Until a reading has gone the whole way. The probe is an asset of its own and is compared with nothing."""
        until_s, number = time.monotonic() + _READY_S, 0
        while await asyncio.to_thread(rows.count, self.database.url, DATABASE, asset=rows.PROBE) == 0:
            ended = {child.name: dict(child.ended) for child in self.children.values() if child.ended}
            if ended or time.monotonic() > until_s:
                raise RuntimeError(f"no reading has come through; ended by themselves: {ended}\n{self.complaints()}")
            probe = Row(rows.PROBE, "ready", START_NS + number * 1_000_000, float(number))
            message = single(f"factory/line-0/{rows.PROBE}/ready", probe)
            publisher = Publisher(self.sensor.port, [Publication(0.0, message)])
            await publisher.run(None)
            number += 1
            await asyncio.sleep(_PROBE_EVERY_S)

    def complaints(self, last: int = 12) -> str:
        """The last warnings and errors of our own processes, to find out what went wrong."""
        kept = {name: logs.complaints(self.children[name].log, last) for name in _OURS}
        return "\n".join("\n".join([f"-- {name}", *lines]) for name, lines in kept.items())

    def errors(self) -> Counter[str]:
        """What they logged as errors."""
        return sum((logs.errors(self.children[name].log) for name in _OURS), Counter())

    def _on_answer(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 204"):
            self.writes_s.append(time.monotonic())

    def _configure(self, folder: Path) -> tuple[Path, Path]:
        """Writes edge.toml and aggregator.toml."""
        edge, aggregator = folder / "edge.toml", folder / "aggregator.toml"
        ports = {link: proxy.port for link, proxy in self.proxies.items()}
        edge.write_text(
            _EDGE.format(
                **_FILTERS,
                state=self.disk.folder / "state",
                sensor=ports["agent>sensor"],
                uplink=ports["agent>uplink"],
                assets="\n".join(_ASSET.format(kind=kind, idle_s=IDLE_S, zoo=_ZOO) for kind in KINDS),
            )
        )
        aggregator.write_text(
            f"""
[broker]
port = {ports["aggregators>uplink"]}
[store]
kind = "influx1"
url = "http://127.0.0.1:{ports["aggregators>database"]}"
database = "{DATABASE}"
timeout_s = 3
[log]
format = "json"
"""
        )
        return edge, aggregator


@asynccontextmanager
async def running(folder: Path, data: DataSet) -> AsyncIterator[World]:
    """All processes, until the context is left, in whatever way."""
    folder.mkdir()  # noqa: ASYNC240 - before anything runs
    async with AsyncExitStack() as stack:
        disk = SmallDisk(folder / "disk", _DISK_BYTES)
        stack.callback(disk.close)
        world = World(folder, disk, data)
        for child in world.children.values():
            stack.callback(child.kill)
        for proxy in world.proxies.values():
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        for child in world.children.values():
            child.start()
        keepers = [asyncio.create_task(child.keep()) for child in world.children.values()]
        for keeper in keepers:
            stack.callback(keeper.cancel)
        await world.ready()
        yield world


_FILTERS = {
    "hampel": '{ filter = "hampel", window = 7 }',
    "exponential": '{ filter = "exponential", time_constant_s = 2.0 }',
    "kalman": '{ filter = "kalman", model = "level", measurement_std = 1.0, process_std = 0.1 }',
}
_EDGE = """
site = "works"
gateway = "gw-1"
state_dir = "{state}"
topics = [
    {{ template = "factory/{{line}}/{{asset}}/{{channel}}" }},
    {{ template = "factory/{{line}}/{{asset}}" }},
]
channels = [ # the data lies in the past: that is no fault of a clock
    {{ match = "*/temperature", range = [-40, 180], max_skew_s = 0, denoise = [{hampel}, {exponential}] }},
    {{ match = "*/pressure", range = [0, 16], max_skew_s = 0, denoise = [{hampel}] }},
    {{ match = "*/current", range = [0, 400], max_skew_s = 0, denoise = [{hampel}, {kalman}] }},
    {{ match = "*/speed", range = [0, 6000], max_skew_s = 0, flat_s = 5.0, denoise = [{hampel}] }},
    {{ match = "*/vibration", kind = "waveform", max_skew_s = 0 }},
    {{ match = "*/level", range = [0, 20], max_skew_s = 0, max_rate_per_s = 5.0, denoise = [{hampel}] }},
    {{ match = "*/flow", range = [0, 20], max_skew_s = 0 }},
    {{ match = "*/*", max_skew_s = 0 }},
]
{assets}
[sensor_broker]
port = {sensor}
keepalive_s = 5
[uplink]
port = {uplink}
keepalive_s = 5
receipt_timeout_s = 2
[journal]
max_bytes = 16777216
[outbox]
max_bytes = 16777216
[limits]
unacked_bytes = 4194304
[inference]
providers = ["cpu"]
allow_unsigned = true
"""

_ASSET = """
[[assets]]
match = "{kind}-*"
period_s = 0.5
hold_s = 3
lateness_s = 0.5
idle_s = {idle_s}
models = ["{zoo}/{kind}.bundle"]
"""
