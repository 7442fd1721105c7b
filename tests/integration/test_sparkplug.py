"""Sparkplug B over a real Mosquitto, from edge nodes that are born, speak, lose messages, vanish, and come back."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.adapters.births import BirthsOnDisk
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Data
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from models.contract.quality import Quality
from tests.agents import EDGE, Process, aggregator, eventually, run_cli, sqlite_rows
from tests.links import LinkBroker, make_link, publish
from tests.servers import Mosquitto
from tests.sparkplug_node import EdgeNode, M, payload, topic

T = 1_760_000_000_000  # ms
BIRTHS = {None: [M(1.0, "Double", "load", 1)], "d1": [M(20.0, "Double", "temp", 11), M(False, "Boolean", "run", 12)]}
EACH = pytest.mark.parametrize("kind", ["lean", "paho-3.1.1"])
Row = tuple[str, str, float | None, int]


@pytest.fixture
def broker(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[LinkBroker]:
    """One of the test's own: sessions of another test's agent would mix in."""
    del mosquitto  # it says whether there is one on this machine
    with LinkBroker(tmp_path / "broker", lines=["queue_qos0_messages true"]) as server:
        yield server


class Gateway:
    """Link, ingest, journal and births in this process; the files stay from one life to the next."""

    def __init__(self, folder: Path, broker: LinkBroker, kind: str = "lean") -> None:
        self._config = EdgeConfig.model_validate(
            {
                "site": "s",
                "gateway": "g",
                "state_dir": folder,
                "topics": [{"template": "spBv1.0/plant-1/#", "format": "sparkplug-b", "reorder_timeout_s": 0.5}],
                "channels": [{"match": "*/*"}],
                "assets": [{"match": "*"}],
            }
        )
        self._broker, self._kind = broker, kind
        self.births = folder / "births"
        self.journal = SqliteJournal(folder / "journal.db", 1 << 26, 1e9, 100)
        self.metrics, self.clock = Metrics(), SystemClock()

    @contextmanager
    def life(self) -> Iterator[None]:
        link = make_link(self._kind, self._broker.settings(self._kind))
        births = BirthsOnDisk(self.births)
        ingest = Ingest(self._config, link, self.journal, self.clock, self.metrics, threading.Event(), births)
        stopping = threading.Event()
        thread = threading.Thread(target=ingest.run, args=(stopping,))
        thread.start()
        try:
            eventually(lambda: link.is_connected, "connected")
            yield
        finally:
            stopping.set()
            thread.join()

    def rows(self) -> list[Row]:
        """All readings of the journal; None: no value."""
        found: list[Row] = []
        after = 0
        while some := self.journal.read(after):
            after = some[-1].seq
            for _, entry in some:
                if isinstance(entry, Data):
                    r = entry.readings()
                    for i, value, quality in zip(r.index, r.value.tolist(), r.quality.tolist(), strict=True):
                        found.append((*r.channels[i], None if math.isnan(value) else value, quality))
        return found

    def has(self, *rows: Row) -> bool:
        return set(rows) <= set(self.rows())

    def count(self, event: str) -> float:
        labels = {"event": event}
        return self.metrics.registry.get_sample_value("tocsin_edge_sparkplug_events_total", labels) or 0.0

    def dead(self, reason: str) -> float:
        return self.metrics.registry.get_sample_value("tocsin_edge_deadletters_total", {"reason": reason}) or 0.0


def node(broker: LinkBroker, bd_seq: int = 0, qos: int = 0) -> EdgeNode:
    return EdgeNode(broker.port, BIRTHS, time_ms=T + bd_seq * 1_000_000, bd_seq=bd_seq, qos=qos)


def test_data_by_alias_follows_births(broker: LinkBroker, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, broker)
    with gateway.life(), node(broker) as press:
        press.be_born()
        press.send("DDATA", "d1", [M(21.0, alias=11), M(True, "Boolean", alias=12)])
        press.send("NDATA", None, [M(2.0, alias=1, is_historical=True, time_ms=T - 5000)])
        eventually(lambda: gateway.has(("press-7", "load", 2.0, 0)), "all there")
        assert gateway.rows() == [
            ("press-7", "load", 1.0, 0),
            ("d1", "temp", 20.0, 0),
            ("d1", "run", 0.0, 0),
            ("d1", "temp", 21.0, 0),
            ("d1", "run", 1.0, 0),
            ("press-7", "load", 2.0, 0),
        ]
        assert press.rebirths == 0


@EACH
def test_a_lost_message_makes_the_agent_ask_for_births_and_what_came_is_kept(
    kind: str, broker: LinkBroker, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path, broker, kind)
    with gateway.life(), node(broker) as press:
        press.be_born()
        press.send("DDATA", "d1", [M(21.0, alias=11)])
        press.skip(3)
        press.send("DDATA", "d1", [M(22.0, alias=11)])
        eventually(lambda: press.rebirths == 1, "asked")
        press.send("DDATA", "d1", [M(23.0, alias=11)])
        eventually(lambda: gateway.has(("d1", "temp", 22.0, 0), ("d1", "temp", 23.0, 0)), "all there")
        eventually(lambda: gateway.count("births") == 4, "born twice")
    assert (press.rebirths, gateway.count("rebirths_asked")) == (1, 1)


def test_data_before_its_birth_is_a_dead_letter_and_the_birth_is_asked_for(broker: LinkBroker, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, broker)
    with gateway.life(), node(broker) as press:
        press.send("DDATA", "d1", [M(21.0, alias=11)])
        eventually(lambda: gateway.has(("d1", "temp", 20.0, 0)), "born when asked")
        press.send("DDATA", "d1", [M(22.0, alias=11)])
        press.send("DDATA", "d1", [M(23.0, alias=99)])
        eventually(lambda: gateway.dead("alias") == 1, "an alias never declared")
        eventually(lambda: gateway.has(("d1", "temp", 22.0, 0)), "data")
        assert gateway.dead("before_birth") == 1


def test_data_before_its_birth_is_a_row_once_it_is_taken_again(broker: LinkBroker, tmp_path: Path) -> None:
    store, letters = tmp_path / "store.db", ("deadletters", str(tmp_path / "edge.toml"))
    wanted = "SELECT value FROM reading WHERE channel = 'temp'"
    with (
        node(broker, qos=1) as press,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
        edge(tmp_path, broker.port) as agent,
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        press.send("DDATA", "d1", [M(21.0, alias=11)])
        eventually(lambda: press.rebirths == 1, "asked")
        eventually(lambda: sqlite_rows(store, wanted) == [(20.0,)], "born")
        for said in ("1 letters are marked", "0 letters are marked"):
            assert run_cli("edge_agent.cli", *letters, "--rerun").stdout.startswith(said)
            eventually(lambda: json.loads(run_cli("edge_agent.cli", *letters, "--json").stdout) == [], "taken again")
        eventually(lambda: sorted(sqlite_rows(store, wanted)) == [(20.0,), (21.0,)], "stored once")
        press.send("DDATA", "d1", [M(22.0, alias=11)])
        eventually(lambda: sorted(sqlite_rows(store, wanted)) == [(20.0,), (21.0,), (22.0,)], "and it goes on")


def test_a_node_that_vanishes_leaves_its_channels_without_values(broker: LinkBroker, tmp_path: Path) -> None:
    gateway, stale = Gateway(tmp_path, broker), int(Quality.UNCERTAIN_STALE)
    dead = [(*key, None, stale) for key in (("press-7", "load"), ("d1", "temp"), ("d1", "run"))]
    with gateway.life():
        with node(broker, bd_seq=1) as press:
            press.be_born()
            press.send("DDEATH", "d1", [])
            eventually(lambda: gateway.has(*dead[1:]), "the device is dead")
            assert not gateway.has(dead[0])
            press.vanish()
            eventually(lambda: gateway.has(*dead), "the node is dead")
        with node(broker, bd_seq=2) as press:
            press.be_born()
            eventually(lambda: gateway.count("births") == 4, "born again")
            publish(broker.port, [payload([M(1, "Int64", "bdSeq")])], topic("NDEATH"))  # of the session before
            press.send("DDATA", "d1", [M(24.0, alias=11)])
            eventually(lambda: gateway.has(("d1", "temp", 24.0, 0)), "alive again")
        assert gateway.dead("before_birth") == 0
        assert len([row for row in gateway.rows() if row[3] == stale]) == 3


def test_bad_messages_are_dead_letters_and_the_next_is_read(broker: LinkBroker, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, broker)
    with gateway.life(), node(broker) as press:
        press.be_born()
        eventually(lambda: gateway.has(("d1", "run", 0.0, 0)), "born")
        good = payload([M(21.0, alias=11)], seq=3, time_ms=T)
        bad = [b"", b"\xff" * 50, good[:-3], payload([M("hot", "String", alias=11)], seq=3)]
        publish(broker.port, bad, topic("DDATA", "d1"))
        press.send("DDATA", "d1", [M(22.0, alias=11)])
        eventually(lambda: gateway.has(("d1", "temp", 22.0, 0)), "the good one")
        # Counted once the journal has them, which the pipeline may read first.
        eventually(lambda: (gateway.dead("sparkplug"), gateway.dead("value")) == (2, 1), "the letters")


@EACH
def test_what_waits_in_the_broker_is_read_by_the_births_of_the_life_before(
    kind: str, broker: LinkBroker, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path, broker, kind)
    with node(broker).deaf() as press:
        with gateway.life():
            press.be_born()
            eventually(lambda: gateway.has(("d1", "run", 0.0, 0)), "born")
        press.send("DDATA", "d1", [M(21.0, alias=11)])
        with gateway.life():
            eventually(lambda: gateway.has(("d1", "temp", 21.0, 0)), "what waited")
            eventually(lambda: press.rebirths == 1, "asked, for what happened meanwhile is not known")
        gateway.births.write_bytes(b"damaged")
        press.send("DDATA", "d1", [M(22.0, alias=11)])
        with gateway.life():
            eventually(lambda: gateway.dead("before_birth") == 1, "not to be read")
            eventually(lambda: press.rebirths == 2, "asked")


def edge(folder: Path, port: int) -> Process:
    """A real agent of Sparkplug nodes."""
    (folder / "edge.toml").write_text(
        f"""
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{{ template = "spBv1.0/plant-1/#", format = "sparkplug-b" }}]
channels = [{{ match = "*/*" }}]
assets = [{{ match = "*", lateness_s = 0 }}]
[sensor_broker]
port = {port}
[uplink]
port = {port}
receipt_timeout_s = 2
[inference]
providers = ["cpu"]
"""
    )
    return Process(EDGE, ["run", str(folder / "edge.toml")], folder)


def test_from_birth_to_row_across_a_kill(broker: LinkBroker, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    wanted = "SELECT value FROM reading WHERE channel = 'temp' ORDER BY time"
    with (
        node(broker, qos=1).deaf() as press,  # what is under way to an agent that is killed would be lost at QoS 0
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
        edge(tmp_path, broker.port) as agent,
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        press.be_born()
        press.send("DDATA", "d1", [M(21.0, alias=11)])
        eventually(lambda: sqlite_rows(store, wanted) == [(20.0,), (21.0,)], "stored")
        agent.kill()
        press.send("DDATA", "d1", [M(22.0, alias=11)])
        agent.start()
        press.send("DDATA", "d1", [M(23.0, alias=11)])
        eventually(lambda: sqlite_rows(store, wanted) == [(20.0 + i,) for i in range(4)], "what waited too")
        eventually(lambda: press.rebirths == 1, "asked")
        press.send("DDATA", "d1", [M(1.0, alias=77)])
        letters = ("deadletters", str(tmp_path / "edge.toml"))
        eventually(lambda: "alias 77 is in no birth" in run_cli("edge_agent.cli", *letters).stdout, "a dead letter")
