"""When rows become readable: asks the store again and again for what is newer than the oldest row not yet seen.

A row counts as readable when the answer that holds it has come, so the time between two questions is part of the
latency: on average half of it is the reader's own.
"""

import http.client
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

Times = Callable[[int], list[int]]  # event times in ns, of the rows from this time on


class Follower:
    """Follows the messages `first`, `first` + `step`, … of the publisher's table of times."""

    def __init__(self, times: Times, sent_ns: Sequence[int], first: int = 0, step: int = 1) -> None:
        self._times, self._sent_ns = times, sent_ns
        self._missing, self._step = first, step  # the oldest not yet seen
        self._numbers = range(first, len(sent_ns), step)
        self._seen_ns: dict[int, int] = {}
        self._asked_ns: list[int] = []

    @property
    def is_done(self) -> bool:
        """Whether every row has been seen."""
        return self._missing >= len(self._sent_ns)

    def poll(self) -> None:
        """Ask once."""
        if self.is_done or not self._sent_ns[self._missing]:
            return
        found = self._times(self._sent_ns[self._missing])
        now_ns = time.time_ns()
        self._asked_ns.append(now_ns)
        for time_ns in found:
            self._seen_ns.setdefault(time_ns, now_ns)
        while not self.is_done and self._sent_ns[self._missing] in self._seen_ns:
            self._missing += self._step

    def latencies_s(self, first: int = 0, last: int | None = None) -> NDArray[np.float64]:
        """Of the messages numbered `first` to `last` that were seen: from sending to the answer that held the row."""
        end = len(self._sent_ns) if last is None else last + 1
        sent = [self._sent_ns[number] for number in self._numbers if first <= number < end]
        return np.array([(self._seen_ns[t] - t) / 1e9 for t in sent if t in self._seen_ns])

    @property
    def asked_every_s(self) -> float:
        """The mean time between two questions."""
        return float(np.diff(self._asked_ns).mean() / 1e9) if len(self._asked_ns) > 1 else 0.0


def sqlite_times(path: Path) -> Times:
    """Of all readings; a reader of its own, as any other program would have one."""
    connections: list[sqlite3.Connection] = []

    def times(since_ns: int) -> list[int]:
        if not connections:
            if not path.exists():
                return []
            connections.append(sqlite3.connect(f"file:{path}?mode=ro", uri=True))
        try:
            return [row[0] for row in connections[0].execute("SELECT time FROM reading WHERE time >= ?", (since_ns,))]
        except sqlite3.OperationalError:  # no table yet
            return []

    return times


def influx1_times(port: int, database: str, asset: str) -> Times:
    """Of one asset's readings: the question for all would cost the database more than the writing."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def times(since_ns: int) -> list[int]:
        question = f"SELECT value FROM reading WHERE asset = '{asset}' AND time >= {since_ns}"  # noqa: S608 - our own
        connection.request("GET", "/query?" + urlencode({"db": database, "epoch": "ns", "q": question}))
        (result,) = json.loads(connection.getresponse().read())["results"]
        return [row[0] for series in result.get("series", []) for row in series["values"]]

    return times
