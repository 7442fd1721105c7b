"""Between the commit and the PUBACK: what the broker sends again is taken once, and nothing else is left out."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.link_lean import LeanLink
from edge_agent.adapters.link_paho import PahoLink
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.config import EdgeConfig, SensorBroker
from edge_agent.core.entries import Data
from edge_agent.core.intake import Message
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics
from edge_agent.ports import SensorLink
from tests.agents import eventually
from tests.publishing import publish
from tests.servers import Mosquitto

LINKS: list[Callable[..., SensorLink]] = [LeanLink, PahoLink]


class Gateway:
    """Link, ingest and journal, in this process; the journal stays from one life to the next."""

    def __init__(self, folder: Path, port: int, link: Callable[..., SensorLink]) -> None:
        self._config = EdgeConfig.model_validate(
            {
                "site": "s",
                "gateway": "g",
                "state_dir": folder,
                "topics": [{"template": "f/{asset}/{channel}"}],
                "channels": [{"match": "*/*"}],
                "assets": [{"match": "*"}],
            }
        )
        self._broker, self._link = SensorBroker(port=port), link
        self.journal = SqliteJournal(folder / "journal.db", 1 << 26, 1e9, 100)
        self.metrics = Metrics()

    @contextmanager
    def life(self, *, acknowledges: bool) -> Iterator[None]:
        """From the first connection to the death: without PUBACKs, as if killed before each."""
        clock = SystemClock()
        link = self._link(self._broker, "tocsin-s-g", None, 1 << 20, clock.stamps)
        if not acknowledges:
            link.acknowledge = _forget  # type: ignore[method-assign, assignment]
        ingest = Ingest(self._config, link, self.journal, clock, self.metrics, threading.Event())
        stopping = threading.Event()
        thread = threading.Thread(target=ingest.run, args=(stopping,))
        thread.start()
        try:
            eventually(lambda: link.is_connected, "connected")
            yield
        finally:
            stopping.set()
            thread.join()

    def values(self) -> list[float]:
        """All readings of the journal."""
        readings = [stored.entry.readings() for stored in self._entries() if isinstance(stored.entry, Data)]
        return [value for one in readings for value in one.value.tolist()]

    def _entries(self) -> list:  # type: ignore[type-arg]
        found, after = [], 0
        while some := self.journal.read(after):
            found += some
            after = some[-1].seq
        return found

    def repeated(self) -> float:
        return self.metrics.registry.get_sample_value("tocsin_edge_repeated_messages_total") or 0.0


def _forget(_messages: Sequence[Message]) -> None:
    pass


@pytest.mark.parametrize("link", LINKS)
def test_messages_killed_between_commit_and_puback_are_journalled_once(
    link: Callable[..., SensorLink], tmp_path: Path, mosquitto: Mosquitto
) -> None:
    del mosquitto  # checks that it is installed
    timed = [("f/m1/t", {"ts": 1_700_000_000_000 + i, "value": i}) for i in range(40)]
    untimed: list[tuple[str, object]] = [("f/m1/u", {"value": 7}) for _ in range(40)]
    with Mosquitto(tmp_path / "broker") as broker:
        gateway = Gateway(tmp_path, broker.port, link)
        with gateway.life(acknowledges=False):
            publish(broker.port, [*timed, *untimed])
            eventually(lambda: len(gateway.values()) == 80, "journalled")
        with gateway.life(acknowledges=True):
            eventually(lambda: gateway.repeated() == 80, "sent again, and known")
            publish(broker.port, untimed[:3])
            publish(broker.port, [timed[0], ("f/m1/t", {"ts": 1_700_000_001_000, "value": 99})])
            eventually(lambda: 99 in gateway.values(), "the newest")
        assert gateway.values() == [*map(float, range(40)), *[7.0] * 43, 99.0]
        assert gateway.repeated() == 81
        with gateway.life(acknowledges=True):
            publish(broker.port, [("f/m1/t", {"ts": 1_700_000_002_000, "value": 100})])
            eventually(lambda: 100 in gateway.values(), "and on")
        assert gateway.repeated() == 81
        gateway.journal.close()
