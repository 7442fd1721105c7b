"""An intake of Sparkplug B for tests, with a clock: says messages of one edge node, and what became of them."""

import math
from collections.abc import Sequence
from typing import Any

from edge_agent.config import EdgeConfig
from edge_agent.core.intake import Entry, Intake, Message
from edge_agent.core.recent import Recent
from edge_agent.core.sparkplug.host import Host
from models.contract.quality import Quality
from tests.sparkplug_node import M, payload, topic

MS = 1_000_000
T = 1_760_000_000_000  # ms, of the edge node's clock
LAG = 250 * MS  # from there to the arrival
STALE = int(Quality.UNCERTAIN_STALE)
SECOND = 1_000_000_000
Row = tuple[str, str, int, float | None, int]  # asset, channel, ms, value (None: no value), quality

NODE = [M(0, "Int64", "bdSeq"), M(False, "Boolean", "Node Control/Rebirth"), M(12.5, "Double", "Supply", 1)]
DEVICE = [M(False, "Boolean", "Inputs/A", 10), M(20.0, "Double", "Temp", 11), M("idle", "String", "State", 12)]


class Plant:
    """An intake with a clock; messages arrive `LAG` after their own time."""

    def __init__(self, **topics: Any) -> None:
        self.topics = {"template": "spBv1.0/plant-1/#", "format": "sparkplug-b"} | topics
        self.host, self.recent, self.now_ms = Host(), Recent(), T
        self.configure()

    def configure(self, channels: Sequence[str] = ("*/*",), waveforms: Sequence[str] = (), **limits: Any) -> None:
        """The same state under another configuration."""
        self.intake = Intake(
            EdgeConfig.model_validate(
                {
                    "site": "s",
                    "gateway": "g",
                    "state_dir": "state",
                    "topics": [self.topics],
                    "channels": [
                        *({"match": match, "kind": "waveform"} for match in waveforms),
                        *({"match": match} for match in channels),
                    ],
                    "limits": limits,
                    "assets": [{"match": "*"}],
                }
            ),
            self.recent,
            self.host,
        )

    def restart(self) -> None:
        """As after `kill -9`: the births are what was kept."""
        content, self.host = self.host.save(), Host()
        self.host.restore(content, self.now_ms * MS + LAG)
        self.configure()

    def message(
        self, where: str, metrics: Sequence[M] = (), *, seq: int | None = None, untimed: bool = False
    ) -> Message:
        self.now_ms += 1
        content = payload(metrics, seq=seq, time_ms=None if untimed else self.now_ms)
        return Message(where, content, self.now_ms * MS + LAG)

    def take(self, *messages: Message) -> Entry:
        entry = self.intake.take(messages)
        self.recent.add(entry.keys, entry.packet_ids)
        return entry

    def say(self, where: str, metrics: Sequence[M] = (), *, seq: int | None = None) -> list[Row]:
        """The readings of one message that is taken."""
        entry = self.take(self.message(where, metrics, seq=seq))
        assert entry.deadletters == []
        return rows(entry)

    def refuse(self, where: str, metrics: Sequence[M] = (), *, seq: int | None = None) -> str:
        """The reason of one that is not."""
        entry = self.take(self.message(where, metrics, seq=seq))
        assert rows(entry) == []
        (letter,) = entry.deadletters
        return letter.reason

    def born(self, bd_seq: int = 0) -> "Plant":
        self.say(topic("NBIRTH"), [M(bd_seq, "Int64", "bdSeq"), *NODE[1:]], seq=0)
        self.say(topic("DBIRTH", "d1"), DEVICE, seq=1)
        return self

    def asks(self, now_s: float) -> list[str]:
        """The topics on which births are asked for at a time."""
        asked = []
        for node in self.host.due(int(now_s * SECOND), 10):
            node.asked(int(now_s * SECOND))
            asked.append(node.command_topic)
        return asked


def rows(entry: Entry) -> list[Row]:
    r = entry.readings
    times = [None if ns % MS else ns // MS for ns in r.time_ns.tolist()]
    values = [None if math.isnan(value) else value for value in r.value.tolist()]
    keys = [r.channels[i] for i in r.index]
    return [
        (*key, time or -1, value, quality)
        for key, time, value, quality in zip(keys, times, values, r.quality.tolist(), strict=True)
    ]
