"""What the doctor's tests share: logs of senders that write, and what the doctor makes of them."""

import json
import tomllib
from collections.abc import Callable

from edge_agent.config import Broker, EdgeConfig
from edge_agent.core.doctor import Diagnosis, Heard, Log
from edge_agent.core.doctor.draft import draft_of
from edge_agent.core.intake import Entry, Intake, Message
from models.contract.config_errors import check

T0 = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
Payload = Callable[[int, int], bytes]  # (number, arrival_ns)


def log_of(senders: dict[str, Payload], count: int = 20, qos: int = 1, period_ns: int = SECOND) -> Log:
    log = Log()
    for number in range(count):
        for i, (topic, sender) in enumerate(senders.items()):
            arrival_ns = T0 + number * period_ns + i
            log.add(Heard(topic, sender(number, arrival_ns), arrival_ns, qos, is_retained=False))
    return log


def drafted(found: Diagnosis) -> EdgeConfig:
    return check(tomllib.loads(draft_of(found, Broker(), 5.0)), EdgeConfig, "draft")


def read_by(config: EdgeConfig, log: Log) -> Entry:
    """What an agent with this configuration makes of the messages kept of a log; of each topic there has to be one."""
    assert set(log.topics) == {sample.topic for sample in log.samples()}
    return Intake(config).take([Message(s.topic, s.payload, s.arrival_ns) for s in log.samples()])


def kinds(found: Diagnosis) -> dict[str, list[tuple[str, str]]]:
    return {finding.kind: finding.places for finding in found.findings}


def timed(offset_s: float, number: Callable[[int], float] = float) -> Payload:
    return lambda n, t: json.dumps({"ts": (t + int(offset_s * SECOND)) // 1_000_000, "value": number(n)}).encode()
