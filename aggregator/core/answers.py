"""The answers of InfluxDB as rows: JSON of InfluxQL and of SQL, annotated CSV of Flux. Pure.

Whole times are ns as int. Numbers of measurements are floats, though JSON writes 1.0 as 1.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from aggregator.core.select import Select
from aggregator.core.times import time_ns
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS


class Incomplete(ValueError):  # noqa: N818 - the name says what the answer is
    """The answer ends before its end."""


def of_influxql(body: bytes) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """(tags of the series, columns of a row) for each row of an answer asked for with `chunked=true`.

    Such an answer is a JSON object a line, each but the last one marked as partial. Without it 1.x cuts answers at
    its max-row-limit, and marks whole ones as partial too. Raises ValueError with the server's text; Incomplete.
    """
    is_partial = False
    for result in _results(body):
        if "error" in result:
            raise ValueError(str(result["error"]))
        for series in result.get("series", []):
            for values in series.get("values", []):
                yield series.get("tags", {}), dict(zip(series["columns"], values, strict=True))
        is_partial = bool(result.get("partial"))
    if is_partial:
        raise Incomplete("the server's answer ends before its end")


def _results(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.strip().splitlines() or [b"{}"]:
        content = _json(line)
        if isinstance(content, dict) and "error" in content:
            raise ValueError(str(content["error"]))
        if not isinstance(content, dict) or not isinstance(content.get("results"), list):
            raise ValueError("this is no answer to InfluxQL: does the url lead to InfluxDB?")  # noqa: TRY004 - of the text
        yield from content["results"]


def ordered(found: Iterable[tuple[dict[str, str], dict[str, Any]]], question: Select) -> list[Row]:
    """The rows of a `Select`, in its columns and in its order."""
    schema = MEASUREMENTS[question.measurement]
    tags = question.by if question.aggregates else schema.tags
    columns = question.aggregates or question.fields or (*schema.floats, *schema.strings)
    has_time = not question.aggregates or question.every_ns is not None
    # without intervals the server tells the time of a highest value, but 0 or the begin for a mean
    begin_ns = question.since_ns or 0
    rows = [
        {
            "time": int(cells["time"]) if has_time else begin_ns,
            **{tag: series.get(tag) or "" for tag in tags},
            **{column: _number(cells.get(column)) for column in columns},
        }
        for series, cells in found
    ]
    rows.sort(key=lambda row: (row["time"], *(row[tag] for tag in tags)))
    return rows if question.limit is None or question.aggregates else rows[-question.limit :]


def of_json(body: bytes) -> list[Row]:
    """The objects with `time` in ns where it is a time. Raises ValueError as they do."""
    return [{name: _cell(name, cell) for name, cell in row.items()} for row in objects(body)]


def objects(body: bytes) -> list[dict[str, Any]]:
    """A list of objects, as SQL and InfluxQL of version 3 answer. Raises ValueError when it is none."""
    content = _json(body)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ValueError("this is no answer to SQL: does the url lead to InfluxDB 3?")
    return content


def of_flux(body: bytes) -> list[Row]:
    """Annotated CSV: tables one after the other, each begun by annotations and a header. Raises ValueError."""
    rows: list[Row] = []
    types: list[str] = []
    header: list[str] = []
    for line in _lines(body):
        if not line:
            types, header = [], []
        elif line[0].startswith("#"):
            if line[0] == "#datatype":
                types, header = line, []
        elif not header:
            header = line
        elif "error" in header:
            raise ValueError(line[header.index("error")])
        else:
            typed = zip(header, types or [""] * len(header), line, strict=False)
            rows.append({column: _flux(kind, cell) for column, kind, cell in typed if column not in {"", "result"}})
    return rows


def _lines(body: bytes) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(body.decode(), newline=""))
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _json(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    """None when it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _number(cell: Any) -> str | float | None:  # noqa: ANN401 - as JSON gave it
    return float(cell) if isinstance(cell, int) else cell


def _cell(name: str, cell: Any) -> str | float | int | None:  # noqa: ANN401 - as JSON gave it
    if name == "time" and isinstance(cell, str) and (found := time_ns(cell)) is not None:
        return found
    return cell if cell is None or isinstance(cell, (str, float, int)) else orjson.dumps(cell).decode()


def _flux(kind: str, cell: str) -> str | float | int | None:
    if not cell and kind != "string":
        return None
    if kind.startswith("dateTime"):
        return time_ns(cell)
    if kind in {"long", "unsignedLong"}:
        return int(cell)
    if kind == "double":
        return float(cell)
    return float(cell == "true") if kind == "boolean" else cell


def plain(found: Iterable[tuple[Mapping[str, str], Mapping[str, Any]]]) -> list[Row]:
    """Rows of any InfluxQL: the time, the tags, then the other columns as they came."""
    return [
        {
            **({"time": cells["time"]} if "time" in cells else {}),
            **{tag: value for tag, value in tags.items() if tag not in cells},
            **{name: _cell("", cell) for name, cell in cells.items() if name != "time"},
        }
        for tags, cells in found
    ]
