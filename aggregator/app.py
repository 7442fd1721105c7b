"""START HERE. The aggregator in one picture, and the wiring of its parts.

    gateways ──MQTT 5──▶ consume ▶ validate ▶ batch ▶ write ──▶ SQLite | InfluxDB 1.x | 2.x, 3.x
        ▲                uplink    validate   batching  store
        └──── receipt, once stored (or refused, with the reason) ────┘

`flow.py` is the loop; `core/` is what it computes, `adapters/` what it touches, `ports.py` the border between them.
The aggregator owns no data: until the receipt a batch belongs to its gateway, so this process may be killed, moved
and multiplied (the subscription is shared).
"""

import asyncio
import signal
from collections.abc import Callable

import structlog
from prometheus_client import start_http_server

from aggregator import logs
from aggregator.adapters import stores
from aggregator.adapters.uplink import MqttUplink
from aggregator.config import AggregatorConfig
from aggregator.flow import Flow
from aggregator.metrics import Metrics
from aggregator.ports import Reader
from aggregator.watch import Watch
from models.contract.config_errors import ConfigError

log = structlog.get_logger()

OK, UNEXPECTED = 0, 1  # exit codes; 2 is a configuration that cannot be used
STOP_WITHIN_S = 4.0


def main(config: AggregatorConfig) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. Raises ConfigError before anything is begun."""
    logs.configure(config.log)
    return asyncio.run(_main(config))


def open_reader(config: AggregatorConfig) -> Reader:
    """For questions to the configured store. Raises ConfigError and what ports.Reader raises."""
    return stores.open_reader(config.store)


async def serve(config: AggregatorConfig, stop: asyncio.Event) -> None:
    """Everything, until `stop` is set. Raises ConfigError, and an ExceptionGroup of what nobody expected."""
    metrics = Metrics()
    config.broker.password()  # a secret that cannot be read is a fault of now, not of later
    store = stores.open_store(config.store)
    uplink = MqttUplink(config.broker, metrics)
    watch = Watch(metrics)
    flow = Flow(uplink, store, metrics, watch)
    stop_metrics = _scraped(config, metrics)
    try:
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(uplink.run(), name="uplink")
            writing = tasks.create_task(flow.run(), name="flow")
            watching = tasks.create_task(watch.run(), name="watch")
            log.info("aggregator started", store=config.store.kind)
            await stop.wait()
            flow.stop()
            uplink.close()
            await asyncio.wait({writing}, timeout=STOP_WITHIN_S)
            if not writing.done():
                log.warning("write not finished in time; its gateways will send it again", within_s=STOP_WITHIN_S)
            writing.cancel()
            consuming.cancel()
            watching.cancel()
    finally:
        stop_metrics()
    # not in `finally`: a write that hangs still uses the store, and nothing waits inside it
    if not writing.cancelled():
        store.close()
    log.info("aggregator stopped")


async def _main(config: AggregatorConfig) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(config, stop)
    except ConfigError:
        raise
    except Exception:
        log.exception("aggregator failed")
        return UNEXPECTED
    return OK


def _scraped(config: AggregatorConfig, metrics: Metrics) -> Callable[[], None]:
    """Serves /metrics when it is wanted; what ends that."""
    if not config.metrics.port:
        return lambda: None
    try:
        server, _ = start_http_server(config.metrics.port, config.metrics.host, metrics.registry)
    except OSError as error:
        msg = f"metrics: {config.metrics.host}:{config.metrics.port} cannot be opened: {error.strerror or error}"
        raise ConfigError(msg) from error
    return server.shutdown
