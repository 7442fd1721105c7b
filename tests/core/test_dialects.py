"""The renderers: SQL is run by DataFusion and SQLite, whatever is asked; other texts are held to what they quote."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.core.dialects import REFUSALS, RENDERERS, flux, influxql, sql
from aggregator.core.questions import Questions
from aggregator.core.select import Select, Where
from aggregator.core.times import iso, time_ns
from tests.batches import SECOND, T0
from tests.plant_rows import END, HOSTILE, answer
from tests.selects import ORACLE, QUESTIONS, ROWS, selects
from tests.sql_engine import DataFusion, SqliteViews

ENGINES: dict[str, DataFusion | SqliteViews] = {"datafusion": DataFusion(ROWS), "sqlite": SqliteViews(ROWS)}
ANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", QUESTIONS)
def test_sql_of_each_named_question_has_the_expected_answer(engine: str, name: str) -> None:
    ask = QUESTIONS[name]
    assert ask(Questions(ENGINES[engine])) == ask(ORACLE)


@pytest.mark.parametrize("engine", ENGINES)
@ANY
@given(question=selects())
def test_sql_of_any_select_means_what_it_says(engine: str, question: Select) -> None:
    assert ENGINES[engine].select(question) == answer(question, ROWS)


@pytest.mark.parametrize("engine", ENGINES)
@ANY
@given(value=st.text())
def test_a_text_in_sql_is_that_text_whatever_it_holds(engine: str, value: str) -> None:
    value = value.replace("\0", "")  # SQLite ends a text there; no name may hold it
    assert ENGINES[engine].raw(f"SELECT {sql.literal(value)} AS {sql.name('x' + value)}") == [{"x" + value: value}]


@pytest.mark.parametrize("language", RENDERERS)
@given(value=st.text(st.characters(codec="utf-8")))
def test_a_value_never_ends_its_quotes(language: str, value: str) -> None:
    text = RENDERERS[language](Select("reading", tags={"asset": value}))
    plain = RENDERERS[language](Select("reading", tags={"asset": "x"}))
    assert _bare(language, text) == _bare(language, plain)


def _bare(language: str, text: str) -> str:
    """Without what stands in quotes, as each language reads them."""
    quoted = {
        "influxql": r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""",
        "sql": r"""'(?:''|[^'])*'|"(?:""|[^"])*\"""",
        "flux": r'"(?:\\.|[^"\\])*"',
    }
    return re.sub(quoted[language], "_", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_flux_text_computes_nothing_of_a_value(name: str) -> None:
    assert "${" not in flux.literal(name).replace("\\${", "")


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_influxql_is_exact_and_has_no_exponent(value: float) -> None:
    assert float(influxql.literal(value)) == value
    assert "e" not in influxql.literal(value)


@given(moment=st.integers(0, 2**63 - 2))
def test_a_time_is_written_and_read_to_the_nanosecond(moment: int) -> None:
    assert time_ns(iso(moment)) == time_ns(iso(moment) + "Z") == moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00+02:00", 1_769_853_600 * SECOND),
        ("2026-01-31 10:00:00.000000001", 1_769_853_600 * SECOND + 1),
        ("2026-01-31", None),
        ("soon", None),
    ],
)
def test_times_of_answers_may_have_a_zone_or_none(text: str, expected: int | None) -> None:
    assert time_ns(text) == expected


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("influxql", 'SELECT mean("value") FROM "reading" GROUP BY time(1m)'),
        ("influxql", "show measurements; SELECT * FROM alarm"),
        ("influxql", 'SELECT * FROM "into" WHERE "asset" = \'; DROP DATABASE x\''),
        ("influxql", "SELECT * FROM alarm -- into the blue"),
        ("sql", "WITH x AS (SELECT 1) SELECT * FROM x"),
        ("sql", "select 'drop' as \"delete\""),
        ("flux", 'import "strings"\nfrom(bucket: "to") |> range(start: -1h)'),
        ("flux", 'from(bucket: "b") |> yield(name: "to ()") // to()'),
        ("flux", 'import "math"\nf(to: 1, x: 6 / 2)'),
    ],
)
def test_a_text_that_asks_is_sent(language: str, text: str) -> None:
    assert REFUSALS[language](text) == ""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("influxql", "DROP MEASUREMENT reading"),
        ("influxql", "drop database x"),
        ("influxql", "SELECT * INTO copy FROM reading"),
        ("influxql", "SELECT 1; DELETE FROM reading"),
        ("influxql", "/* SELECT */ DROP SERIES FROM reading"),
        ("influxql", "SELECT * FROM m WHERE a = 'it\\'s'; DROP DATABASE \"x\""),
        ("influxql", ""),
        ("sql", "INSERT INTO reading VALUES (1)"),
        ("sql", "WITH x AS (DELETE FROM reading RETURNING *) SELECT * FROM x"),
        ("sql", "SELECT 'it''s'; DROP TABLE reading"),
        ("sql", "PRAGMA writable_schema = 1"),
        ("flux", 'from(bucket: "b") |> range(start: -1h) |> to(bucket: "c")'),
        ("flux", 'write = to\nfrom(bucket: "b") |> write(bucket: "c")'),
        ("flux", 'import "http"\nhttp.post(url: "x", data: bytes(v: ""))'),
        ("flux", 'import e "experimental"\ne.to(bucket: "c")'),
        ("flux", 'from(bucket: "b") |> filter(fn: (r) => r.a =~ /"/) |> to(bucket: "c") //"'),
        ("flux", 'x = "${from(bucket: "b") |> to(bucket: "c")}"'),
        ("flux", 'import "date" import "http" http.post(url: "x")'),
        ("flux", 'import // why\n "http"\nhttp.post(url: "x")'),
        ("flux", 'package p import "sql"'),
    ],
)
def test_a_text_that_changes_something_is_not_sent(language: str, text: str) -> None:
    assert REFUSALS[language](text)


def test_conditions_and_both_ends_of_the_time_stand_in_each_text() -> None:
    question = Select("alarm", tags={"asset": "a"}, where=(Where("id", ("x", "y")),), since_ns=T0, until_ns=END)
    for render in RENDERERS.values():
        text = render(question)
        assert all(part in text for part in ("2025-10-09T08:53:20", "2025-10-09T09:13:20", "x", "y"))


def test_flux_groups_by_series_sorts_and_pivots() -> None:
    assert flux.render(Select("alarm", ("is_open",), newest=1), "my bucket") == (
        'from(bucket: "my bucket")\n'
        "  |> range(start: 0, stop: 2262-04-11T23:47:16.854775806Z)\n"
        '  |> filter(fn: (r) => r._measurement == "alarm" and r._field == "is_open")\n'
        '  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")\n'
        '  |> sort(columns: ["_time"], desc: true)\n'
        "  |> limit(n: 1)\n"
        "  |> group()\n"
        '  |> sort(columns: ["_time", "site", "asset", "code"])\n'
        '  |> keep(columns: ["_time", "site", "asset", "code", "is_open"])'
    )
