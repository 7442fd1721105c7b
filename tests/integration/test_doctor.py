"""`tocsin edge doctor` beside a real broker: a zoo of senders is heard, and its draft reads all that they send."""

import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cbor2
import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner, Result

from edge_agent.cli import app
from edge_agent.config import load
from edge_agent.core.intake import Intake, Message
from tests.agents import run_cli
from tests.servers import Mosquitto, free_port
from tests.sparkplug_node import M, payload

Sent = list[tuple[str, bytes]]


def zoo(number: int) -> Iterator[tuple[str, bytes]]:
    """One round of messages."""
    now_ms = time.time_ns() // 1_000_000
    many = {"ts": now_ms, "speed": 1000 + number, "current": 3.5 + number % 3}
    yield "plant/line1/pump-1/temperature", json.dumps({"ts": now_ms, "value": 20 + number, "unit": "degC"}).encode()
    yield "plant/line1/pump-2/pressure", b"%d.5" % number
    yield "plant/drives/drive-1", json.dumps(many).encode()
    yield "packed/press-1", msgspec.msgpack.encode(many)
    yield "cbor/oven-1", cbor2.dumps(many)
    yield "zipped/pump-3", gzip.compress(json.dumps(many).encode())
    yield "line/host1", b"cpu load=%d.5 %d" % (number, now_ms * 1_000_000)
    yield (
        "senml/tank-1",
        json.dumps([{"bn": "dev:", "bt": now_ms / 1000, "n": "level", "u": "m", "v": number}]).encode(),
    )
    tags = [{"id": f"Line2.{tag}", "v": number + i, "q": True, "t": now_ms} for i, tag in enumerate(("Temp", "Flow"))]
    yield "kepware/line-2", json.dumps({"timestamp": now_ms, "values": tags}).encode()
    boiler = {"Boiler 7": [{"ts": now_ms, "values": {"temperature": 80 + number, "pressure": 2.5}}]}
    yield "gateways/boiler-7", json.dumps(boiler).encode()
    yield "nested/oven-3", msgspec.msgpack.encode({"meta": {"time": now_ms}, "d": {"zone 1": number, "zone 2": 3.5}})
    metrics = [M(float(number), name="motor/rpm", time_ms=now_ms)]
    if number:
        yield "spBv1.0/g1/NDATA/node-1", payload(metrics, seq=number % 256, time_ms=now_ms)
    else:
        birth = [M(0, "Int64", name="bdSeq"), *metrics]
        yield "spBv1.0/g1/NBIRTH/node-1", payload(birth, seq=0, time_ms=now_ms)


