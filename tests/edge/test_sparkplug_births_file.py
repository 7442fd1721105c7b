"""The births' file: the last content or the one before, whatever happens; damage is noticed."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge_agent.adapters.births import BirthsOnDisk
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig
from edge_agent.core.intake import Message
from edge_agent.core.sparkplug.births import decode_births
from edge_agent.core.sparkplug.host import Host
from edge_agent.core.sparkplug.topic import Place, Settings
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.nodes import Nodes
from edge_agent.ports import NoRoomError
from tests.edge.test_ingest import CONFIG, ScriptedLink
from tests.sparkplug_node import M, payload

NBIRTH, NDATA = (Place("g", kind, "n", None) for kind in ("NBIRTH", "NDATA"))


def born() -> Host:
    host = Host()
    host.take(NBIRTH, payload([M(1.0, "Double", "x", 1)], seq=0, time_ms=1), 10, Settings())
    return host


def nodes(file: BirthsOnDisk) -> Nodes:
    return Nodes(file, ScriptedLink([], threading.Event()), SystemClock(), Metrics())


def still_has_to(nodes: Nodes) -> bool:
    return nodes.must_keep


def test_what_was_saved_is_loaded_and_replaces_what_was_before(tmp_path: Path) -> None:
    file = BirthsOnDisk(tmp_path / "births")
    assert file.load() is None
    for content in (b"one", b"", b"three" * 1000):
        file.save(content)
        assert BirthsOnDisk(tmp_path / "births").load() == content
    assert [path.name for path in tmp_path.iterdir()] == ["births"]


def test_a_write_that_was_cut_off_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = BirthsOnDisk(tmp_path / "births")
    file.save(b"good")
    (tmp_path / "births.new").write_bytes(b"ha")
    assert file.load() == b"good"
    file.save(b"better")
    assert file.load() == b"better"


def test_a_disk_that_refuses_is_no_room_and_the_last_content_is_kept(tmp_path: Path) -> None:
    file = BirthsOnDisk(tmp_path / "births")
    file.save(b"good")
    (tmp_path / "births.new").mkdir()
    with pytest.raises(NoRoomError):
        file.save(b"better")
    assert file.load() == b"good"


def test_keeping_is_tried_again_after_a_disk_that_refused(tmp_path: Path) -> None:
    file = BirthsOnDisk(tmp_path / "births")
    kept = nodes(file)
    kept.host.take(NBIRTH, payload([M(1.0, "Double", "x", 1)], seq=0, time_ms=1), 10, Settings())
    (tmp_path / "births.new").mkdir()
    with pytest.raises(NoRoomError):
        kept.keep()
    assert still_has_to(kept)
    (tmp_path / "births.new").rmdir()
    kept.keep()
    assert not still_has_to(kept)
    again = nodes(file)
    decoded = again.host.take(NDATA, payload([M(2.0, alias=1)], seq=1, time_ms=2), 20, Settings())
    assert [value.value for value in decoded.values] == [2.0]


WRITER = """
import sys
from pathlib import Path
from edge_agent.adapters.births import BirthsOnDisk
file, number = BirthsOnDisk(Path(sys.argv[1])), 0
while True:
    file.save(str(number).encode() * 5000)
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("lines", [1, 5, 40])
def test_after_a_kill_the_file_holds_what_was_saved_last_or_what_was_being_saved(tmp_path: Path, lines: int) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "births")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        last = int((said + child.stdout.read().splitlines())[-1])
    content = BirthsOnDisk(tmp_path / "births").load()
    assert content in {str(number).encode() * 5000 for number in (last, last + 1)}


class Birth(ScriptedLink):
    """One birth, without a reading in it; then the agent is to stop."""

    def __init__(self, stopping: threading.Event, path: Path) -> None:
        super().__init__([(0.0, 1)], stopping)
        self._path = path
        self.was_on_disk: list[bool] = []

    def take(self, timeout_s: float) -> list[Message]:
        text = payload([M("x", "String", "s", 1)], seq=0, time_ms=1_760_000_000_000)
        return [Message("spBv1.0/g/NBIRTH/n", text, 1_760_000_000_000_000_001) for _ in super().take(timeout_s)]

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None:
        assert len(filters) == 6
        assert list(held) == []

    def acknowledge(self, messages: Sequence[Message]) -> None:
        super().acknowledge(messages)
        self.was_on_disk += [BirthsOnDisk(self._path).load() is not None for _ in messages]


def test_a_birth_is_on_disk_before_it_is_acknowledged_even_one_without_a_reading(tmp_path: Path) -> None:
    stopping = threading.Event()
    link = Birth(stopping, tmp_path / "births")
    topics = [{"template": "spBv1.0/g/#", "format": "sparkplug-b"}]
    config = EdgeConfig.model_validate(CONFIG.model_dump(mode="json") | {"topics": topics})
    journal = SqliteJournal(tmp_path / "journal.db", 1 << 24, 1e9, 10)
    births = BirthsOnDisk(tmp_path / "births")
    Ingest(config, link, journal, SystemClock(), Metrics(), threading.Event(), births).run(stopping)
    journal.close()
    assert link.was_on_disk == [True]


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_a_damaged_file_is_started_without_and_said(tmp_path: Path, at: int) -> None:
    file = BirthsOnDisk(tmp_path / "births")
    file.save(born().save())
    content = bytearray((tmp_path / "births").read_bytes())
    content[at % len(content)] ^= 1
    for damaged in (bytes(content), bytes(content[:at])):
        (tmp_path / "births").write_bytes(damaged)
        with capture_logs() as logs:
            found = nodes(file)
        assert [line["log_level"] for line in logs] == ["warning"]
        assert found.host.due(0, 1) == []


def test_content_that_is_whole_and_no_births_is_started_without_too(tmp_path: Path) -> None:
    file = BirthsOnDisk(tmp_path / "births")
    file.save(b"something else")
    with capture_logs() as logs:
        nodes(file)
    assert [line["log_level"] for line in logs] == ["warning"]


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.lists(st.integers(0, 255), max_size=6).map(bytes)))
def test_any_bytes_are_births_or_refused(content: bytes) -> None:
    with suppress(ValueError):
        decode_births(content)
