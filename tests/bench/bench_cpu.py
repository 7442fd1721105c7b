"""CPU time a message: the whole agent, from the link to scored windows and the outbox, against a client that counts.

    ./run bench            a table
    ./run bench --json     one JSON object

The same flood of QoS 1 messages, one JSON reading each, to two receivers in turn within one run, each a process of its
own: a bare paho MQTT 5 client whose callback only counts, and `tocsin edge run` with range check, Hampel filter, a grid
of 0.5 s and a model. CPU time is that of all threads, user and system, from the first message to the last. Medians of
the passes; the ratio is what counts.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.agents import eventually
from tests.bench import gateway
from tests.bench.flood import packets, publish
from tests.bench.machine import machine
from tests.bench.report import print_json, wants_json
from tests.bench.scrape import scraped
from tests.servers import Mosquitto, free_port

PASSES = 3
MESSAGES = 100_000
START_NS = 1_760_000_000_000_000_000
SPACING_NS = 1_000_000  # of event time: a thousand readings a second
_GAUGES_S = 1.5  # until they have been looked at anew
COUNTER = """
import sys
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
count = 0
def counted(_client, _data, _message):
    global count
    count += 1
    if count == int(sys.argv[2]):
        print("counted all", flush=True)
client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.on_message = counted
client.on_subscribe = lambda *_: print("subscribed", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.subscribe("factory/#", qos=1)
client.loop_forever()
"""


class Measured(NamedTuple):
    """CPU time a message of one pass, microseconds."""

    paho_us: float
    agent_us: float


def of_paho(broker: Mosquitto, folder: Path, flood: list[bytes]) -> float:
    """Of the client that only counts."""
    with gateway.Daemon(COUNTER, [str(broker.port), str(MESSAGES)], folder) as client:
        eventually(lambda: client.says("subscribed"), "a subscription")
        return _cpu_us(client, broker.port, flood, lambda: client.says("counted all"))


def of_agent(broker: Mosquitto, folder: Path, flood: list[bytes]) -> float:
    """Of the agent; without an aggregator its results wait in the outbox."""
    port = free_port()
    gateway.configure(folder, broker.port, free_port(), f"metrics = {{ port = {port} }}")
    with gateway.agent(folder) as agent:
        eventually(lambda: agent.says("connected to the sensor broker"), "agent up")
        time.sleep(1.0)

        def is_done() -> bool:
            if scraped(port, "tocsin_edge_messages_total") < MESSAGES:
                return False
            time.sleep(_GAUGES_S)
            return not scraped(port, "tocsin_edge_journal_lag_entries")

        return _cpu_us(agent, broker.port, flood, is_done)


def _cpu_us(receiver: gateway.Daemon, port: int, flood: list[bytes], is_done: Callable[[], bool]) -> float:
    publisher = multiprocessing.get_context("fork").Process(target=publish, args=(port, flood))
    before_s = receiver.cpu_s
    publisher.start()
    publisher.join()
    eventually(is_done, "the last message")
    return (receiver.cpu_s - before_s) / MESSAGES * 1e6


def one_pass(flood: list[bytes]) -> Measured:
    """Both receivers, each with a broker of its own."""
    found = []
    for receive in (of_paho, of_agent):
        with tempfile.TemporaryDirectory() as scratch, Mosquitto(Path(scratch) / "broker") as broker:
            found.append(receive(broker, Path(scratch), flood))
    return Measured(*found)


def main() -> None:
    """Measure and print."""
    as_json = wants_json(__doc__)
    flood = packets([gateway.message(i, START_NS + i * SPACING_NS) for i in range(MESSAGES)])
    passes = []
    for number in range(PASSES):
        sys.stderr.write(f"bench_cpu: pass {number + 1} of {PASSES}\n")
        passes.append(one_pass(flood))
    paho_us, agent_us = (round(statistics.median(column), 1) for column in zip(*passes, strict=True))
    ratio = round(statistics.median(one.agent_us / one.paho_us for one in passes), 2)
    if as_json:
        print_json("cpu", paho_us=paho_us, agent_us=agent_us, ratio=ratio)
        return
    sys.stdout.write(
        f"CPU time a QoS 1 message of one reading, {MESSAGES:,} of them, median of {PASSES}; {machine()}\n"
    )
    sys.stdout.write(f"paho client that counts {paho_us:>8.1f} us\n")
    sys.stdout.write(f"agent, link to windows  {agent_us:>8.1f} us\n")
    sys.stdout.write(f"agent : paho            {ratio:>8.2f}\n")


if __name__ == "__main__":
    main()
