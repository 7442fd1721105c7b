"""Dead letters of Sparkplug taken again: data by the present births, once; births and deaths never."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.births import BirthsOnDisk
from edge_agent.adapters.deadletters import Choice, Marked, mark
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.cli import app
from edge_agent.config import EdgeConfig, load
from edge_agent.core.intake import DeadLetter, Message
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from tests.edge.test_deadletters import OneShot, readings
from tests.sparkplug_node import M, payload, topic

T = 1_760_000_000_000  # ms
MS = 1_000_000
CONFIG = """
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{ template = "spBv1.0/plant-1/#", format = "sparkplug-b" }]
channels = [{ match = "*/*" }]
assets = [{ match = "*" }]
"""
KINDS = [("NBIRTH", None), ("NDATA", None), ("NDEATH", None), ("DBIRTH", "d"), ("DDATA", "d"), ("DDEATH", "d")]


class Link(OneShot):
    """Takes commands."""

    def publish(self, topic: str, payload: bytes) -> bool:
        return bool(topic and payload)


@pytest.fixture
def config(tmp_path: Path) -> EdgeConfig:
    (tmp_path / "edge.toml").write_text(CONFIG)
    return load(tmp_path / "edge.toml")


@pytest.fixture
def journal(config: EdgeConfig) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(config.state_dir / "journal.db", config.journal.max_bytes, 1e9, 100)) as opened:
        yield opened


def live(config: EdgeConfig, journal: SqliteJournal, *messages: Message) -> None:
    """A life of the agent, with the births of the one before."""
    stopping = threading.Event()
    births = BirthsOnDisk(config.state_dir / "births")
    link = Link(stopping, messages)
    Ingest(config, link, journal, SystemClock(), Metrics(), threading.Event(), births).run(stopping)


def said(number: int, where: str, metrics: Sequence[M]) -> Message:
    return Message(where, payload(metrics, seq=number, time_ms=T + number), (T + number) * MS)


@pytest.mark.parametrize("lives", [1, 2])
def test_data_before_its_birth_and_of_an_alias_declared_since_are_readings_once(
    config: EdgeConfig, journal: SqliteJournal, lives: int
) -> None:
    early = [
        said(0, topic("NDATA"), [M(1.0, alias=1)]),
        said(1, topic("NBIRTH"), [M(2.0, name="a", alias=1)]),
        said(2, topic("NDATA"), [M(3.0, alias=2)]),
    ]
    birth = said(3, topic("NBIRTH"), [M(4.0, name="a", alias=1), M(5.0, name="b", alias=2)])
    if lives == 1:
        live(config, journal, *early, birth)
    else:
        live(config, journal, *early)
        live(config, journal, birth)
    assert sorted(letter.reason for _, letter in journal.letters()) == ["alias", "before_birth"]
    for expected in (2, 0):
        assert mark(config, Choice()) == Marked(expected, 0, 0, 0)
        live(config, journal, said(4, topic("NDATA"), [M(6.0, alias=2)]))
    assert list(journal.letters()) == []
    found = [("a", 0, 1.0), ("a", 1, 2.0), ("a", 3, 4.0), ("b", 2, 3.0), ("b", 3, 5.0), ("b", 4, 6.0)]
    assert sorted(readings(journal)) == [(name, (T + at) * MS, value) for name, at, value in found]


@pytest.mark.usefixtures("config")
def test_births_and_deaths_are_not_taken_again_and_it_is_said(journal: SqliteJournal, tmp_path: Path) -> None:
    topics = [topic(kind, device) for kind, device in KINDS]
    journal.append(
        [], [DeadLetter(T * MS + i, where, "sparkplug", "why", 1, b"", b"") for i, where in enumerate(topics)]
    )
    done = CliRunner().invoke(app, ["deadletters", str(tmp_path / "edge.toml"), "--rerun"])
    assert done.stdout.splitlines() == [
        "2 letters are marked: the agent takes them again within seconds, or when it starts",
        "4 cannot be taken again: births and deaths of Sparkplug hold only in their order",
    ]
    assert [one.message.topic for one in journal.again(9)] == [topic("NDATA"), topic("DDATA", "d")]
    listed = CliRunner().invoke(app, ["deadletters", str(tmp_path / "edge.toml"), "--json"])
    assert len(json.loads(listed.stdout)) == 6
