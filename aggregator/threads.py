"""Blocking work beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """A daemon thread that does one thing after another: unlike a pool's, it cannot hold up the end of the process."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """What the work gives or raises. Cancelled, the work goes on, and nobody hears of it."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._work.put((future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """The thread ends once the work in hand is done."""
        self._work.put(None)

    def _run(self) -> None:
        while item := self._work.get():
            future, work = item
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                future.set_exception(error)
            del item, future, work  # what was done last must not live until something is done next
