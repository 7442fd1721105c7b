"""How edge nodes are asked for their births: when there is a connection, not all at once, and counted."""

import threading

import pytest
from structlog.testing import capture_logs

from edge_agent import nodes as module
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.core.errors import DecodeError
from edge_agent.core.sparkplug.payload import parse
from edge_agent.core.sparkplug.topic import Place, Settings
from edge_agent.metrics import Metrics
from edge_agent.nodes import Nodes
from tests.edge.test_ingest import ScriptedLink
from tests.sparkplug_node import M, payload


class Link(ScriptedLink):
    """Keeps what is published, while it is connected."""

    def __init__(self) -> None:
        super().__init__([], threading.Event())
        self.published: list[tuple[str, bytes]] = []
        self.is_up = True

    def publish(self, topic: str, payload: bytes) -> bool:
        if self.is_up:
            self.published.append((topic, payload))
        return self.is_up


@pytest.fixture(autouse=True)
def _looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.0)


def unborn(link: Link, count: int) -> Nodes:
    """Nodes of which data came before a birth."""
    nodes = Nodes(None, link, SystemClock(), Metrics())
    for number in range(count):
        with pytest.raises(DecodeError):
            nodes.host.take(Place("g", "NDATA", f"n{number}", None), payload([M(1.0, alias=1)]), 1, Settings())
    return nodes


def test_a_node_is_asked_by_a_command_with_the_present_time() -> None:
    link = Link()
    before_ms = SystemClock().now_ns() // 1_000_000
    nodes = unborn(link, 1)
    nodes.ask()
    nodes.ask()
    ((topic, content),) = link.published
    command = parse(content)
    assert topic == "spBv1.0/g/NCMD/n0"
    assert command.time_ms is not None
    assert command.time_ms >= before_ms
    assert [(m.name, m.value) for m in command.metrics] == [("Node Control/Rebirth", True)]


def test_what_could_not_be_sent_is_asked_again_once_there_is_a_connection() -> None:
    link = Link()
    nodes = unborn(link, 3)
    link.is_up = False
    nodes.ask()
    link.is_up = True
    nodes.ask()
    assert sorted(topic for topic, _ in link.published) == [f"spBv1.0/g/NCMD/n{i}" for i in range(3)]


def test_many_nodes_are_asked_a_few_at_a_time_with_one_line_in_the_log_and_counted() -> None:
    link = Link()
    nodes = unborn(link, 25)
    sizes = []
    with capture_logs() as logs:
        for _ in range(5):
            nodes.ask()
            sizes.append(len(link.published))
    assert sizes == [10, 20, 25, 25, 25]
    assert [(line["log_level"], line["count"]) for line in logs] == [("warning", 10), ("warning", 10), ("warning", 5)]
    metric = nodes._metrics.registry.get_sample_value  # noqa: SLF001 - where a test can look
    assert metric("tocsin_edge_sparkplug_events_total", {"event": "rebirths_asked"}) == 25
