"""The aggregator without MQTT, in this process: batches from a list, receipts into the void."""

import asyncio
import time
from collections.abc import Sequence

from aggregator.adapters.store_influx1 import Influx1Store
from aggregator.config import Influx1, Validation
from aggregator.core.validate import Validator
from aggregator.flow import Flow
from aggregator.metrics import Metrics
from aggregator.ports import Request
from aggregator.watch import Watch
from aggregator.writing import Writing
from models.contract.batch import Receipt
from models.contract.topics import topic
from tests.bench.simulated import SITE
from tests.bench.sink import Taking
from tests.servers import serving

AT_ONCE_BYTES = 1 << 20  # taken together, as a busy broker would have it


class ListedUplink:
    """Fulfils ports.Uplink: hands over what it has, some at a time."""

    def __init__(self, name: str, payloads: Sequence[bytes]) -> None:
        where = topic(SITE, name, "batch")
        self._requests = [Request(where, payload, b"%d" % seq, None) for seq, payload in enumerate(payloads)]
        self._at_once = max(1, AT_ONCE_BYTES // len(payloads[0]))
        self._taken = 0
        self.answered = 0

    async def take(self) -> list[Request]:
        """Empty at the end."""
        taken = self._requests[self._taken : self._taken + self._at_once]
        self._taken += len(taken)
        return taken

    async def answer(self, receipts: Sequence[tuple[Request, Receipt]]) -> None:
        """Only counts."""
        self.answered += len(receipts)


def cpu_s(name: str, payloads: Sequence[bytes], url: str) -> float:
    """CPU time of this process, from the batches' bytes to the last answer of the server at `url`."""
    store = Influx1Store(Influx1(kind="influx1", url=url, database="bench"))
    metrics = Metrics()
    uplink = ListedUplink(name, payloads)
    ending = asyncio.Event()
    flow = Flow(uplink, store, Validator(Validation()), Writing(metrics, ending), metrics, Watch(metrics), ending)
    since_s = time.process_time()
    asyncio.run(flow.run())
    used_s = time.process_time() - since_s
    store.close()
    assert uplink.answered == len(payloads)
    return used_s


def bodies(name: str, payloads: Sequence[bytes]) -> list[bytes]:
    """What the aggregator sends for them."""
    kept: list[bytes] = []

    class Keeping(Taking):
        def took(self, body: bytes) -> None:
            kept.append(body)

    with serving(Keeping) as url:
        cpu_s(name, payloads, url)
    return kept
