"""The edge agent. START HERE.

                    thread `ingest` (ingest.py)         thread `pipeline` (processing.py)
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
What is not done by then, a model that loads or a run that hangs, is left behind: the journal has what it was about.
A model whose file cannot be used stops nothing but itself: models.py says what serves instead.
SIGHUP: read the configuration and the models again; a faulty one is refused and the running ones stay. New models are
loaded and tried in a thread of their own (models.py); the old ones serve until the journal says that the new ones do.
"""

import asyncio
import hashlib
import platform
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Literal

import structlog
from prometheus_client import start_http_server

from edge_agent.adapters.births import BirthsOnDisk
from edge_agent.adapters.inference import onnx_runtime_version
from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.link_lean import LeanLink
from edge_agent.adapters.link_paho import PahoLink
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.state_lock import lock_state
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.adapters.uplink import Uplink
from edge_agent.beside import Beside
from edge_agent.config import NEEDS_RESTART, EdgeConfig, load
from edge_agent.core.entries import Configured
from edge_agent.core.errors import StartError
from edge_agent.core.intake import DeadLetter
from edge_agent.heartbeat import Heartbeat
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.models import AgentModels, Loading
from edge_agent.ports import NoRoomError, Sealed, SensorLink
from edge_agent.processing import Processing
from models.bundle import BundleError
from models.contract.batch import Receipt, Refusal
from models.contract.config_errors import ConfigError
from models.contract.state import State, encode_state

_log = structlog.get_logger()
_DRAIN_S = 3.5  # of the 5 s that SIGTERM allows
_RECEIPTS_S = 2.0  # of these


