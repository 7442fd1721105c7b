"""START HERE. The aggregator in one picture, and the wiring of its parts.

    gateways ──MQTT 5──▶ consume ▶ validate ▶ batch ▶ write ──▶ SQLite | InfluxDB 1.x | 2.x | 3.x
        ▲                uplink    validate   batching  store ▶ now and then, read back
        └──── receipt, once stored (or refused, with the reason) ────┘

`flow.py` is the loop; `core/` is what it computes, `adapters/` what it touches, `ports.py` the border between them.
The aggregator owns no data: until the receipt a batch belongs to its gateway, so this process may be killed, moved
and multiplied (the subscription is shared).
"""

import asyncio
import signal
from collections.abc import Callable

import structlog

from aggregator import logs
from aggregator.adapters import stores
from aggregator.adapters.status import StatusServer
from aggregator.adapters.uplink import MqttUplink
from aggregator.config import AggregatorConfig
from aggregator.core.questions import Questions
from aggregator.core.validate import Validator
from aggregator.core.vitals import ailments, wants
from aggregator.flow import Flow
from aggregator.metrics import Metrics
from aggregator.ports import Keeper
from aggregator.readback import Holds, ReadBack
from aggregator.watch import Watch
from aggregator.writing import Writing
from models.contract.config_errors import ConfigError

log = structlog.get_logger()

OK, UNEXPECTED = 0, 1  # exit codes; 2 is a configuration that cannot be used
STOP_WITHIN_S = 4.0


def main(config: AggregatorConfig) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. Raises ConfigError before anything is begun."""
    logs.configure(config.log)
    return asyncio.run(_main(config))


def open_reader(config: AggregatorConfig) -> Questions:
    """For questions to the configured store. Raises ConfigError and what ports.Reader raises."""
    return Questions(stores.open_reader(config.store))


def open_keeper(config: AggregatorConfig) -> Keeper:
    """For setting the configured store up. Raises ConfigError and what ports.Keeper raises."""
    return stores.open_keeper(config.store, config.retention)


async def serve(config: AggregatorConfig, stop: asyncio.Event) -> None:
    """Everything, until `stop` is set. Raises ConfigError, and an ExceptionGroup of what nobody expected."""
    metrics = Metrics()
    config.broker.password()  # a secret that cannot be read is a fault of now, not of later
    store = stores.open_store(config.store, config.retention)
    uplink = MqttUplink(config.broker, metrics)
    watch = Watch(metrics)
    ending = asyncio.Event()
    read_back = ReadBack(_holds(config), config.read_back, metrics)
    writing = Writing(metrics, ending, read_back)
    validator = Validator(config.validation, config.broker.identity_property)
    flow = Flow(uplink, store, validator, writing, metrics, watch, ending, config.store.connections)
    stop_status = _status(config, metrics)
    try:
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(uplink.run(), name="uplink")
            flowing = tasks.create_task(flow.run(), name="flow")
            watching = tasks.create_task(watch.run(), name="watch")
            log.info("aggregator started", store=config.store.kind)
            await stop.wait()
            ending.set()
            uplink.close()
            await asyncio.wait({flowing}, timeout=STOP_WITHIN_S)
            if not flowing.done():
                log.warning("write not finished in time; its gateways will send it again", within_s=STOP_WITHIN_S)
            flowing.cancel()
            consuming.cancel()
            watching.cancel()
            watch.report()
    finally:
        stop_status()
    # not in `finally`: a write that hangs still uses the store, and nothing waits inside it
    if not flowing.cancelled():
        store.close()
    log.info("aggregator stopped")


def _holds(config: AggregatorConfig) -> Holds:
    """Asks the configured store for one row. Opened when first used: a file is there only once it was written."""

    def holds(measurement: str, tags: dict[str, str], time_ns: int) -> bool:
        reader = open_reader(config)
        try:
            return reader.holds(measurement, tags, time_ns)
        finally:
            reader.close()

    return holds


async def _main(config: AggregatorConfig) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(config, stop)
    except ConfigError:
        raise
    except Exception as error:
        # a secret's file may be gone when the connection is made again
        if isinstance(error, ExceptionGroup) and (faults := error.subgroup(ConfigError)):
            raise ConfigError(str(_first(faults))) from error
        log.exception("aggregator failed")
        return UNEXPECTED
    return OK


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _status(config: AggregatorConfig, metrics: Metrics) -> Callable[[], None]:
    """Serves /metrics, /healthz and /readyz when they are wanted; what ends that."""
    if not config.metrics.port:
        return lambda: None
    server = StatusServer(
        config.metrics, metrics.registry, lambda: ailments(metrics.vitals()), lambda: wants(metrics.vitals())
    )
    return server.close
