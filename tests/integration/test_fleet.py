"""`tocsin aggregator fleet` with real agents, a real broker and a real aggregator between them."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish
from typer.testing import CliRunner

from aggregator.adapters import states
from aggregator.cli import app
from aggregator.config import Broker
from models.contract.state import RunningModel, State, encode_state
from models.contract.topics import topic
from tests.agents import AGGREGATOR, Process, aggregator, edge, eventually
from tests.servers import Mosquitto, free_port

SECOND = 1_000_000_000


class Answer:
    """What the command said."""

    def __init__(self, folder: Path, *options: str, columns: int = 80) -> None:
        command = ["fleet", "--config", str(folder / "aggregator.toml"), *options]
        done = CliRunner().invoke(app, command, env={"COLUMNS": str(columns)})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        self.code, self.text, self.faults = done.exit_code, done.stdout, done.stderr

    @property
    def gateways(self) -> dict[str, dict[str, Any]]:
        return {one["gateway"]: one for one in json.loads(self.text)["gateways"]}


def one(folder: Path) -> dict[str, Any]:
    """The only gateway; {} when there is none yet."""
    answer = Answer(folder, "--json")
    return answer.gateways.get("gw1", {}) if answer.code == 0 else {}


def becomes(folder: Path, true: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look() -> bool:
        found.clear()
        found.update(one(folder))
        return bool(found) and true(found)

    eventually(look, what)
    return found


def reading(broker: Mosquitto) -> None:
    payload = json.dumps({"ts": time.time_ns() // 1_000_000, "value": 5.0})
    publish.single("factory/line/m1/known", payload, qos=1, hostname="127.0.0.1", port=broker.port)


def test_it_tells_an_agent_that_lives_from_one_that_was_killed_and_from_one_that_was_stopped(
    tmp_path: Path, broker: Mosquitto
) -> None:
    begun_ns = time.time_ns()
    agent = edge(tmp_path, broker.port)
    with aggregator(tmp_path, broker.port, f'kind = "sqlite"\npath = "{tmp_path}/rows.db"') as sink, agent:
        eventually(lambda: sink.says("broker connected") and agent.says("connected to the sensor broker"), "all up")
        reading(broker)
        alive = becomes(tmp_path, lambda found: found["heartbeat_ns"] is not None, "a heartbeat in the store")
        assert (alive["life"], alive["site"], alive["said"]["readings_total"]) == ("alive", "lab", 1.0)
        assert begun_ns < alive["since_ns"] < alive["heartbeat_ns"] < time.time_ns()
        assert alive["said"]["lost_total"] == alive["said"]["deadletters_total"] == 0
        assert len(alive["config_digest"]) == 64

        agent.kill()
        dead = becomes(tmp_path, lambda found: found["life"] == "offline", "offline by its will")
        assert dead["since_ns"] == alive["heartbeat_ns"], "a will has no time: it was last heard of then"
        assert (dead["version"], dead["config_digest"]) == (alive["version"], alive["config_digest"])

        agent.start()
        again = becomes(tmp_path, lambda found: found["life"] == "alive", "alive again")
        assert again["since_ns"] > dead["since_ns"]

        stopping_ns = time.time_ns()
        assert agent.stop() == 0
        stopped = becomes(tmp_path, lambda found: found["life"] == "stopped", "stopped in order")
        assert stopping_ns < stopped["since_ns"] < time.time_ns()


def test_asking_disturbs_no_aggregator_even_if_that_has_a_client_id_of_its_own(
    tmp_path: Path, broker: Mosquitto
) -> None:
    (tmp_path / "aggregator.toml").write_text(
        f'[broker]\nport = {broker.port}\nclient_id = "agg-1"\n[store]\nkind = "sqlite"\npath = "rows.db"\n'
    )
    with Process(AGGREGATOR, ["run", str(tmp_path / "aggregator.toml")], tmp_path) as sink:
        eventually(lambda: sink.says("broker connected"), "aggregator up")
        Answer(tmp_path)
        assert not sink.says("broker not reachable")
        assert sink.log.read_text().count("broker connected") == 1


def retain(broker: Mosquitto, site: str, gateway: str, payload: bytes) -> None:
    publish.single(topic(site, gateway, "state"), payload, qos=1, retain=True, hostname="127.0.0.1", port=broker.port)


@pytest.fixture
def config(tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An aggregator that never ran: its store is not there."""
    monkeypatch.setattr(states, "_QUIET_S", 1.5)  # nobody names the gateways: a pause of a busy machine must not end it
    (tmp_path / "aggregator.toml").write_text(
        f'[broker]\nport = {broker.port}\n[store]\nkind = "sqlite"\npath = "rows.db"\n'
    )
    return tmp_path


