"""What an InfluxDB holds, row by row, and how two such contents differ."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from models.contract.schema import MEASUREMENTS

COMPARED = ("reading", "inference", "alarm")
PROBE = "probe"  # the asset of the readings by which a run finds out that all is up
_TIMEOUT_S = 20.0
_CHUNK_ROWS = 5000

Fields = tuple[tuple[str, float | str], ...]


class Key(NamedTuple):
    """What names a row: measurement, tags in the schema's order, time in ns."""

    measurement: str
    tags: tuple[str, ...]
    time_ns: int


Content = dict[Key, Fields]


class Difference(NamedTuple):
    """Keys in order of time. `extra`: rows that should not be, such as a reading stored under two times."""

    missing: list[Key]
    extra: list[Key]
    different: list[Key]

    @property
    def is_none(self) -> bool:
        """Whether the contents are identical."""
        return not (self.missing or self.extra or self.different)


def compare(expected: Content, found: Content) -> Difference:
    """Row by row; equal means every tag, field and time, bit for bit."""

    def by_time(keys: Iterable[Key]) -> list[Key]:
        return sorted(keys, key=lambda key: (key.time_ns, key))

    return Difference(
        by_time(expected.keys() - found.keys()),
        by_time(found.keys() - expected.keys()),
        by_time(key for key in expected.keys() & found.keys() if expected[key] != found[key]),
    )


def read(url: str, database: str) -> Content:
    """All rows that are compared. Raises OSError while the server is away."""
    content: Content = {}
    for measurement in COMPARED:
        names = MEASUREMENTS[measurement]
        for series in _query(url, database, f'SELECT * FROM "{measurement}"'):  # noqa: S608 - of the schema
            at = {name: place for place, name in enumerate(series["columns"])}
            unknown = at.keys() - {"time", *names.tags, *names.floats, *names.strings}
            assert not unknown, f"columns that are not in the schema: {unknown}"
            fields = [name for name in (*names.floats, *names.strings) if name in at]
            for values in series["values"]:
                tags = tuple(values[at[name]] for name in names.tags)
                if tags[names.tags.index("asset")] == PROBE:
                    continue
                present = tuple((name, values[at[name]]) for name in fields if values[at[name]] is not None)
                content[Key(measurement, tags, values[at["time"]])] = present
    return content


def count(url: str, database: str, asset: str | None = None) -> int:
    """How many rows there are, of one asset or of all that are compared; 0 while the server is away."""
    where = f"\"asset\" = '{asset}'" if asset else f"\"asset\" != '{PROBE}'"
    text = ", ".join(f'"{name}"' for name in COMPARED)
    try:
        found = list(_query(url, database, f"SELECT count(*) FROM {text} WHERE {where}"))  # noqa: S608 - of our own making
    except OSError:
        return 0
    return sum(max(value for value in series["values"][0][1:] if value is not None) for series in found)


def _query(url: str, database: str, query: str) -> Iterator[dict[str, Any]]:
    options = {"db": database, "q": query, "epoch": "ns", "chunked": "true", "chunk_size": _CHUNK_ROWS}
    address = f"{url}/query?{urllib.parse.urlencode(options)}"
    with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - always http on the loopback
        for line in answer:
            for result in json.loads(line)["results"]:
                if "error" in result:
                    if "database not found" in result["error"]:
                        return
                    raise OSError(result["error"])
                yield from result.get("series", [])
