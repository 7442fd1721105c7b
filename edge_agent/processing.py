"""The second half of the agent: journal ▶ pipeline ▶ outbox (fsync), in a thread of its own.

    start   snapshot ─▶ journal behind it, up to what is sealed: results thrown away ─▶ on as usual

The pipeline reads the journal, never the link: a restart and a live minute take the same road. Snapshots are
written by a second thread; here they cost a copy of the arrays.

Invariants
1. A batch and the journal position that it reaches are committed together: nothing is skipped, nothing sealed twice.
2. A snapshot is taken only when all results up to its position are sealed.
"""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from msgspec.structs import replace

from edge_agent.config import EdgeConfig
from edge_agent.core import state
from edge_agent.core.entries import Configured, Data, Withdrawn
from edge_agent.core.model import Model
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.results import Results
from edge_agent.heartbeat import Beat, Heartbeat
from edge_agent.metrics import Metrics
from edge_agent.ports import Clock, Journal, NoRoomError, Outbox, Stored
from models.bundle import BundleError
from models.contract.batch import encode_batch

_log = structlog.get_logger()
_WAIT_S = 0.25
_FULL_WAIT_S = 0.2
_TRIM_S = 1.0
_SNAPSHOT_S = 30.0
_SNAPSHOT_READINGS = 100_000  # a restart replays no more than about this
_SNAPSHOT_SHARE = 20  # a snapshot is not begun before this many times the last one's duration has passed
_UNSENT_AGE_S = 10.0  # while batches cannot go out, they are made larger: a day offline must not be millions of them
_MOST_ENTRIES, _READ_BYTES = 512, 4 * 1024 * 1024  # of one read from the journal
_DRAIN_S = 1.0  # of the 5 s that SIGTERM allows