class Agent:
    """Wires the ports and runs the three parts."""

    def __init__(self, path: Path, config: EdgeConfig) -> None:
        self._path, self._config = path, config
        self.metrics = Metrics()
        folder, limits = config.state_dir, config.limits
        self._lock = lock_state(folder)
        self._models, self._beside = AgentModels(folder / "models", config.inference, self.metrics), Beside()
        self._journal = SqliteJournal(
            folder / "journal.db",
            config.journal.max_bytes,
            config.journal.max_age_s,
            limits.deadletters,
            deadletter_bytes=limits.deadletter_bytes,
        )
        self._outbox = SqliteOutbox(folder / "outbox.db", config.outbox.max_bytes, config.outbox.when_full)
        # Before anything is appended: positions that the outbox counts as used must not be given away again.
        self._journal.skip_to(_used_through(self._journal, self._outbox))
        self._clock = SystemClock(next((entry.arrival_ns for _, entry in self._journal.newest()), 0))
        self._started_ns = self._clock.now_ns()
        self._stopping, self._ingested = threading.Event(), threading.Event()
        self._journalled, self._failed = threading.Event(), threading.Event()
        self._uplink = Uplink(
            config,
            self._outbox,
            config.uplink.password("TOCSIN_UPLINK_PASSWORD"),
            self._state,
            self._on_receipt,
            self._keep_refused,
        )
        self._link = _open_link(config, self._clock)
        births = BirthsOnDisk(folder / "births")
        self._ingest = Ingest(config, self._link, self._journal, self._clock, self.metrics, self._journalled, births)
        self._processing = Processing(
            self._journal,
            self._outbox,
            self._clock,
            self.metrics,
            self._models.find,
            lambda: self._uplink.has_room,
            Heartbeat(self._outbox, self._clock, self.metrics, lambda: self._models.is_first),
            self._models.serve,
        )

    async def run(self) -> bool:
        """Until SIGTERM or SIGINT; whether all threads have ended: one that has not may be anywhere in foreign code.

        Raises ConfigError, BundleError, StartError, NoRoomError, OSError when it cannot start.
        """
        loop, stop, reload = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)  # for when it has started: until then it reads all anyway
        starting, stopping = asyncio.create_task(self._start()), asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await self._serve(reload, stopping)
        else:
            starting.cancel()
        if not self._beside.is_busy:
            self._journal.close()
            self._outbox.close()
            self._lock.release()
        _log.info("stopped", journal=self._processing.cursor)
        return not self._beside.is_busy

    async def _start(self) -> None:
        """Load the models, journal the configuration, and go back to where the last life ended."""
        config = self._config
        load_models = partial(self._models.load, config, self._path, is_start=True)
        entry = self._take_over(config, await self._beside.run("load", load_models))
        self._ingest.resume(await self._beside.run("recover", self._processing.recover, config, entry))
        if config.metrics.port:
            self._serve_metrics()
        state_dir = str(config.state_dir)
        _log.info("started", version=metadata.version("tocsin"), state_dir=state_dir, models=self._models.names)

    async def _serve(self, reload: asyncio.Event, stopping: asyncio.Task[Literal[True]]) -> None:
        """All parts at work, until `stopping` is done."""
        loop = asyncio.get_running_loop()

        def sealed() -> None:
            loop.call_soon_threadsafe(self._uplink.hint)

        async with asyncio.TaskGroup() as tasks:
            uplink = tasks.create_task(self._uplink.run(), name="uplink")
            gauges = tasks.create_task(self._gauges(), name="gauges")
            reloads = tasks.create_task(self._reloads(reload), name="reloads")
            ingest = tasks.create_task(_in_thread(self._ingest.run, self._stopping), name="ingest")
            process = partial(self._processing.run, self._journalled, self._ingested, self._failed, sealed)
            pipeline = tasks.create_task(self._beside.run("pipeline", process), name="pipeline")
            try:
                await asyncio.wait({stopping, ingest, pipeline, uplink}, return_when=asyncio.FIRST_COMPLETED)
                deadline_s = time.monotonic() + _DRAIN_S
                self._stopping.set()
                await asyncio.wait({ingest})
                self._ingested.set()
                self._journalled.set()
                await asyncio.wait({pipeline}, timeout=max(0.0, deadline_s - time.monotonic()))
                if not pipeline.done():
                    _log.warning("the pipeline does not stop in time: what is not sealed waits in the journal")
                    pipeline.cancel()
                await self._drain(deadline_s)
            except asyncio.CancelledError:
                # One part failed: the threads of the others must end too, or the process would hang.
                self._failed.set()
                raise
            finally:
                for event in (self._stopping, self._ingested, self._journalled):
                    event.set()
                stopping.cancel()
            self._uplink.stop()
            uplink.cancel()
            gauges.cancel()
            reloads.cancel()

    def _serve_metrics(self) -> None:
        settings = self._config.metrics
        try:
            start_http_server(settings.port, settings.host, self.metrics.registry)
        except OSError as error:
            text = f"metrics: {settings.host}:{settings.port} cannot be opened: {error.strerror or error}"
            raise StartError(text) from error

    def _take_over(self, config: EdgeConfig, models: Loading) -> Configured:
        """Journal the configuration with its models: from there on it holds."""
        entry = models.entry(config, self._clock.now_ns())
        try:
            self._journal.append([entry])
        except NoRoomError:
            # After very many restarts on a full disk: what holds already need not be said again.
            last = next((e for _, e in self._journal.newest() if isinstance(e, Configured)), entry)
            known = (last.config, last.digests, last.refused)
            if last is entry or known != (entry.config, entry.digests, entry.refused):
                raise
        self._config = config
        self._models.adopt(entry.arrival_ns, self._journal_from_ns())
        self._journalled.set()
        return entry

    def _journal_from_ns(self) -> int:
        """The time of the oldest entry; 0: it cannot be read now."""
        try:
            return next((stored.entry.arrival_ns for stored in self._journal.read(0, 1)), 0)
        except NoRoomError:
            return 0

    async def _reloads(self, wanted: asyncio.Event) -> None:
        while True:
            await wanted.wait()
            wanted.clear()
            await self._reload()

    async def _reload(self) -> None:
        """SIGHUP."""
        try:
            config = load(self._path)
            fixed = [name for name in NEEDS_RESTART if attrgetter(name)(config) != attrgetter(name)(self._config)]
            if fixed:
                raise ConfigError(f"{self._path}: {', '.join(fixed)}: a change needs a restart")  # noqa: TRY301 - handled with the others
            self._take_over(config, await self._beside.run("reload", self._models.load, config, self._path))
        except (ConfigError, BundleError, StartError, NoRoomError, OSError) as error:
            self._models.refuse()
            self.metrics.reloads.labels("refused").inc()
            _log.error("the new configuration is refused; the old one stays", error=str(error))
            return
        self._ingest.configure(config)
        self._processing.configure(config)
        self._uplink.restate()
        self.metrics.reloads.labels("taken").inc()
        _log.info("configuration reloaded", models=self._models.names)

    async def _drain(self, deadline_s: float) -> None:
        """Wait for the receipts of what is sealed, as long as SIGTERM allows."""
        deadline_s = min(deadline_s, time.monotonic() + _RECEIPTS_S)
        while self._uplink.is_connected and self._outbox.backlog() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)
        if waiting := self._outbox.backlog():
            _log.info("batches wait on disk for the next start", batches=waiting)

    async def _gauges(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._gauge_files)
            except NoRoomError as error:  # a disk in trouble: those who need the files say so themselves
                _log.debug("the files cannot be looked at now", error=str(error))
            self.metrics.clock_behind.set(self._clock.is_behind)
            self.metrics.connected.labels("sensor").set(self._link.is_connected)
            self.metrics.connected.labels("uplink").set(self._uplink.is_connected)
            await asyncio.sleep(1)

    def _gauge_files(self) -> None:
        self.metrics.backlog.set(self._outbox.backlog())
        self.metrics.lag.set(self._journal.last() - self._processing.cursor)
        for kind, rows in self._outbox.lost().items():
            self.metrics.lost.labels(kind).set(rows)

    def _on_receipt(self, batch: Sealed, _receipt: Receipt) -> None:
        self.metrics.latency.observe(max(0, self._clock.now_ns() - batch.arrival_ns) / 1e9)

    def _keep_refused(self, batch: Sealed, refused: list[Refusal]) -> None:
        """Rows that the database will never take are dead letters too. Raises NoRoomError."""
        now_ns, where = self._clock.now_ns(), f"batch {batch.seq}"
        letters = [DeadLetter(now_ns, where, "refused", r.reason, len(r.row), r.row.encode()) for r in refused]
        self._journal.append([], letters)
        self.metrics.deadletters.labels("refused").inc(len(letters))

    def _state(self, online: bool) -> bytes:
        """The retained state: who this is and what it runs."""
        config = self._config
        shared = config.model_dump_json(exclude={"gateway", "state_dir"})
        return encode_state(
            State(
                online=online,
                since_ns=self._started_ns,
                # A will says nothing of its time: it is written when all is well.
                stopped_ns=0 if online or not self._stopping.is_set() else self._clock.now_ns(),
                site=config.site,
                gateway=config.gateway,
                version=metadata.version("tocsin"),
                epoch=self._outbox.epoch,
                config_digest=hashlib.sha256(shared.encode()).hexdigest(),
                models=self._models.running,
                refused_models=self._models.refused,
                providers_wanted=config.inference.providers,
                python=platform.python_version(),
                onnxruntime=onnx_runtime_version(),
            )
        )


def _used_through(journal: SqliteJournal, outbox: SqliteOutbox) -> int:
    """The journal position up to which the outbox holds results, or the state that follows from them."""
    saved, last = outbox.load_snapshot(), journal.last()
    through = max(outbox.through, saved[0] if saved else 0)
    if last < through:
        _log.error("the journal is older than the outbox: it was lost or replaced", last=last, through=through)
    return through


def _open_link(config: EdgeConfig, clock: SystemClock) -> SensorLink:
    """Lean where it can be; paho for MQTT 3.1.1 and websockets."""
    broker = config.sensor_broker
    adapter = LeanLink if broker.is_lean else PahoLink
    password, client_id = broker.password("TOCSIN_SENSOR_PASSWORD"), f"tocsin-{config.site}-{config.gateway}"
    return adapter(broker, client_id, password, config.limits.unacked_bytes, clock.stamps)


async def _in_thread(work: Callable[..., None], *arguments: object) -> None:
    """A named, long-lived thread as a task: its error is the task's."""
    await asyncio.to_thread(work, *arguments)
