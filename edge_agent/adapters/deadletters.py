"""Dead letters as a person works with them: choose some, take them out, have them taken again. The agent may run.

To be taken again, a letter is only marked: the agent does the rest, now or when it starts (ingest.py).
"""

import sqlite3
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import NamedTuple

from edge_agent.adapters import examine, salvage
from edge_agent.config import EdgeConfig
from edge_agent.core.intake import DeadLetter
from edge_agent.core.sparkplug.topic import NAMESPACE, SparkplugTemplate

_BUSY_S = 10.0
_BEGINNING = -(1 << 63)
_EVERY_NODE = SparkplugTemplate.parse(f"{NAMESPACE}/+/#")


class Choice(NamedTuple):
    """Which letters: all that fit. `topic`: an MQTT filter; `since_ns`: of the arrival; an empty `reason` is any."""

    reason: str = ""
    topic: str = "#"
    since_ns: int = _BEGINNING

    def fits(self, letter: DeadLetter) -> bool:
        """Whether it is one of them."""
        return (
            self.reason in {"", letter.reason}
            and letter.arrival_ns >= self.since_ns
            and is_within(letter.topic, self.topic)
        )


class Marked(NamedTuple):
    """Of the chosen letters: how many the agent will take again, and how many it cannot."""

    marked: int
    without_payload: int  # too long, let go, or kept by an earlier version
    refused: int  # rows that the database did not take: no messages
    sparkplug: int  # births and deaths: what they say holds only in the order in which they came


def find(
    config: EdgeConfig, choice: Choice, *, oldest_first: bool = False, payloads: bool = False
) -> Generator[DeadLetter, None, None]:
    """The chosen letters; newest first, and without their payloads, unless asked for. Raises ExamineError."""
    with examine.journal(config) as journal:
        for _, letter in journal.letters(oldest_first=oldest_first, payloads=payloads):
            if choice.fits(letter):
                yield letter


def counts(config: EdgeConfig, choice: Choice) -> dict[tuple[str, str], int]:
    """By topic and reason, those with the newest letter first. Raises ExamineError."""
    with closing(find(config, choice)) as chosen:
        return dict(Counter((letter.topic, letter.reason) for letter in chosen))


def mark(config: EdgeConfig, choice: Choice, limit: int | None = None) -> Marked:
    """Have the chosen letters taken again: one short transaction beside a running agent. Raises ExamineError.

    `limit`: only so many, the newest of those that can be.
    """
    numbers: list[int] = []
    without = refused = sparkplug = 0
    with examine.journal(config) as journal:
        for number, letter in journal.letters(payloads=True):
            if len(numbers) == limit:
                break
            if not choice.fits(letter):
                continue
            if letter.reason == "refused":
                refused += 1
            elif _is_birth_or_death(letter.topic):
                sparkplug += 1
            elif letter.payload is None:
                without += 1
            else:
                numbers.append(number)
    if numbers:
        _write(config, numbers)
    return Marked(len(numbers), without, refused, sparkplug)


def is_within(topic: str, mqtt_filter: str) -> bool:
    """Whether a topic fits an MQTT filter (MQTT 5, 4.7): `+` is one level, `#` all that follow, and none."""
    levels, wanted = topic.split("/"), mqtt_filter.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(levels) == len(wanted) and all(w in {"+", level} for level, w in zip(levels, wanted, strict=True))


def _is_birth_or_death(topic: str) -> bool:
    place = _EVERY_NODE.read(topic)
    return place is not None and not place.kind.endswith("DATA")


def _write(config: EdgeConfig, numbers: Sequence[int]) -> None:
    """Marks, by a connection that mends nothing: a damaged file is the agent's to mend."""
    path = config.state_dir / "journal.db"
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with (
        examine.reading(path),
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as connection,
    ):
        connection.execute(f"PRAGMA max_page_count={config.journal.max_bytes // salvage.PAGE_BYTES}")
        with salvage.transaction(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO deadletter_again(id) VALUES (?)", [(number,) for number in numbers]
            )
