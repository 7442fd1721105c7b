"""START HERE. The whole of Tocsin as one process tree on this machine.

    tocsin demo
      ├─ broker      embedded, MQTT 5 and 3.1.1          ledger.csv: what the broker acknowledged
      ├─ plant       12 machines, 4 of them failing ────────────────┐
      ├─ edge        sensor topics ▶ models ▶ batches               ├─ verify: missing? duplicated?
      └─ aggregator  batches ▶ store ────────────────────────────────┘

Everything is a child process that dies with this one. At the end the plant stops first, then the readings under
way are waited for, then every published reading is looked up in the store.
"""

import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.live import Live

from tocsin.demo.children import Children
from tocsin.demo.metrics import EdgeMetrics, scrape
from tocsin.demo.setup import InfluxTarget, Setup, prepare
from tocsin.demo.stats import StoreStats
from tocsin.demo.verify import Comparison, compare
from tocsin.demo.view import view
from tocsin.errors import UserError
from tocsin.plant.ledger import read_ledger

_READY_S = 60.0
_STORED_S = 60.0  # a machine that is busy loses nothing, it takes longer
_POLL_S = 0.25


class Summary(NamedTuple):
    """What the demo reports; readings are counted, a waveform as one."""

    published: int
    journaled: int
    stored: int
    missing: int
    duplicated: int
    anomalies: int
    alarms: int
    first_alarm_s: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    provider: str


def run(
    *,
    for_s: float | None,
    folder: Path | None,
    influx: InfluxTarget | None,
    stop: threading.Event,
    console: Console | None,
) -> Summary:
    """Run the plant for `for_s` seconds (None: until `stop`), with a live view on `console` (None: silently).

    `folder` is kept; without one a temporary folder is used. Raises UserError when a part does not start or ends.
    """
    begin_s = time.monotonic()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        setup = prepare(folder, influx)
        stats = StoreStats(setup.aggregator, since_ns=time.time_ns())
        children = stack.enter_context(Children(folder))
        _start(setup, children, stop)
        watch = _Watch(setup, stats, begin_s)
        with Live(console=console, transient=True) if console else ExitStack() as live:
            end_s = None if for_s is None else time.monotonic() + for_s
            while (end_s is None or time.monotonic() < end_s) and not stop.wait(_POLL_S):
                children.check()
                picture = watch.look()
                if isinstance(live, Live):
                    live.update(picture)
        children.stop("plant")
        comparison = _settle(setup, stats)
        watch.look()
        anomalies = stats.anomalies()
        children.stop("edge")
        children.stop("aggregator")
    edge = watch.metrics
    return Summary(
        comparison.published,
        edge.journaled,
        comparison.stored,
        comparison.missing,
        comparison.duplicated,
        anomalies,
        len(stats.openings),
        watch.first_alarm_s,
        edge.latency_p50_ms,
        edge.latency_p99_ms,
        edge.provider,
    )


class _Watch:
    """What is seen while the demo runs."""

    def __init__(self, setup: Setup, stats: StoreStats, begin_s: float) -> None:
        self._setup, self._stats, self._begin_s = setup, stats, begin_s
        self._looked_s = begin_s
        self.metrics = EdgeMetrics()
        self.first_alarm_s: float | None = None

    def look(self) -> RenderableType:
        """Ask agent and store; the picture."""
        now_s, before = time.monotonic(), self.metrics
        self.metrics = scrape(self._setup.port_metrics)
        alarms, health = self._stats.alarms(), self._stats.health()
        if self._stats.openings and self.first_alarm_s is None:
            self.first_alarm_s = round(time.monotonic() - self._begin_s, 2)
        rate = (self.metrics.messages - before.messages) / (now_s - self._looked_s)
        self._looked_s = now_s
        return view(now_s - self._begin_s, rate, self.metrics, health, alarms)


def _start(setup: Setup, children: Children, stop: threading.Event) -> None:
    """The plant comes last: what it publishes before the agent has subscribed would be nobody's."""
    children.start_broker(setup.broker)
    children.start("aggregator", "aggregator", "run", str(setup.aggregator))
    children.start("edge", "edge", "run", str(setup.edge))
    deadline_s = time.monotonic() + _READY_S
    while not scrape(setup.port_metrics).is_connected and not stop.wait(0.05):
        children.check()
        if time.monotonic() > deadline_s:
            msg = f"the edge agent is not connected after {_READY_S:.0f} s: see {setup.folder}/edge.log"
            raise UserError(msg)
    broker = ("--port", str(setup.port_v5))
    children.start("plant", "plant", "simulate", *broker, "--ledger", str(setup.ledger))


def _settle(setup: Setup, stats: StoreStats) -> Comparison:
    """Compare until nothing is missing or the time for it is over."""
    published = read_ledger(setup.ledger)
    deadline_s = time.monotonic() + _STORED_S
    while True:
        comparison = compare(published, stats.readings())
        if not comparison.missing or time.monotonic() > deadline_s:
            return comparison
        time.sleep(_POLL_S)
