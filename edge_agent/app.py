"""The edge agent. START HERE.

                    thread `ingest`                              thread `pipeline`
    sensor   ┌───────────────────────────────┐        ┌───────────────────────────────────┐
    broker ─▶│ link ▶ decode ▶ journal (fsync)│─ wake ▶│ journal ▶ clean ▶ denoise ▶ align │
           ◀─┼─ PUBACK ◀───────┘             │        │   ▶ window ▶ infer ▶ decide       │
             └───────────────────────────────┘        │   ▶ outbox (fsync)                │
                                                       └───────────────┬───────────────────┘
                    event loop                                         │ hint
             ┌─────────────────────────────────────────────────────────▼───┐
    uplink ◀─┼─ uplink: batch                                               │
    broker ──┼▶ receipt ▶ outbox: delete          signals, state, metrics   │
             └─────────────────────────────────────────────────────────────┘

The pipeline reads the journal, never the link: a restart and a live minute take the same road. Group commit
needs no timer: what arrives while one commit is under way makes up the next.

SIGTERM: stop reading, finish the journal, seal, wait for receipts, save a snapshot, exit 0 within 5 s.
SIGHUP: read the configuration again; a faulty one is refused and the running one stays.
"""

import asyncio
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from edge_agent.adapters.inference import ModelShelf
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.link_paho import PahoLink
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.uplink import Uplink
from edge_agent.config import NEEDS_RESTART, EdgeConfig, load
from edge_agent.core import state
from edge_agent.core.entries import Configured, Data, Tick
from edge_agent.core.errors import StartError
from edge_agent.core.intake import Entry, Intake
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.results import Results
from edge_agent.metrics import Metrics
from edge_agent.ports import NoRoomError, Sealed, Stored
from models.bundle import BundleError
from models.contract.batch import Receipt, encode_batch
from models.contract.config_errors import ConfigError

_log = structlog.get_logger()
_TICK_S = 0.25  # how often silence is noticed
_FULL_WAIT_S = 0.2
_SNAPSHOT_S = 30.0
_TRIM_S = 1.0
_PIPELINE_S = 1.0  # of the 5 s that SIGTERM allows
_RECEIPTS_S = 2.0  # of the same


