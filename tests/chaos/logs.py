"""What our processes say of themselves. WARN: recovered, nothing lost. ERROR: data is lost or a person is needed."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_WIDTH = 400


class Line(NamedTuple):
    """One line of a log; what is no JSON, such as a traceback, has no level."""

    level: str
    event: str
    text: str


def read(path: Path) -> Iterator[Line]:
    """All lines; none when there is no log."""
    for text in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            content = json.loads(text)
            yield Line(content["level"], content["event"], text)
        except (ValueError, KeyError, TypeError):
            yield Line("", text, text)


def errors(path: Path) -> Counter[str]:
    """How often each error was logged."""
    return Counter(line.event for line in read(path) if line.level in {"error", "critical"})


def complaints(path: Path, last: int) -> list[str]:
    """The last lines that are not mere news."""
    return [line.text[:_WIDTH] for line in read(path) if line.level not in {"debug", "info"}][-last:]
