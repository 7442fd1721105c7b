"""What a page is made of, before it is Markdown or HTML: titles, sentences, lists, tables."""

from typing import Literal, NamedTuple

from aggregator.core.report.content import Curve

Level = Literal["bad", "warn", "good", "dim"]


class Mark(NamedTuple):
    """A word that a renderer may colour; the word alone says it as well."""

    words: str
    level: Level


class Spark(NamedTuple):
    """A curve the size of a word, drawn between `low` and `high` (or what it reaches beyond them)."""

    values: Curve
    low: float
    high: float


Cell = str | Mark | Spark


class Table(NamedTuple):
    """Rows of as many cells as there are columns; of those in `numbers` the cells are aligned to the right."""

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    numbers: frozenset[str] = frozenset()
    left_out: int = 0  # rows beyond what a person reads


class Points(NamedTuple):
    """Numbered points, each with its reasons."""

    points: list[tuple[str, list[str]]]


class Section(NamedTuple):
    """A part of the page. `note` explains its figures."""

    title: str
    blocks: list[str | Table | Points]
    note: str = ""


class Document(NamedTuple):
    """The page."""

    title: str
    lead: list[str]
    sections: list[Section]


def height(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, 0 to 1, however small or large they are; 0 when they are one."""
    room = high / 2 - low / 2
    return (value / 2 - low / 2) / room if room > 0 else 0.0
