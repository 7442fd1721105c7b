"""DataFusion, the SQL engine of InfluxDB 3, over rows in memory: tables as that database makes them."""

import sqlite3
from collections.abc import Sequence

import orjson
import pyarrow as pa
from datafusion import SessionContext

from aggregator.core.dialects import sql
from aggregator.core.select import Select
from aggregator.core.views import Row
from models.contract.schema import MEASUREMENTS
from tests.plant_rows import Stored


class DataFusion:
    """Fulfils ports.Reader."""

    def __init__(self, rows: Sequence[Stored]) -> None:
        self._context = SessionContext()
        for measurement, schema in MEASUREMENTS.items():
            stored = [row for row in rows if row.measurement == measurement]
            columns = {"time": pa.array([row.time_ns for row in stored], pa.timestamp("ns"))}
            # tags are dictionaries there
            columns |= {
                tag: pa.array([row.tags[i] for row in stored], pa.dictionary(pa.int32(), pa.string()))
                for i, tag in enumerate(schema.tags)
            }
            columns |= {
                name: pa.array([row.fields.get(name) for row in stored], pa.float64()) for name in schema.floats
            }
            columns |= {
                name: pa.array([row.fields.get(name) for row in stored], pa.string()) for name in schema.strings
            }
            batches = pa.table(columns).to_batches() or [pa.RecordBatch.from_pydict(columns)]
            self._context.register_record_batches(measurement, [batches])

    def select(self, question: Select, /) -> list[Row]:
        return self._table(sql.render(question))

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        assert language in {None, "sql"}
        return self._table(text)

    def close(self) -> None:
        """Holds nothing."""

    def json(self, text: str) -> bytes:
        """As the server answers with `format=json`: times as text without a zone."""
        table = self._arrow(text)
        for i, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                table = table.set_column(i, field.name, table.column(i).cast(pa.string()))
        return orjson.dumps(
            [{**row, "time": row["time"].replace(" ", "T")} if "time" in row else row for row in table.to_pylist()]
        )

    def _arrow(self, text: str) -> pa.Table:
        frame = self._context.sql(text)
        return pa.Table.from_batches(frame.collect(), schema=frame.schema())

    def _table(self, text: str) -> list[Row]:
        table = self._arrow(text)
        for i, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                table = table.set_column(i, field.name, table.column(i).cast(pa.int64()))
        rows: list[Row] = table.to_pylist()
        return rows


class SqliteViews:
    """Fulfils ports.Reader: SQLite over tables such as the embedded store's views, times in ns as integers."""

    def __init__(self, rows: Sequence[Stored]) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.row_factory = sqlite3.Row
        for measurement, (tags, floats, strings) in MEASUREMENTS.items():
            columns = (
                [f"{tag} TEXT" for tag in tags]
                + [f"{name} REAL" for name in floats]
                + [f"{name} TEXT" for name in strings]
            )
            self._connection.execute(f"CREATE TABLE {measurement} (time INTEGER, {', '.join(columns)})")
            marks = ", ".join("?" for _ in range(1 + len(columns)))
            self._connection.executemany(
                f"INSERT INTO {measurement} VALUES ({marks})",  # noqa: S608 - names of the schema
                [
                    (row.time_ns, *row.tags, *(row.fields.get(name) for name in (*floats, *strings)))
                    for row in rows
                    if row.measurement == measurement
                ],
            )

    def select(self, question: Select, /) -> list[Row]:
        return self.raw(sql.render(question, "sqlite"))

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        assert language in {None, "sql"}
        return [dict(row) for row in self._connection.execute(text)]

    def close(self) -> None:
        """Ends with the process."""
