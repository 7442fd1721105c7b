"""The first half of the agent: link ▶ decode ▶ journal (fsync) ▶ PUBACK, in a thread of its own.

Group commit needs no timer: what arrives while one commit is under way makes up the next, so that a broker which
allows 20 messages in flight does not stall and a flood does not sync a message at a time.

Invariants
1. A message is acknowledged only when it is in the journal, is a dead letter there, or was there before.
2. The listening clock in the journal ascends, over restarts too; it stands still while the broker is away, and
   while we do not listen because there is no room.
3. A tick stands before the data that came with it: what it finds silent was silent before them.
4. What a Sparkplug birth says is on disk before the birth is acknowledged.
5. A dead letter that a person wants taken again goes in the commit of what comes of it: readings, or a new letter.
"""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import structlog

from edge_agent.config import EdgeConfig
from edge_agent.core.entries import Data, JournalEntry, Tick
from edge_agent.core.intake import HEAD_BYTES, DeadLetter, Entry, Intake, Message
from edge_agent.core.recent import LIMIT, Recent, count_keys, pack_keys, unpack_keys
from edge_agent.core.watchdog import Watchdog
from edge_agent.metrics import Metrics
from edge_agent.nodes import Nodes
from edge_agent.ports import BirthFile, Clock, Journal, NoRoomError, SensorLink

_log = structlog.get_logger()
_TICK_S = 0.25  # how often silence is looked for
_FULL_WAIT_S = 0.2
_TELL_S = 60.0  # from one log line on dead letters to the next
_AGAIN_S = 1.0  # how often dead letters to be taken again are looked for
_AGAIN_LETTERS = 256
_SECOND_NS = 1_000_000_000
_FOR_EVER_NS = 1 << 62
_ENTRIES_RECALLED = 100_000  # at a start, at most
_ENTRIES_AT_ONCE = 1000
_SLICE_BYTES = 64 * 1024  # of payloads in one entry: a flood must not make batches of tens of thousands of rows