class Agent:
    """Wires the ports and runs the three parts."""

    def __init__(self, path: Path, config: EdgeConfig) -> None:
        self._path, self._config = path, config
        self.metrics = Metrics()
        folder, limits = config.state_dir, config.limits
        self._shelf = ModelShelf(folder / "models", config.inference)
        self._journal = SqliteJournal(
            folder / "journal.db", config.journal.max_bytes, config.journal.max_age_s, limits.deadletters
        )
        self._outbox = SqliteOutbox(folder / "outbox.db", config.outbox.max_bytes)
        self._link = PahoLink(
            config.sensor_broker,
            f"tocsin-{config.site}-{config.gateway}",
            config.sensor_broker.password("TOCSIN_SENSOR_PASSWORD"),
            limits.unacked_bytes,
        )
        self._uplink = Uplink(
            config,
            self._outbox,
            config.uplink.password("TOCSIN_UPLINK_PASSWORD"),
            self._state,
            self._on_receipt,
        )
        self._intake = Intake(config)
        self._pipeline = Pipeline(self._shelf.find)
        self._cursor = 0  # journal position up to which the pipeline has gone
        self._snapshot = 0  # journal position of the last snapshot
        self._started_ns = time.time_ns()
        self._stopping, self._ingested = threading.Event(), threading.Event()
        self._journalled, self._failed = threading.Event(), threading.Event()
        self._drain_until_s = 0.0
        self._idle_ticks = 0

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises StartError, BundleError, OSError when it cannot start."""
        self._recover(self._adopt(self._config))
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        if self._config.metrics.port:
            start_http_server(self._config.metrics.port, self._config.metrics.host, self.metrics.registry)
        self._link.start(self._intake.filters)
        async with asyncio.TaskGroup() as tasks:
            uplink = tasks.create_task(self._uplink.run(), name="uplink")
            gauges = tasks.create_task(self._gauges(), name="gauges")
            ingest = tasks.create_task(_in_thread(self._ingest), name="ingest")
            pipeline = tasks.create_task(_in_thread(self._process, loop), name="pipeline")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            try:
                await asyncio.wait({stopping, ingest, pipeline, uplink}, return_when=asyncio.FIRST_COMPLETED)
                self._stopping.set()
                await asyncio.wait({ingest})
                self._drain_until_s = time.monotonic() + _PIPELINE_S
                self._ingested.set()
                self._journalled.set()
                await asyncio.wait({pipeline})
                await self._drain()
            except asyncio.CancelledError:
                # One part failed: the threads of the others must end too, or the process would hang.
                self._failed.set()
                raise
            finally:
                self._stopping.set()
                self._journalled.set()
                stopping.cancel()
            self._uplink.stop()
            uplink.cancel()
            gauges.cancel()
        self._journal.close()
        self._outbox.close()
        _log.info("stopped", journal=self._cursor)

    def _ingest(self) -> None:
        """Link ▶ decode ▶ journal ▶ PUBACK."""
        try:
            while not self._stopping.is_set():
                messages = self._link.take(_TICK_S)
                if not messages:
                    self._tick()
                    continue
                self._idle_ticks = 0
                entry = self._intake.take(messages)
                if not self._commit(entry):
                    break
                self._link.acknowledge(messages)
                self._count(len(messages), entry)
        finally:
            self._link.stop()

    def _commit(self, entry: Entry) -> bool:
        """Keep trying while there is no room; False when the agent stops first (the broker keeps the messages)."""
        has_data = len(entry.readings.index) or entry.waveforms
        while True:
            now_ns = time.time_ns()
            # Messages that are all set aside are still a tick of the clock: silence of assets goes on.
            data = Data.of(now_ns, entry.readings, entry.waveforms) if has_data else Tick(arrival_ns=now_ns)
            try:
                self._journal.append([data], entry.deadletters)
            except NoRoomError as error:
                self.metrics.waits.labels("journal").inc()
                _log.warning("the journal has no room: the broker has to wait", error=str(error))
                if self._stopping.wait(_FULL_WAIT_S):
                    return False
            else:
                self._journalled.set()
                return True

    def _tick(self) -> None:
        """Silence is journalled too, until every asset's open frames must have closed."""
        longest_s = max(rule.idle_s for rule in self._config.assets)
        if self._idle_ticks * _TICK_S > longest_s + 1:
            return
        self._idle_ticks += 1
        try:
            self._journal.append([Tick(arrival_ns=time.time_ns())])
        except NoRoomError:
            return
        self._journalled.set()

    def _process(self, loop: asyncio.AbstractEventLoop) -> None:
        """Journal ▶ pipeline ▶ outbox."""
        results, since_ns, since_s = Results(), 0, 0.0
        snapshot_s = trim_s = time.monotonic()
        while not self._failed.is_set():
            self._journalled.clear()
            is_stopping = self._ingested.is_set()
            stored = self._journal.read(self._cursor)
            if stored and not results.rows:
                since_ns, since_s = stored[0].entry.arrival_ns, time.monotonic()
            self._step(stored, results)
            now_s = time.monotonic()
            # What is not used in time waits in the journal for the next start.
            is_last_round = is_stopping and (not stored or now_s > self._drain_until_s)
            age_s = now_s - since_s
            enough = results.rows >= self._config.outbox.batch_rows or age_s >= self._config.outbox.batch_age_s
            if results.rows and (enough or is_last_round):
                if not self._seal(results, since_ns):
                    return
                results = Results()
                loop.call_soon_threadsafe(self._uplink.hint)
            if now_s - trim_s > _TRIM_S:
                trim_s = now_s
                # What a restart needs stays: everything behind the snapshot.
                self._journal.trim(min(self._outbox.through, self._snapshot), time.time_ns())
            if not results.rows and (now_s - snapshot_s > _SNAPSHOT_S or is_last_round):
                snapshot_s = now_s
                self._save_snapshot()
            if is_last_round:
                return
            if not stored:
                wait_s = max(0.001, self._config.outbox.batch_age_s - age_s) if results.rows else _TICK_S
                self._journalled.wait(wait_s)

    def _step(self, stored: Sequence[Stored], results: Results) -> None:
        """Use entries until a batch is full."""
        for seq, entry in stored:
            self._pipeline.step(entry, results)
            self._cursor = seq
            if results.rows >= self._config.outbox.batch_rows:
                return

    def _save_snapshot(self) -> None:
        """Without room for it the last one stays: a restart then replays more of the journal."""
        try:
            self._outbox.save_snapshot(self._cursor, state.dump(self._pipeline.snapshot()))
        except NoRoomError as error:
            _log.warning("the outbox has no room for a snapshot: the last one stays", error=str(error))
        else:
            self._snapshot = self._cursor

    def _seal(self, results: Results, arrival_ns: int) -> bool:
        """Keep trying while there is no room; False when the agent stops first (the journal has it all)."""
        config = self._config

        def build(epoch: str, seq: int) -> bytes:
            return encode_batch(results.batch(config.site, config.gateway, epoch, seq))

        while True:
            try:
                self._outbox.append(build, arrival_ns, self._cursor)
            except NoRoomError as error:
                self.metrics.waits.labels("outbox").inc()
                _log.warning("the outbox has no room: results wait in the journal", error=str(error))
                if self._stopping.wait(_FULL_WAIT_S):
                    return False
            else:
                self.metrics.alarms.inc(sum(alarm.is_open for alarm in results.alarms))
                for reason, count in self._pipeline.counts.items():
                    self.metrics.marked.labels(reason).inc(count)
                self._pipeline.counts.clear()
                return True

    def _recover(self, configured: Configured) -> None:
        """Snapshot, then the journal behind it; what is sealed already is not sealed again."""
        saved = self._outbox.load_snapshot()
        through, last = self._outbox.through, self._journal.last()
        if last < through:
            _log.error("the journal is older than the outbox: it was replaced or set aside", last=last, through=through)
            self._outbox.forget_journal()
            saved, through = None, 0
        if saved is not None and saved[0] <= last:
            self._cursor = self._snapshot = saved[0]
            try:
                self._pipeline.restore(state.load(saved[1]))
            except (ValueError, KeyError, BundleError) as error:
                _log.warning("the snapshot cannot be used; the journal is replayed", error=str(error))
                self._pipeline, self._cursor, self._snapshot = Pipeline(self._shelf.find), 0, 0
        if not self._pipeline.is_configured:
            # The first start, or no snapshot: the journal may begin behind its first configuration.
            self._pipeline.step(configured, Results())
        while self._cursor < min(through, last):
            known = [stored for stored in self._journal.read(self._cursor) if stored.seq <= through]
            if not known:
                break
            for seq, entry in known:
                self._pipeline.step(entry, Results())
                self._cursor = seq
        self._pipeline.counts.clear()

    def _adopt(self, config: EdgeConfig) -> Configured:
        """Check and keep the models, then journal the configuration with their digests."""
        paths = sorted({path for rule in config.assets for path in rule.models})
        digests = {str(path): self._shelf.adopt(path) for path in paths}
        entry = Configured(arrival_ns=time.time_ns(), config=config.model_dump_json(), digests=digests)
        self._journal.append([entry])
        self._config = config
        self._journalled.set()
        self.metrics.provider.clear()
        for model in self._shelf.models:
            self.metrics.provider.labels(model.provider).set(1)
        return entry

    def _reload(self) -> None:
        """SIGHUP."""
        try:
            config = load(self._path)
            fixed = [name for name in NEEDS_RESTART if getattr(config, name) != getattr(self._config, name)]
            if fixed:
                raise ConfigError(f"{self._path}: {', '.join(fixed)}: a change needs a restart")  # noqa: TRY301 - handled with the others
            self._adopt(config)
        except (ConfigError, BundleError, StartError, NoRoomError) as error:
            self.metrics.reloads.labels("refused").inc()
            _log.error("the new configuration is refused; the old one stays", error=str(error))
            return
        self._intake = Intake(config)
        self._link.subscribe(self._intake.filters)
        self.metrics.reloads.labels("taken").inc()
        _log.info("configuration reloaded")

    async def _drain(self) -> None:
        """Wait for the receipts of what is sealed, as long as SIGTERM allows."""
        deadline_s = time.monotonic() + _RECEIPTS_S
        while self._uplink.is_connected and self._outbox.backlog() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)
        if waiting := self._outbox.backlog():
            _log.info("batches wait on disk for the next start", batches=waiting)

    async def _gauges(self) -> None:
        while True:
            self.metrics.backlog.set(await asyncio.to_thread(self._outbox.backlog))
            self.metrics.lag.set(await asyncio.to_thread(self._journal.last) - self._cursor)
            self.metrics.connected.labels("sensor").set(self._link.is_connected)
            self.metrics.connected.labels("uplink").set(self._uplink.is_connected)
            await asyncio.sleep(1)

    def _count(self, messages: int, entry: Entry) -> None:
        self.metrics.messages.inc(messages)
        self.metrics.readings.inc(len(entry.readings.index) + len(entry.waveforms))
        self.metrics.commits.inc()
        for letter in entry.deadletters:
            self.metrics.deadletters.labels(letter.reason).inc()
        if entry.deadletters:
            # One line a commit: a sender gone wild must not fill the disk with logs as well.
            last = entry.deadletters[-1]
            _log.warning(
                "messages were set aside; `tocsin edge deadletters` lists them",
                count=len(entry.deadletters),
                last_topic=last.topic[:200],
                last_reason=last.reason,
                last_text=last.text[:200],
            )

    def _on_receipt(self, batch: Sealed, _receipt: Receipt) -> None:
        self.metrics.latency.observe(max(0, time.time_ns() - batch.arrival_ns) / 1e9)

    def _state(self, online: bool) -> bytes:
        """The retained state: who this is and what it runs."""
        models = [
            {
                "name": m.manifest.name,
                "version": m.manifest.version,
                "digest": m.manifest.digest,
                "provider": m.provider,
            }
            for m in self._shelf.models
        ]
        content = {
            "online": online,
            "since_ns": self._started_ns,
            "version": metadata.version("tocsin"),
            "epoch": self._outbox.epoch,
            "config_digest": hashlib.sha256(self._config.model_dump_json().encode()).hexdigest(),
            "models": models,
        }
        return json.dumps(content).encode()


async def _in_thread(work: Callable[..., None], *arguments: object) -> None:
    """A named, long-lived thread as a task: its error is the task's."""
    await asyncio.to_thread(work, *arguments)
