"""Several agents share a site by fixed topic shards: each has its lines, its name and its folder."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.agents import EDGE, Process, aggregator, eventually, sqlite_rows
from tests.publishing import publish
from tests.servers import Mosquitto

ROWS = "SELECT count(*), count(DISTINCT time) FROM reading"


def shard(folder: Path, port: int, line: str) -> Process:
    """One agent of the site `lab`."""
    path = folder / f"{line}.toml"
    path.write_text(
        f"""
site = "lab"
gateway = "{line}"
state_dir = "state-{line}"
topics = [{{ template = "factory/{line}/{{asset}}/{{channel}}" }}]
channels = [{{ match = "*/*" }}]
assets = [{{ match = "*" }}]
sensor_broker = {{ port = {port} }}
uplink = {{ port = {port} }}
inference = {{ providers = ["cpu"] }}
"""
    )
    return Process(EDGE, ["run", str(path)], folder)


def readings(lines: Sequence[str], first: int, count: int) -> Iterator[tuple[str, object]]:
    for i in range(first, first + count):
        yield f"factory/{lines[i % len(lines)]}/m/t", {"ts": 1_700_000_000_000 + i, "value": i}


def test_each_reading_of_the_site_is_stored_once_while_one_of_its_agents_dies(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    lines, store = ("line-1", "line-2"), tmp_path / "store.db"
    with ExitStack() as running:
        broker = running.enter_context(Mosquitto(tmp_path / "broker"))
        assert broker.port != mosquitto.port
        agents = [running.enter_context(shard(tmp_path, broker.port, line)) for line in lines]
        running.enter_context(aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'))
        for agent in agents:
            eventually(lambda agent=agent: agent.says("connected to the sensor broker"), "agent up")  # type: ignore[misc]
        publish(broker.port, readings(lines, 0, 200))
        agents[0].kill()
        publish(broker.port, readings(lines, 200, 200))
        agents[0].start()
        publish(broker.port, readings(lines, 400, 200))
        eventually(lambda: sqlite_rows(store, ROWS) == [(600, 600)], "each stored once")
        for agent in agents:
            assert agent.stop() == 0