@contextmanager
def sending(port: int, some: Callable[[int], Iterator[tuple[str, bytes]]] = zoo) -> Iterator[Sent]:
    """Publishes a round each 50 ms until the context is left, but begins only once somebody listens."""
    sent: Sent = []
    stopping, heard = threading.Event(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def counted(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if int(message.payload) > 1:  # ours, and the doctor's
            heard.set()

    client.on_message = counted
    client.subscribe("$SYS/broker/subscriptions/count")

    def run() -> None:
        heard.wait(30)
        number = 0
        while not stopping.is_set():
            for topic, content in some(number):
                client.publish(topic, content, qos=1).wait_for_publish(5)
                sent.append((topic, content))
            number += 1
            stopping.wait(0.05)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        thread.join()
        client.disconnect()
        client.loop_stop()


class Counting(Mosquitto):
    """Tells each second how many subscriptions there are."""

    def command(self) -> list[str]:
        command = super().command()
        with (self.folder / "mosquitto.conf").open("a") as file:
            file.write("sys_interval 1\n")
        return command


@pytest.fixture
def broker(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Mosquitto]:
    """One a test, for who listens is counted. `mosquitto` checks that it is installed."""
    with Counting(tmp_path / "broker") as server:
        yield server
    assert mosquitto.port != server.port


def doctor(*options: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--for", "0.3", *options])


def test_the_draft_passes_the_check_and_reads_what_was_sent(broker: Mosquitto, tmp_path: Path) -> None:
    out = tmp_path / "edge.toml"
    with sending(broker.port) as sent:
        done = doctor("--port", str(broker.port), "--for", "3", "-o", str(out), "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    topics = {topic for topic, _ in sent}
    assert {topic for group in found["groups"] for topic in group["topics"]} == topics
    assert [finding for finding in found["findings"] if finding["level"] == "error"] == []
    units = {(channel["asset"], channel["channel"]): channel["unit"] for channel in found["channels"]}
    assert units["pump-1", "temperature"] == "degC"
    assert units["tank-1", "dev:level"] == "m"
    assert {("line-2", "Line2.Flow"), ("boiler-7", "pressure"), ("oven-3", "zone 1")} <= units.keys()
    assert {group["template"]: group["fields"] for group in found["groups"] if "fields" in group} == {
        "kepware/{asset}": {"items": "values", "time": "t", "value": "v", "channel": "id", "quality": "q"},
        "gateways/{asset}": {"items": "Boiler 7", "time": "ts", "values": "values"},
        "nested/{asset}": {"time": "meta.time", "values": "d"},
    }
    checked = run_cli("edge_agent.cli", "check", str(out))
    assert (checked.returncode, checked.stderr) == (0, "")
    intake = Intake(load(out))
    begin_ns = time.time_ns()
    messages = [Message(topic, content, begin_ns + i) for i, (topic, content) in enumerate(sent)]
    assert len(messages) > 50
    assert intake.take(messages).deadletters == []


def test_the_report_is_for_people(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    with sending(broker.port):
        done = doctor("--port", str(broker.port), "--for", "3", "--topics", "plant/#")
    assert done.exit_code == 0, done.stderr
    assert "plant/line1/{asset}/{channel}" in done.stdout
    assert "pump-1/temperature" in done.stdout
    assert "name no time" in done.stdout
    assert "packed" not in done.stdout


def test_nothing_heard_says_what_may_help(broker: Mosquitto) -> None:
    done = doctor("--port", str(broker.port), "--topics", "nobody/#")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == "Nothing was heard on nobody/# in 0.3 s. What may help:"
    assert "acl_file" in done.stderr


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path: Path, broker: Mosquitto) -> None:
    out = tmp_path / "edge.toml"
    out.write_text("mine")
    done = doctor("--port", str(broker.port), "-o", str(out))
    assert (done.exit_code, out.read_text()) == (2, "mine")
    assert "--force" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--host", "broker.example"), 2, "host 'broker.example' is not this machine: say --tls, or --allow-plaintext"),
        (("--host", "127.0.0.1:28831"), 2, "the port goes to --port: --host 127.0.0.1 --port 28831"),
        (("--host", "[::1]:1883"), 2, "--host ::1 --port 1883"),
        (("--password-file", "x"), 2, "password_file needs username"),
        (
            ("--user", "u", "--password-file", "/nowhere/x"),
            3,
            "--password-file /nowhere/x: cannot be read: No such file",
        ),
        (("--user", "u", "--password-file", "/"), 3, "cannot be read: Is a directory (needed: a text file"),
        (
            ("--user", "u", "--password-file", sys.executable),
            3,
            "cannot be read: no text in UTF-8 (needed: a text file",
        ),
        (("--tls", "--ca-file", __file__), 3, f"--ca-file {__file__}: cannot be used: "),
        (("--port", str(free_port())), 3, "Connection refused: check that the broker runs"),
        (("--topics", "bad/#/x"), 2, "--topics 'bad/#/x' has a # (allowed: as the whole of the last level"),
        (("--topics", "a/#", "--topics", ""), 2, "--topics '' is empty"),
        (("-o", "/nowhere/x.toml"), 2, "--out /nowhere/x.toml: is a folder, or lies in none"),
        (("--port", "70000"), 2, "65535"),
        (("--for", "0"), 2, "0.1"),
        (("--for", "nan"), 2, "86400"),
    ],
)
def test_what_stands_in_the_way_is_said(options: tuple[str, ...], code: int, text: str) -> None:
    done = doctor(*options)
    assert done.exit_code == code
    assert text in done.stderr


class Locked(Mosquitto):
    """Knows one user, `reader`, whose password is `right`."""

    def command(self) -> list[str]:
        command = super().command()
        subprocess.run(["mosquitto_passwd", "-c", "-b", str(self.folder / "users"), "reader", "right"], check=True)
        path = self.folder / "mosquitto.conf"
        text = path.read_text().replace("allow_anonymous true", "allow_anonymous false")
        path.write_text(f"{text}\npassword_file {self.folder}/users\n")
        return command


def test_a_wrong_password_is_a_sentence_with_a_cure(tmp_path: Path, mosquitto: Mosquitto) -> None:
    (tmp_path / "secret").write_text("wrong\n")
    user = ("--user", "reader", "--password-file", str(tmp_path / "secret"))
    with Locked(tmp_path / "locked") as server:
        assert server.port != mosquitto.port
        refused = doctor("--port", str(server.port), *user)
        (tmp_path / "secret").write_text("right\n")
        let_in = doctor("--port", str(server.port), *user)
    assert refused.exit_code == 3
    assert refused.stderr.endswith(
        "Not authorized: check user name, password and certificate here, and the rights of this client in the broker\n"
    )
    assert let_in.exit_code == 1  # nobody sends


def test_a_broker_without_mqtt_5_is_told_from_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"\x20\x02\x00\x01")  # a CONNACK of 3.1.1: unacceptable protocol version

        thread = threading.Thread(target=answer)
        thread.start()
        done = doctor("--port", str(server.getsockname()[1]))
        thread.join()
    assert done.exit_code == 3
    assert "the doctor needs a broker with MQTT 5; the agent can do with 3.1.1" in done.stderr


def test_an_interrupt_ends_the_listening_and_not_the_work(broker: Mosquitto) -> None:
    code = "import sys; from edge_agent.cli import app; app()"
    command = [sys.executable, "-c", code, "doctor", "--port", str(broker.port), "--for", "60", "--json"]
    with sending(broker.port) as sent:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        while not sent:
            time.sleep(0.05)
        time.sleep(0.5)
        child.send_signal(2)
        out, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    assert json.loads(out)["messages"] > 0
