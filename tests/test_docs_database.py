"""docs/database.md says what is true: its tables are the schema's, its output and its queries those of real servers."""

import re
import shlex
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datafusion import SessionContext
from typer.main import get_command
from typer.testing import CliRunner

from aggregator import cli
from aggregator.adapters import stores
from aggregator.config import Retention, Sqlite, Validation
from aggregator.core import minutes
from models.contract.schema import MEASUREMENTS
from tests.batches import SECOND, T0, batch, points_of
from tests.influx_servers import ask, write
from tests.servers import Influx1
from tocsin.cli import build

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL) for line in block.splitlines()]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    return str(found)


def table(first: str) -> dict[str, list[str]]:
    """The rows of the table whose heading begins so: what the first cell names, and the other cells."""
    _, _, rest = DOC.partition(f"\n| {first} |")
    rows = [line.strip("|").split("|") for line in rest.split("\n\n", 1)[0].splitlines()[2:]]
    return {names(row[0])[0]: row[1:] for row in rows}


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_tables_of_the_schema_are_those_of_the_contract() -> None:
    means = (MEASUREMENTS["reading"].tags, (*minutes.MEANS, minutes.BAD), ())
    expected = {name: tuple(schema) for name, schema in MEASUREMENTS.items()} | {minutes.MEASUREMENT: means}
    assert {name: tuple(tuple(names(cell)) for cell in row) for name, row in table("measurement").items()} == expected


def test_each_kind_of_store_is_there_with_its_languages() -> None:
    rows = table("`store.kind`")
    assert set(rows) == set(stores.KINDS)
    assert all({"raw_d", "minutes_d"} == set(Retention.model_fields) for _ in rows)
    assert {kind for kind, row in rows.items() if "the server" in row[-1]} == {"influx1", "influx2"}
    assert "max_series" in Validation.model_fields


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_understood(command: str) -> None:
    program, name, *words = shlex.split(command)
    assert (program, name, words[0]) == ("./run", "tocsin", "aggregator")
    parser: Any = get_command(build(words[0]))
    while hasattr(parser, "commands"):
        name, *words = words
        parser = parser.commands[name]
    assert parser.make_context(name, words).command.callback is not None


def test_the_dry_run_is_that_of_the_program(influx1: Influx1, tmp_path: Path) -> None:
    database, path = f"tocsin-{uuid.uuid4().hex}", tmp_path / "aggregator.toml"
    retention = re.findall(r"`((?:raw|minutes)_d = \d+)`", DOC)
    store = f'kind = "influx1"\nurl = "{influx1.url}"\ndatabase = "{database}"'
    path.write_text("\n".join(("[store]", store, "[retention]", *retention)))
    result = CliRunner().invoke(cli.app, ["init", str(path), "--dry-run"])
    assert result.output.replace(database, "tocsin") == block("text")


def test_the_query_of_1x_finds_the_means_by_channel(influx1: Influx1) -> None:
    database = uuid.uuid4().hex
    ask(influx1.url, f'CREATE DATABASE "{database}" WITH NAME "minutes"')
    write(influx1.url, database, "reading_1m,site=s,asset=pump-7,channel=c mean=2,min=1,max=3,n=2")
    assert [row[1:] for row in ask(influx1.url, block("influxql"), database)] == [[2, 1, 3]]


def test_the_query_of_3_takes_of_a_minutes_rows_the_one_with_most_readings() -> None:
    rows = [
        (T0, "10", 1.0, 9.0, 1.0),
        (T0, "9", 2.0, 9.0, None),
        (T0, "100", 3.0, 99.0, 1.0),
        (T0 + 60 * SECOND, "1", None, 0.0, 1.0),
    ]
    time_ns, readings, mean, n, bad = zip(*rows, strict=True)
    common = {name: ["x"] * len(rows) for name in ("site", "asset", "channel")}
    columns = {"time": pa.array(time_ns, pa.timestamp("ns")), **common, "readings": readings, "n": n, "bad": bad}
    context = SessionContext()
    content = pa.table(columns | {name: pa.array(mean, pa.float64()) for name in ("mean", "min", "max")})
    context.register_record_batches(minutes.MEASUREMENT, [content.to_batches()])
    found = context.sql(block("sql")).to_pylist()
    assert [(row["mean"], row["n"]) for row in found] == [(3.0, 99.0), (None, 0.0)]


def test_a_file_is_copied_while_it_is_open_as_the_page_says(tmp_path: Path) -> None:
    (statement,) = re.findall(r'sqlite3 tocsin\.db "(.*?)"', DOC)
    store = stores.open_store(Sqlite(kind="sqlite", path=tmp_path / "tocsin.db"))
    store.prepare(points_of(batch([1.0, 2.0])))()
    with closing(sqlite3.connect(tmp_path / "tocsin.db")) as file:
        file.execute(statement.replace("copy.db", str(tmp_path / "copy.db")))
    store.close()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM reading").fetchone() == (2,)


def test_the_places_that_the_page_points_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", DOC):
        assert (ROOT / "docs" / target).exists(), target
    assert "\n## Quality\n" in (ROOT / "docs" / "signal.md").read_text(encoding="utf-8")
    for place in re.findall(r"`(tests/[^`]+)`", DOC):
        assert (ROOT / place).exists(), place
