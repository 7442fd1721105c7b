"""Publishes a recorded file over MQTT: as fast as it was recorded, faster, or as fast as the broker takes it."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TextIO

from tocsin.errors import UserError
from tocsin.plant.messages import Message, Row, packed, single
from tocsin.plant.publisher import Broker, Publisher
from tocsin.plant.table import Layout, read_table

TOPIC = "factory/replay/{asset}/{channel}"
PACKED_TOPIC = "factory/replay/{asset}"
_DRAIN_S = 30.0
_IN_NO_LEVEL = re.compile(r"[+#/]")


class Summary(NamedTuple):
    """Readings that the broker acknowledged, lines with data read, seconds it took."""

    published: int
    rows: int
    seconds: float


def messages(rows: tuple[Row, ...], topic: str, *, pack: bool) -> Iterator[Message]:
    """One line's readings as messages: each by itself, or packed into one. `topic` is a checked template."""
    if pack:
        if rows:
            yield packed(topic.format(asset=rows[0].asset), rows)
    else:
        yield from (single(topic.format(asset=row.asset, channel=level_name(row.channel)), row) for row in rows)


@cache
def level_name(channel: str) -> str:
    """A channel's name as a level of a topic: `m/s` is `m_s` there."""
    return _IN_NO_LEVEL.sub("_", channel)


def check_levels(rows: Iterable[Row], known: dict[str, str]) -> None:
    """That no two channels share a level; `known`: those seen so far, added to. Raises UserError."""
    for row in rows:
        level = level_name(row.channel)
        if (other := known.setdefault(level, row.channel)) != row.channel:
            msg = f"columns {other!r} and {row.channel!r} are both {level!r} in a topic: --pack, or --exclude one"
            raise UserError(msg)


def check_topic(topic: str, *, pack: bool) -> str:
    """The template, when it names all that its payloads do not. Raises UserError."""
    wanted = {"asset"} if pack else {"asset", "channel"}
    rest = topic
    for name in wanted:
        rest = rest.replace(f"{{{name}}}", "x", 1)
    if any(f"{{{name}}}" not in topic for name in wanted) or any(character in rest for character in "{}+#"):
        allowed = " and ".join(f"{{{name}}}" for name in sorted(wanted))
        msg = f"topic {topic!r} (allowed: a topic without wildcards in which {allowed} stand once each)"
        raise UserError(msg)
    return topic


def replay(
    path: Path,
    layout: Layout,
    broker: Broker,
    *,
    topic: str,
    pack: bool = False,
    speed: float = 1.0,
    stop: threading.Event,
    on_line: Callable[[], None] = lambda: None,
) -> Summary:
    """Publish the whole file with QoS 1. `speed` 1 is as recorded, 0 without pause; `on_line` is called a line.

    Raises UserError; what was read before the fault is published by then.
    """
    check_topic(topic, pack=pack)
    published = lines = 0
    levels: dict[str, str] = {}
    begin_s = time.monotonic()

    def acked(rows: tuple[Row, ...]) -> None:
        nonlocal published
        published += len(rows)

    with _open(path) as file, Publisher(broker, acked) as publisher:
        try:
            for rows in _paced(read_table(file, layout, str(path)), speed, stop):
                lines += 1
                if not pack:
                    check_levels(rows, levels)
                for message in messages(rows, topic, pack=pack):
                    publisher.publish(message)
                on_line()
        except UnicodeDecodeError as error:
            msg = f"{path}: after line {lines}: {error.reason} (allowed: UTF-8)"
            raise UserError(msg) from error
        finally:
            publisher.drain(_DRAIN_S)
        if publisher.unacknowledged:
            msg = f"{publisher.unacknowledged} messages were not acknowledged within {_DRAIN_S:.0f} s"
            raise UserError(msg)
    return Summary(published, lines, round(time.monotonic() - begin_s, 3))


def count_lines(path: Path) -> int:
    """Lines of a file, for a progress bar. Raises UserError."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise UserError(msg) from error


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise UserError(msg) from error


def _paced(table: Iterable[tuple[Row, ...]], speed: float, stop: threading.Event) -> Iterator[tuple[Row, ...]]:
    """The lines at their time. One that is older than the first (the next unit of a file) is not waited for."""
    first_ns: int | None = None
    begin_s = time.monotonic()
    for rows in table:
        if rows and speed > 0:
            first_ns = rows[0].time_ns if first_ns is None else first_ns
            due_s = begin_s + (rows[0].time_ns - first_ns) / 1e9 / speed
            stop.wait(max(0.0, due_s - time.monotonic()))
        if stop.is_set():
            return
        yield rows