class Processing:
    """`find_model` finds a model by its digest; `has_room` tells whether a batch would go out at once.

    Without a `heartbeat` batches hold results only. `on_serving` is told the digests of the models that serve from now
    on, after each configuration.
    """

    def __init__(
        self,
        journal: Journal,
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
        find_model: Callable[[str], Model | None],
        has_room: Callable[[], bool],
        heartbeat: Heartbeat | None = None,
        on_serving: Callable[[Collection[str]], None] = lambda _digests: None,
    ) -> None:
        self._heartbeat = heartbeat
        self._journal, self._outbox, self._clock, self._metrics = journal, outbox, clock, metrics
        self._find_model, self._has_room, self._on_serving = find_model, has_room, on_serving
        self._site, self._gateway, self._batch_rows, self._batch_age_s = "", "", 1, 0.0  # see recover
        self._pipeline = Pipeline(find_model)
        self.cursor = 0  # the journal position up to which the pipeline has gone
        self._ahead: list[Stored] = []  # read, not yet used
        self._at_once = 16  # entries a read: as many as fit, for they may be single readings or waveforms
        self._snapshots = _Snapshots(outbox)
        self._readings = 0  # since the last snapshot
        self._failed: dict[str, str] = {}  # models of which the journal has still to be told

    def recover(self, config: EdgeConfig, configured: Configured) -> EdgeConfig | None:
        """Snapshot, then the journal behind it; what is sealed already is not sealed again.

        `configured`: what the journal was told last; used when it begins behind its first configuration.
        Returns the configuration of the life before, None when there was none.
        """
        self._site, self._gateway = config.site, config.gateway
        self.configure(config)
        saved = self._outbox.load_snapshot()
        through = self._outbox.through
        if saved is not None:
            self._restore(*saved)
        before = self._pipeline.config
        if not self._pipeline.is_configured:
            # What is to be said of its models is said when the pipeline comes to it: only then are results kept.
            self._pipeline.run([replace(configured, engines={}, refused={})], Results())
        while self.cursor < through:
            known = [stored for stored in self._read() if stored.seq <= through]
            if not known:
                break
            self._pipeline.run([stored.entry for stored in known], Results())
            before = self._pipeline.config
            self.cursor = known[-1].seq
            if any(isinstance(stored.entry, Configured) for stored in known):
                self._on_serving(self._pipeline.serving)
        self._pipeline.counts.clear()
        return before

    def configure(self, config: EdgeConfig) -> None:
        """Take over how batches are cut; all else reaches the pipeline through the journal."""
        self._batch_rows, self._batch_age_s = config.outbox.batch_rows, config.outbox.batch_age_s

    def run(
        self,
        journalled: threading.Event,
        ingested: threading.Event,
        failed: threading.Event,
        sealed: Callable[[], None],
    ) -> None:
        """Until `ingested` is set and the journal is used up, or a while later; at once when `failed` is set."""
        results, since_ns, since_s = Results(), 0, 0.0
        trim_s, drain_until_s = time.monotonic(), 0.0
        while not failed.is_set():
            journalled.clear()
            is_stopping = ingested.is_set()
            now_s = time.monotonic()
            drain_until_s = drain_until_s or (now_s + _DRAIN_S if is_stopping else 0.0)
            try:
                used = self._next()
            except NoRoomError as error:
                _log.warning("the journal cannot be read now; trying again", error=str(error))
                used = []
                failed.wait(_FULL_WAIT_S)
            if used and not results.rows:
                since_ns, since_s = used[0].entry.arrival_ns, now_s
            self._use(used, results)
            now_s = time.monotonic()
            # What is not used in time waits in the journal for the next start.
            is_last_round = is_stopping and (not used or now_s > drain_until_s)
            left_s = since_s + (self._batch_age_s if self._has_room() else _UNSENT_AGE_S) - now_s
            if results.rows and (results.rows >= self._batch_rows or left_s <= 0 or is_last_round):
                if not self._seal(results, since_ns, ingested):
                    break
                results = Results()
                sealed()
            if now_s - trim_s > _TRIM_S:
                # What a restart needs stays: everything behind the snapshot.
                has_more = self._journal.trim(min(self._outbox.through, self._snapshots.through), self._clock.now_ns())
                trim_s = now_s if not has_more else 0.0
            is_due = self._snapshots.is_due(self._readings, now_s, must=self._journal.is_short_of_room)
            if not results.rows and (is_last_round or is_due):
                self._readings = 0
                self._snapshots.save(self.cursor, self._pipeline.snapshot(), now_s)
            if is_last_round:
                break
            self._seal_heartbeat(results, sealed)
            if not used:
                journalled.wait(min(max(0.001, left_s), _WAIT_S) if results.rows else _WAIT_S)
        self._snapshots.close()

    def _next(self) -> list[Stored]:
        """Entries for one step of the pipeline: about a batch full."""
        if not self._ahead:
            self._ahead = self._read()
        readings = count = 0
        for _, entry in self._ahead:
            count += 1
            readings += len(entry.index) // 4 + len(entry.waveforms) if isinstance(entry, Data) else 0
            if readings >= self._batch_rows:
                break
        used, self._ahead = self._ahead[:count], self._ahead[count:]
        self._readings += readings
        return used

    def _read(self) -> list[Stored]:
        """What comes behind the cursor, some MiB at most."""
        found = self._journal.read(self.cursor, self._at_once)
        size = sum(stored.entry.size_bytes for stored in found if isinstance(stored.entry, Data))
        if size > _READ_BYTES:
            self._at_once = max(1, self._at_once // 2)
        elif size < _READ_BYTES // 4 and len(found) == self._at_once:
            self._at_once = min(_MOST_ENTRIES, 2 * self._at_once)
        return found

    def _use(self, used: list[Stored], results: Results) -> None:
        if used:
            self._pipeline.run([stored.entry for stored in used], results)
            self.cursor = used[-1].seq
        if any(isinstance(stored.entry, Configured) for stored in used):
            self._failed.clear()  # it tries all models again
            self._on_serving(self._pipeline.serving)
        self._failed |= self._pipeline.take_failures()
        for digest, reason in tuple(self._failed.items()):
            try:
                self._journal.append([Withdrawn(arrival_ns=self._clock.now_ns(), digest=digest, reason=reason)])
            except NoRoomError as error:
                _log.warning("the journal has no room for a model's failure; trying again", error=str(error))
                break
            _log.error("a model is out of service", digest=digest, reason=reason)
            del self._failed[digest]

    def _seal(self, results: Results, arrival_ns: int, stopping: threading.Event) -> bool:
        """Keep trying while there is no room; False when the agent stops first (the journal has it all)."""
        beat = self._heartbeat.beat(arrival_ns) if self._heartbeat is not None else None
        while True:
            try:
                self._append(results, arrival_ns, beat)
            except NoRoomError as error:
                self._metrics.waits.labels("outbox").inc()
                _log.warning("the outbox has no room: results wait in the journal", error=str(error))
                if stopping.wait(_FULL_WAIT_S):
                    return False
            else:
                self._metrics.sealed.inc(results.rows)
                self._metrics.alarms.inc(results.opened)
                for reason, count in self._pipeline.counts.items():
                    self._metrics.marked.labels(reason).inc(count)
                self._pipeline.counts.clear()
                return True

    def _seal_heartbeat(self, results: Results, sealed: Callable[[], None]) -> None:
        """A batch for the heartbeat alone, when it is due, would go out at once, and no results wait for theirs."""
        if self._heartbeat is None or results.rows or not self._has_room():
            return
        beat = self._heartbeat.beat()
        if beat is None:
            return
        try:
            self._append(results, beat.time_ns, beat)
        except NoRoomError as error:
            _log.debug("no room for a heartbeat", error=str(error))
        else:
            sealed()

    def _append(self, results: Results, arrival_ns: int, beat: Beat | None) -> None:
        """One batch, in one commit with the position that it reaches. Raises NoRoomError."""

        def build(epoch: str, seq: int) -> bytes:
            batch = results.batch(self._site, self._gateway, epoch, seq)
            if beat is not None:
                batch.gateway_time_ns, batch.gateway_fields = beat
            return encode_batch(batch)

        self._outbox.append(build, arrival_ns, self.cursor)
        if beat is not None and self._heartbeat is not None:
            self._heartbeat.told()

    def _restore(self, through: int, content: bytes) -> None:
        try:
            self._pipeline.restore(state.load(content))
        except (ValueError, KeyError, BundleError) as error:
            _log.warning("the snapshot cannot be used; the journal is replayed", error=str(error))
            self._pipeline = Pipeline(self._find_model)
        else:
            self.cursor = self._snapshots.through = through


class _Snapshots:
    """Writes snapshots, one at a time, and decides when the next is due."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._under_way: Future[None] | None = None
        self.through = 0  # the position of the last one on disk
        self._begun_s, self._took_s = time.monotonic(), 0.0

    def is_due(self, readings: int, now_s: float, *, must: bool) -> bool:
        """`readings`: how many were used since the last one; `must`: the journal is full up to the last one.

        Raises what a snapshot failed of.
        """
        age_s = now_s - self._begun_s
        if self._under_way is not None:
            if not self._under_way.done():
                return False
            self._under_way.result()
        if age_s < _SNAPSHOT_SHARE * self._took_s:
            return False
        return age_s > _SNAPSHOT_S or readings >= _SNAPSHOT_READINGS or (must and readings > 0)

    def save(self, through: int, tree: dict[str, Any], now_s: float) -> None:
        """Write it behind the caller's back."""
        self._begun_s = now_s
        self._under_way = self._writer.submit(self._write, through, tree)

    def close(self) -> None:
        """Wait for the one under way."""
        self._writer.shutdown()

    def _write(self, through: int, tree: dict[str, Any]) -> None:
        """Without room for it the last one stays: a restart then replays more of the journal."""
        begun_s = time.monotonic()
        try:
            self._outbox.save_snapshot(through, state.dump(tree))
        except NoRoomError as error:
            _log.warning("the outbox has no room for a snapshot: the last one stays", error=str(error))
        else:
            self.through = through
        self._took_s = time.monotonic() - begun_s