class Ingest:
    """`journalled` is set after each commit."""

    def __init__(
        self,
        config: EdgeConfig,
        link: SensorLink,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        journalled: threading.Event,
        births: BirthFile | None = None,
    ) -> None:
        self._link, self._journal, self._clock = link, journal, clock
        self._metrics, self._journalled = metrics, journalled
        self._recent, self._listened_before_ns = _recall(journal)
        self._heard_ns = self._listened_before_ns  # the listening clock when the last data came
        self._ticked_s = self._looked_s = 0.0
        self._told_s, self._untold = -math.inf, 0  # dead letters that no log line has counted yet
        self._watchdog = Watchdog()
        self._nodes = Nodes(births, link, clock, metrics)
        self._intake = Intake(config, self._recent, self._nodes.host)
        self._held: list[str] = []
        self._watched_ns = _watched_ns(config)

    def resume(self, config: EdgeConfig | None) -> None:
        """Before `run`: the configuration of the life before, whose subscriptions the broker may still hold."""
        self._held = Intake(config).filters if config else []

    def configure(self, config: EdgeConfig) -> None:
        """Take over a configuration, from any thread."""
        self._watched_ns = _watched_ns(config)
        self._intake = Intake(config, self._recent, self._nodes.host)
        self._link.subscribe(self._intake.filters)

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set."""
        self._link.start(self._intake.filters, self._held)
        try:
            while not stopping.is_set():
                messages = self._link.take(_TICK_S)
                self._watch(bool(messages))
                entries = [self._take(some) for some in _slices(messages)]
                if self._commit(entries, stopping):
                    self._link.acknowledge(messages)
                    self._count_messages(messages, entries)
                self._take_again(stopping)
                self._nodes.ask()
        finally:
            self._link.stop()

    def _take(self, messages: Sequence[Message]) -> Entry:
        entry = self._intake.take(messages, is_clock_behind=self._clock.is_behind)
        # Before the commit, for the next slice may say the same; an agent that never commits it never comes back here.
        self._recent.add(entry.keys, entry.packet_ids)
        return entry._replace(deadletters=_with_payloads(entry.deadletters, messages))

    def _take_again(self, stopping: threading.Event) -> None:
        """Dead letters that a person marked, since configuration or sender were mended."""
        if stopping.is_set() or time.monotonic() - self._looked_s < _AGAIN_S:
            return
        try:
            found = self._journal.again(_AGAIN_LETTERS)
        except NoRoomError as error:
            _log.warning("the journal cannot be read now", error=str(error))
            found = []
        if len(found) < _AGAIN_LETTERS:
            self._looked_s = time.monotonic()
        if not found:
            return
        entries = [self._take(some) for some in _slices([one.message for one in found])]
        if self._commit(entries, stopping, [one.number for one in found]):
            self._count(entries)
            dead = sum(len(entry.deadletters) for entry in entries)
            _log.info("dead letters were taken again", count=len(found), dead_again=dead)

    def _commit(self, taken: Sequence[Entry], stopping: threading.Event, done: Sequence[int] = ()) -> bool:
        """Keep trying while there is no room; False when the agent stops first (the broker keeps the messages)."""
        entries = self._entries(taken)
        deadletters = [letter for entry in taken for letter in entry.deadletters]
        if not (entries or deadletters or done or self._nodes.must_keep):
            return True
        heard_ns, is_journalled = self._link.listened_ns, False
        while True:
            try:
                if not is_journalled:
                    self._journal.append(entries, deadletters, done)
                is_journalled = True
                # Behind the journal: a death that is known, but whose marks are not kept, would never be told.
                self._nodes.keep()
            except NoRoomError as error:
                self._metrics.waits.labels("journal").inc()
                _log.warning("the journal has no room: the broker has to wait", error=str(error))
                self._link.keep_alive()
                if stopping.wait(_FULL_WAIT_S):
                    return False
            else:
                self._listened_before_ns -= self._link.listened_ns - heard_ns
                self._journalled.set()
                return True

    def _entries(self, taken: Sequence[Entry]) -> list[JournalEntry]:
        """A tick when one is due, until every asset's open frames must have closed; then the data."""
        now_ns, now_s = self._clock.now_ns(), time.monotonic()
        listened_ns = self._listened_before_ns + self._link.listened_ns
        data: list[JournalEntry] = [
            Data.of(now_ns, entry.readings, entry.waveforms, pack_keys(entry.keys, entry.packet_ids))
            for entry in taken
            if len(entry.readings.index) or entry.waveforms
        ]
        is_watched = bool(data) or listened_ns - self._heard_ns <= self._watched_ns
        if data:
            self._heard_ns = listened_ns
        if now_s - self._ticked_s < _TICK_S or not is_watched:
            return data
        self._ticked_s = now_s
        is_unsure = self._clock.is_behind or now_ns < self._intake.earliest_ns
        return [Tick(arrival_ns=now_ns, listened_ns=listened_ns, is_clock_unsure=is_unsure), *data]

    def _watch(self, got_messages: bool) -> None:
        """A silence of the sensors, or a connection that only seems alive: a new one tells."""
        if self._watchdog.step(self._link.listened_ns / 1e9, got_messages):
            limit_s = round(self._watchdog.limit_s)
            self._metrics.silences.inc()
            _log.warning("no message for longer than usual; connecting anew", longer_than_s=limit_s)
            self._link.reconnect()

    def _count_messages(self, messages: Sequence[Message], entries: Sequence[Entry]) -> None:
        if messages:
            self._metrics.messages.inc(len(messages))
            self._count(entries)

    def _count(self, entries: Sequence[Entry]) -> None:
        self._metrics.repeated.inc(sum(entry.repeated for entry in entries))
        self._metrics.readings.inc(sum(len(entry.readings.index) + len(entry.waveforms) for entry in entries))
        self._metrics.skipped.inc(sum(entry.skipped for entry in entries))
        self._metrics.commits.inc()
        letters = [letter for entry in entries for letter in entry.deadletters]
        for letter in letters:
            self._metrics.deadletters.labels(letter.reason).inc()
        self._untold += len(letters)
        if letters and time.monotonic() - self._told_s >= _TELL_S:
            # A line a minute: a sender gone wild must not fill the disk with logs as well.
            last = letters[-1]
            self._told_s, count, self._untold = time.monotonic(), self._untold, 0
            _log.warning(
                "messages were set aside; `tocsin edge deadletters` lists them",
                count=count,
                last_topic=last.topic[:200],
                last_reason=last.reason,
                last_text=last.text[:200],
            )


def _with_payloads(letters: list[DeadLetter], messages: Sequence[Message]) -> list[DeadLetter]:
    """Each with the whole payload of its message; without, where the topic was too long to be kept as it was."""
    if not letters:
        return letters
    whole = {(m.arrival_ns, m.topic, m.payload[:HEAD_BYTES]): m.payload for m in messages}
    return [one._replace(payload=whole.get((one.arrival_ns, one.topic, one.head))) for one in letters]


def _slices(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut so that each is small, and at least one message."""
    start = size = 0
    for end, message in enumerate(messages):
        size += len(message.payload)
        if size > _SLICE_BYTES and end > start:
            yield messages[start:end]
            start, size = end, len(message.payload)
    if len(messages) > start:
        yield messages[start:]


def _watched_ns(config: EdgeConfig) -> int:
    """How long silence goes on to mean something, on the listening clock."""
    if any(rule.no_data_factor for rule in config.channels):
        return _FOR_EVER_NS
    return int(max(rule.idle_s for rule in config.assets) * _SECOND_NS) + _SECOND_NS


def _recall(journal: Journal) -> tuple[Recent, int]:
    """From the journal's end: the messages that may come again, and where the listening clock stood."""
    recent, listened_ns, count = Recent(), 0, 0
    found: list[bytes] = []
    for _, entry in islice(journal.newest(), _ENTRIES_RECALLED):
        if isinstance(entry, Tick):
            listened_ns = max(listened_ns, entry.listened_ns)
        elif isinstance(entry, Data):
            found.append(entry.keys)
            count += count_keys(entry.keys)
        if count >= LIMIT and listened_ns:
            break
    found.reverse()
    for start in range(0, len(found), _ENTRIES_AT_ONCE):
        recent.add(*unpack_keys(found[start : start + _ENTRIES_AT_ONCE]))
    return recent, listened_ns
