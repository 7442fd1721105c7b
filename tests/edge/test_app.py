"""The wiring: a part that fails takes the process with it, so that a supervisor sees it."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.app import Agent
from edge_agent.config import load
from tests.servers import free_port

CONFIG = """
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{ template = "f/{asset}/{channel}" }]
channels = [{ match = "*/*" }]
assets = [{ match = "*" }]
"""


@pytest.mark.parametrize("part", ["ingest.Ingest._entries", "processing.Processing._next"])
def test_an_unexpected_error_in_a_thread_ends_the_agent(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"edge_agent.{part}", broken)
    port = free_port()
    (tmp_path / "edge.toml").write_text(f"{CONFIG}\n[sensor_broker]\nport = {port}\n[uplink]\nport = {port}\n")
    agent = Agent(tmp_path / "edge.toml", load(tmp_path / "edge.toml"))
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(agent.run())
    assert caught.group_contains(ZeroDivisionError)
