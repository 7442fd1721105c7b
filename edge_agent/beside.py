"""Threads that nobody has to wait for: a model may take minutes to load, and a run of one may not end in time."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Beside:
    """Each piece of work in a thread of its own, which does not keep the process from ending."""

    def __init__(self) -> None:
        self._busy: set[object] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a thread is still at work: what it works with is not to be closed."""
        return bool(self._busy)

    async def run(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives or raises. Cancelled: nobody waits any more, but the thread works on to its end."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        token = object()

        def tell(report: Callable[[], None]) -> None:
            self._busy.discard(token)
            with suppress(RuntimeError):  # the loop is closed: the agent has stopped
                loop.call_soon_threadsafe(lambda: None if done.cancelled() else report())

        def do() -> None:
            try:
                found = work(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the one who awaits
                tell(partial(done.set_exception, error))
            else:
                tell(partial(done.set_result, found))

        self._busy.add(token)
        threading.Thread(target=do, name=name, daemon=True).start()
        return await done
