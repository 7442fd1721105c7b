"""Bounds in time for what may never end.

Two ways, for two kinds of provider. On a CPU a graph ends or can be told to: it runs where its scores are wanted,
and a watchdog tells it. A GPU that vanishes may never answer: its runs are handed to a thread that can be left
behind. The hand-over takes 20 us, more than a small model needs for its run.
"""

import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")
_POLL_S = 0.1
_GRACE_S = 1.0  # from being told until the thread is left behind


class Stoppable(Protocol):
    """What does the runs, one after the other."""

    begun_s: float  # when the last run began, by time.monotonic
    is_stopped: bool

    def stop(self) -> None:
        """End the present run if that can be done. Comes from another thread."""
        ...


class Bound(Protocol):
    """One of the two ways."""

    def run(self, of: Stoppable, work: Callable[[], _T], limit_s: float) -> _T:
        """What `work` gives. Raises what it raises; TimeoutError when one run of it takes longer than `limit_s`."""
        ...


class Watchdog:
    """Work is done where it is asked for; a thread looks on."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[Stoppable, float, float]] = {}
        end = threading.Event()
        weakref.finalize(self, end.set)
        threading.Thread(target=_watch, args=(self._watched, end), name="inference-watch", daemon=True).start()

    def run(self, of: Stoppable, work: Callable[[], _T], limit_s: float) -> _T:
        """As `Bound` says. A run is stopped some 0.1 s late."""
        self._watched[id(of)] = (of, time.monotonic(), limit_s)
        try:
            found = work()
        except Exception as error:
            if of.is_stopped:
                raise _too_long(limit_s) from error
            raise
        finally:
            del self._watched[id(of)]
        if of.is_stopped:
            raise _too_long(limit_s)
        return found


def _watch(watched: dict[int, tuple[Stoppable, float, float]], end: threading.Event) -> None:
    while not end.wait(_POLL_S):
        now_s = time.monotonic()
        for of, since_s, limit_s in list(watched.values()):
            if now_s > max(since_s, of.begun_s) + limit_s:
                of.stop()


class Worker:
    """A thread that does work for one at a time, and is replaced when it does not come back."""

    def __init__(self, name: str) -> None:
        self._name, self._lock = name, threading.Lock()
        self._start()

    def run(self, of: Stoppable, work: Callable[[], _T], limit_s: float) -> _T:
        """As `Bound` says, if it can be stopped or not."""
        with self._lock:
            task = _Task(work)
            self._inbox.put(task)
            since_s = time.monotonic()
            while not task.done.acquire(timeout=max(0.0, max(since_s, of.begun_s) + limit_s - time.monotonic())):
                if time.monotonic() < max(since_s, of.begun_s) + limit_s:
                    continue  # the next run began meanwhile
                of.stop()
                if not task.done.acquire(timeout=_GRACE_S):
                    self._end()
                    self._start()
                    msg = f"no result within {limit_s:g} s, and it cannot be stopped: its thread is left behind"
                    raise TimeoutError(msg)
                break
        if of.is_stopped:
            raise _too_long(limit_s) from task.error
        if task.error is not None:
            raise task.error
        found: _T = task.found
        return found

    def _start(self) -> None:
        self._inbox: SimpleQueue[_Task | None] = SimpleQueue()
        # It does not end with this object while it hangs, and must not keep the process from ending.
        threading.Thread(target=_work, args=(self._inbox,), name=self._name, daemon=True).start()
        self._end = weakref.finalize(self, self._inbox.put, None)


class _Task:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work, self.found, self.error = work, None, None
        self.done = threading.Lock()  # the cheapest thing to wait for
        self.done.acquire()

    work: Callable[[], Any]
    found: Any
    error: Exception | None


def _work(inbox: "SimpleQueue[_Task | None]") -> None:
    while (task := inbox.get()) is not None:
        try:
            task.found = task.work()
        except Exception as error:  # noqa: BLE001 - raised again where the work is waited for
            task.error = error
        task.done.release()
        del task


def _too_long(limit_s: float) -> TimeoutError:
    return TimeoutError(f"no result within {limit_s:g} s")
