"""Sparkplug nodes beside the stream of their messages: their births are kept on disk, and asked for when they lack."""

import time

import structlog

from edge_agent.core.sparkplug.host import Host
from edge_agent.core.sparkplug.outgoing import rebirth
from edge_agent.metrics import Metrics
from edge_agent.ports import BirthFile, Clock, SensorLink

_log = structlog.get_logger()
_LOOK_S = 0.25
_ASKED_AT_ONCE = 10  # at each look: after a start all are asked, and must not answer all at once
_MS_NS = 1_000_000


class Nodes:
    """`host` is what the intake decodes by. All methods belong to the thread of the link."""

    def __init__(self, file: BirthFile | None, link: SensorLink, clock: Clock, metrics: Metrics) -> None:
        self._file, self._link, self._clock, self._metrics = file, link, clock, metrics
        self.host = Host()
        self._looked_s = 0.0
        content = file.load() if file is not None else None
        try:
            if content is not None:
                self.host.restore(content, clock.now_ns())
        except ValueError as error:
            self.host = Host()
            text = "the births of Sparkplug nodes cannot be used: each is asked for a rebirth when it is heard"
            _log.warning(text, reason=str(error))

    @property
    def must_keep(self) -> bool:
        """Whether `keep` has something to do."""
        return self._file is not None and self.host.is_changed

    def keep(self) -> None:
        """What births and deaths have said is on disk when it returns. Raises NoRoomError."""
        if self._file is not None and self.host.is_changed:
            self._file.save(self.host.save())
            self.host.is_changed = False

    def ask(self) -> None:
        """For births, where they are wanted, as far as there is a connection: else at a later call."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        now_ns = time.monotonic_ns()
        asked = []
        for node in self.host.due(now_ns, _ASKED_AT_ONCE):
            if not self._link.publish(node.command_topic, rebirth(self._clock.now_ns() // _MS_NS)):
                break
            asked.append((node.command_topic, node.wanted))
            node.asked(now_ns)
        if asked:
            self.host.counts["rebirths_asked"] += len(asked)
            last_topic, last_reason = asked[-1]
            text = "Sparkplug edge nodes are asked for their births"
            _log.warning(text, count=len(asked), last_topic=last_topic, last_reason=last_reason)
        for event, count in self.host.counts.items():
            self._metrics.nodes.labels(event).inc(count)
        self.host.counts.clear()