def test_without_the_store_it_shows_what_the_broker_knows_and_says_what_is_missing(
    config: Path, broker: Mosquitto
) -> None:
    now_ns = time.time_ns()
    retain(broker, "north", "well", encode_state(State(online=True, since_ns=now_ns - 7200 * SECOND, version="9.9")))
    retain(broker, "north", "gone", encode_state(State(online=False)))
    retain(broker, "south", "other", encode_state(State(online=True)))
    answer = Answer(config, "--json")
    assert (answer.code, {name: one["life"] for name, one in answer.gateways.items()}) == (
        1,
        {"gone": "offline", "well": "alive", "other": "alive"},
    )
    assert "the store cannot be asked" in answer.faults
    assert json.loads(answer.text)["missing"]
    assert Answer(config, "--json", "--site", "south").gateways.keys() == {"other"}


def test_a_table_fits_80_columns_and_shows_more_where_there_is_room(config: Path, broker: Mosquitto) -> None:
    for number in range(3):
        retain(broker, "north", f"gateway-{number}", encode_state(State(online=True, since_ns=1, version="9.9.9")))
    narrow, wide = Answer(config, "--limit", "2"), Answer(config, columns=140)
    assert max(map(len, narrow.text.splitlines())) <= 80
    assert "3 gateways: 3 alive" in narrow.text
    assert "site north" in narrow.text
    assert "--limit 0 shows all" in narrow.text
    assert "gateway-2" not in narrow.text
    assert "9.9.9" not in narrow.text
    assert "9.9.9" in wide.text
    assert "gateway-2" in wide.text


def test_what_a_gateway_says_of_itself_can_neither_break_the_table_nor_steer_the_terminal(
    config: Path, broker: Mosquitto
) -> None:
    models = (RunningModel(name="wear[bold]", version="1.0\x1b[2J", provider="cpu[/]"),)
    state = State(online=True, since_ns=1, version="9[/red]", config_digest="[b]\x07", models=models)
    retain(broker, "north", "gw1", encode_state(state))
    answer = Answer(config, columns=200)
    assert "\x1b" not in answer.text
    assert "\x07" not in answer.text
    for text in ("wear[bold] 1.0", "cpu[/]", "9[/red]", "[b]"):
        assert text in answer.text


def test_states_that_are_none_are_counted_and_the_rest_is_shown(config: Path, broker: Mosquitto) -> None:
    retain(broker, "north", "bad", b"\xff\x00 no state")
    retain(broker, "north", "huge", b'{"version": "' + b"x" * 100_000 + b'"}')
    retain(broker, "north", "well", encode_state(State(online=True)))
    answer = Answer(config, "--json")
    assert answer.gateways.keys() == {"well"}
    assert "2 retained states cannot be read" in answer.faults


def test_without_the_broker_the_answer_comes_soon_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "aggregator.toml").write_text(
        f'[broker]\nport = {free_port()}\n[store]\nkind = "sqlite"\npath = "rows.db"\n'
    )
    answer = Answer(tmp_path)
    assert answer.code == 1
    assert "no gateway is known" in answer.text
    assert "cannot be asked who is connected" in answer.faults
    assert "alive means here only that the last heartbeat is younger than --stale-after" in answer.faults


@pytest.mark.parametrize("span", ["0s", "soon", "-5s", "2999-01-01"])
def test_a_span_that_is_none_is_refused(span: str, config: Path) -> None:
    answer = Answer(config, f"--stale-after={span}")
    assert (answer.code, answer.text) == (2, "")


class Forgetful(Mosquitto):
    """A broker that keeps few messages for a client that is slower than it."""

    def command(self) -> list[str]:
        command = super().command()
        path = Path(command[-1])
        path.write_text(path.read_text().replace("max_queued_messages 1000000", "max_queued_messages 550"))
        return command


@pytest.mark.usefixtures("mosquitto")
@pytest.mark.parametrize("quiet_s", [0.3, 0.0], ids=["asked-again-in-a-pause", "asked-again-while-the-broker-drops"])
def test_of_more_gateways_than_a_broker_sends_at_once_none_is_left_out_that_the_store_knows(
    quiet_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_QUIET_S", quiet_s)
    names = [("north", f"gw{number}") for number in range(1100)]
    payload = encode_state(State(online=True, version="x" * 20_000))
    with Forgetful(tmp_path / "broker") as server:
        publish.multiple(
            [(topic(*name, "state"), payload, 1, True) for name in names], hostname="127.0.0.1", port=server.port
        )
        found = asyncio.run(
            states.read_states(Broker(port=server.port), [*names, ("not a", "name/#"), ("north", "gone")])
        )
    assert found.known.keys() == set(names)
    assert not found.unreadable
