"""docs/queries.md says what the program does: its commands, answers and texts are run, wherever there is an engine."""

import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from aggregator.adapters import stores
from aggregator.adapters.read_sqlite import SqliteReader
from aggregator.cli import app
from aggregator.config import Influx1, Sqlite
from aggregator.core import answers
from aggregator.core.dialects import RENDERERS, sql
from aggregator.core.questions import Questions
from aggregator.core.select import Select
from aggregator.core.views import Row
from aggregator.ports import Reader
from models.contract.schema import MEASUREMENTS
from tests.plant_rows import answer, points
from tests.selects import ORACLE, ROWS
from tests.servers import Influx1 as Influx1Server
from tests.sql_engine import DataFusion

DOC = (Path(__file__).parents[1] / "docs" / "queries.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"```(\w+(?: \w+)?)\n(.*?)\n```", re.DOTALL)
# What people ask: each of them must stand on the page.
TITLES = [
    "Health of each asset, the worst first",
    "Anomaly score over a window",
    "Open alarms",
    "Top 10 by failure probability",
    "One-minute means",
    "A gateway's gaps and losses",
    "Model versions in use",
    "Bad sensors",
    "Newest readings",
    "A channel over time",
]


class Example(NamedTuple):
    """A section of the page."""

    title: str
    arguments: list[str]  # of `tocsin aggregator query`
    blocks: dict[str, str]  # what stands behind ``` -> what stands between


def _examples() -> Iterator[Example]:
    for section in DOC.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        blocks = dict(_BLOCK.findall(section))
        if title in TITLES:
            yield Example(title, shlex.split(blocks["sh"].partition(" query ")[2]), blocks)


EXAMPLES = list(_examples())
BY_TITLE = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.arguments[0])


@pytest.fixture(scope="module")
def config(influx1: Influx1Server) -> Influx1:
    config = Influx1(kind="influx1", url=influx1.url, database=uuid.uuid4().hex)
    store = stores.open_store(config)
    assert store.prepare(points(ROWS))() == []
    store.close()
    return config


@pytest.fixture(scope="module")
def real(config: Influx1) -> Iterator[Reader]:
    reader = stores.open_reader(config)
    yield reader
    reader.close()


@pytest.fixture
def folder(config: Influx1, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands of the page are given: a terminal of 80 columns, and the file that they name."""
    text = f'[store]\nkind = "influx1"\nurl = "{config.url}"\ndatabase = "{config.database}"\n'
    (tmp_path / "aggregator.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["query", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout.rstrip("\n")


def asked(example: Example) -> Select:
    """The `Select` whose text the section shows."""
    recorded: list[Select] = []

    class Recorder:
        def select(self, question: Select, /) -> list[Row]:
            recorded.append(question)
            return []

        def raw(self, text: str, language: str | None = None) -> list[Row]:
            raise NotImplementedError

        def close(self) -> None:
            """Holds nothing."""

    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr("aggregator.app.open_reader", lambda _: Questions(Recorder()))
        CliRunner().invoke(app, ["query", *example.arguments, "--json"])
    return recorded[0]


def test_each_question_that_people_have_stands_on_the_page() -> None:
    assert [example.title for example in EXAMPLES] == TITLES


@BY_TITLE
@pytest.mark.usefixtures("folder")
def test_a_command_answers_as_the_page_shows(example: Example) -> None:
    assert said(*example.arguments) == example.blocks["text"]


@BY_TITLE
@pytest.mark.parametrize("language", RENDERERS)
@pytest.mark.usefixtures("folder")
def test_a_text_is_what_show_prints(example: Example, language: str) -> None:
    assert said(*example.arguments, "--show", language) == example.blocks[language]


@BY_TITLE
@pytest.mark.usefixtures("folder")
def test_the_influxql_is_run_by_a_real_server(example: Example, real: Reader) -> None:
    question = asked(example)
    rows = real.raw(example.blocks["influxql"], "influxql")
    schema = MEASUREMENTS[question.measurement]
    tags = question.by if question.aggregates else schema.tags
    series = (({tag: str(row.get(tag, "")) for tag in tags}, dict(row)) for row in rows)
    assert answers.ordered(series, question) == answer(question, ROWS)


@BY_TITLE
@pytest.mark.usefixtures("folder")
def test_the_sql_is_run_by_the_engine_of_version_3(example: Example) -> None:
    assert DataFusion(ROWS).raw(example.blocks["sql"]) == answer(asked(example), ROWS)


@BY_TITLE
@pytest.mark.usefixtures("folder")
def test_the_sql_with_whole_times_is_run_by_the_embedded_store(example: Example, tmp_path: Path) -> None:
    config = Sqlite(kind="sqlite", path=tmp_path / "rows.db")
    store = stores.open_store(config)
    store.prepare(points(ROWS))()
    reader = SqliteReader(config)
    question = asked(example)
    text = f'[store]\nkind = "sqlite"\npath = "{config.path}"\n'
    (tmp_path / "aggregator.toml").write_text(text)
    shown = said(*example.arguments, "--show", "sql")
    assert shown == sql.render(question, "sqlite")
    assert reader.raw(shown) == answer(question, ROWS)
    reader.close()
    store.close()


def section(title: str) -> Example:
    return next(example for example in EXAMPLES if example.title == title)


def cells(rows: list[Row], *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


def test_the_texts_of_a_dashboard_give_the_open_alarms(real: Reader) -> None:
    blocks = section("Open alarms").blocks
    columns = ("time", "site", "asset", "code", "severity", "message")
    expected = cells(ORACLE.alarms(), *columns)
    assert cells(DataFusion(ROWS).raw(blocks["sql dashboard"]), *columns) == expected
    assert sorted(cells(real.raw(blocks["influxql dashboard"], "influxql"), *columns)) == sorted(expected)


def test_the_texts_of_a_dashboard_give_the_likeliest_failures(real: Reader) -> None:
    blocks = section("Top 10 by failure probability").blocks
    columns = ("site", "asset", "failure_prob")
    expected = cells(ORACLE.top(10), *columns)
    assert cells(DataFusion(ROWS).raw(blocks["sql dashboard"]), *columns) == expected
    assert sorted(cells(real.raw(blocks["influxql dashboard"], "influxql"), *columns)) == sorted(expected)


@pytest.mark.usefixtures("folder")
def test_a_raw_text_of_the_page_is_answered() -> None:
    [line] = [line for line in DOC.splitlines() if "query raw" in line and line.startswith("./run")]
    assert "pump-1" in said(*shlex.split(line.partition(" query ")[2]))


def test_the_page_says_that_flux_was_not_run() -> None:
    assert "**The Flux was not run**" in DOC


def test_the_page_names_each_measurement_with_its_tags_and_fields() -> None:
    for name, (tags, floats, strings) in MEASUREMENTS.items():
        [row] = [line for line in DOC.splitlines() if line.startswith(f"| `{name}` |")]
        assert re.findall(r"`(\w+)`", row) == [name, *tags, *floats, *strings]
