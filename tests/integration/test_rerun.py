"""Dead letters of a wrong configuration, taken again after SIGHUP: each row is there once, whatever is killed."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Process, aggregator, edge, eventually, run_cli, sqlite_rows
from tests.publishing import publish
from tests.servers import Mosquitto

LETTERS = 300


def strange() -> Iterator[tuple[str, object]]:
    """Readings of a channel that the configuration does not know, with times and without."""
    for number in range(LETTERS):
        time_ms = {"ts": 1_600_000_000_000 + number} if number % 2 else {}
        yield "factory/line/s1/strange", time_ms | {"value": number}


def letters(folder: Path) -> int:
    done = run_cli("edge_agent.cli", "deadletters", str(folder / "edge.toml"), "--json", "--limit", "10000")
    return len(json.loads(done.stdout))


def mend(folder: Path, agent: Process) -> None:
    config = folder / "edge.toml"
    config.write_text(config.read_text().replace('"[!s]*/*"', '"*/*"'))
    agent.signal(signal.SIGHUP)


@pytest.mark.parametrize("is_killed", [False, True])
def test_after_the_fix_each_letter_is_a_row_once(tmp_path: Path, broker: Mosquitto, is_killed: bool) -> None:
    store = tmp_path / "store.db"
    with (
        edge(tmp_path, broker.port) as agent,
        aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{store}"'),
    ):
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        publish(broker.port, strange())
        eventually(lambda: letters(tmp_path) == LETTERS, "all are dead letters")
        mend(tmp_path, agent)
        if is_killed:  # it reads the configuration when it starts
            agent.kill()
        done = run_cli("edge_agent.cli", "deadletters", str(tmp_path / "edge.toml"), "--topic", "factory/#", "--rerun")
        assert done.stdout.startswith(f"{LETTERS} letters are marked")
        if is_killed:
            agent.start()
            eventually(lambda: agent.says("dead letters were taken again"), "the first of them are taken")
            agent.kill()  # the rest is still marked: it takes fewer than these at once
            agent.start()
        eventually(lambda: letters(tmp_path) == 0, "none is left")
        eventually(lambda: sqlite_rows(store, "SELECT count(*) FROM reading") == [(LETTERS,)], "all are rows")
        values = sorted(value for (value,) in sqlite_rows(store, "SELECT value FROM reading"))
        assert values == [float(number) for number in range(LETTERS)]
