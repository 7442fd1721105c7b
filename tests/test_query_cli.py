"""`tocsin aggregator query`: tables that fit, files, pictures, and what it says to a mistake."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.main import get_command
from typer.testing import CliRunner, Result

from aggregator.adapters import stores
from aggregator.cli import app
from aggregator.config import Sqlite
from aggregator.core.times import time_ns
from aggregator.core.views import Row
from aggregator.output.cells import wrap
from aggregator.output.table import table
from tests.batches import T0
from tests.plant_rows import points
from tests.selects import ORACLE, QUESTIONS, ROWS
from tests.servers import free_port

DAY = "2025-10-09"
COMMANDS = {
    "latest": [],
    "health": [],
    "alarms": [],
    "alarm-changes": ["--since", DAY],
    "series": ["--asset", "pump-1", "--channel", "speed", "--since", DAY],
    "anomaly": ["--since", DAY],
    "top": ["--since", DAY],
    "means": ["--since", DAY],
    "gateways": [],
    "gateway": ["gw-1", "--since", DAY],
    "models": ["--since", DAY],
    "qualities": ["--since", DAY],
    "raw": ["SELECT * FROM alarm"],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("query")
    store = stores.open_store(Sqlite(kind="sqlite", path=folder / "rows.db"))
    store.prepare(points(ROWS))()
    (folder / "aggregator.toml").write_text('[store]\nkind = "sqlite"\npath = "rows.db"\n')
    yield folder / "aggregator.toml"
    store.close()


def ask(config: Path, *arguments: str, width: int = 80) -> Result:
    runner = CliRunner(env={"COLUMNS": str(width), "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, ["query", *arguments, "--config", str(config)])


def flat(text: str) -> str:
    """What is said, whatever the width of the box around it."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


def test_every_command_is_tried_here() -> None:
    group = get_command(app).commands["query"]  # type: ignore[attr-defined]
    assert set(group.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_answer_fits_its_terminal(config: Path, command: str, width: int) -> None:
    done = ask(config, command, *COMMANDS[command], width=width)
    assert done.exit_code == 0, done.output
    assert done.stdout
    assert max(map(cell_len, done.stdout.splitlines())) <= width


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_whole_and_csv_says_the_same(config: Path, command: str) -> None:
    rows = json.loads(ask(config, command, *COMMANDS[command], "--json").stdout)
    found = list(csv.DictReader(io.StringIO(ask(config, command, *COMMANDS[command], "--format", "csv").stdout)))
    assert rows
    assert [list(row) for row in found] == [list(row) for row in rows]
    for row, line in zip(rows, found, strict=True):
        for name, cell in row.items():
            told = line[name]
            if cell is None:
                assert told == ""
            elif name in {"time", "since", "first", "last"}:
                assert time_ns(told) == cell
            else:
                assert (told if isinstance(cell, str) else float(told)) == cell


def test_a_wide_terminal_shows_messages_beside_and_a_narrow_one_below(config: Path) -> None:
    assert "message" in ask(config, "alarms", width=200).stdout.splitlines()[1]
    narrow = ask(config, "alarms").stdout.splitlines()
    assert "message" not in narrow[1]
    assert '    message pump-1 is hot: "why" ⏎ back\\slash 2' in narrow


def test_what_is_the_same_in_all_rows_stands_above_them_once(config: Path) -> None:
    done = ask(config, "series", "--asset", "pump-2", "--channel", "speed", "--since", DAY, "--limit", "2").stdout
    assert (
        done.splitlines()[0] == "2025-10-09 UTC · site north · asset pump-2 · channel speed · quality uncertain: flat"
    )


texts = st.text(st.characters(codec="utf-8"), max_size=40)
cells = texts | st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9)
answers_of = st.lists(
    st.fixed_dictionaries({"asset": texts, "value": cells, "message": texts, "note": cells}), min_size=1, max_size=4
)


@given(rows=answers_of, width=st.integers(30, 200))
def test_no_table_is_wider_than_asked_and_none_can_command_a_terminal(rows: list[Row], width: int) -> None:
    caption, head, body = table(rows, width)
    for line in (*head, *body):
        assert cell_len(line) <= width
        assert line.isprintable()
    assert caption.isprintable()


def test_a_name_that_is_too_long_is_broken_behind_its_marks() -> None:
    assert wrap("the compressor-anomaly of press-line-1", 16) == ["the", "compressor-", "anomaly of", "press-line-1"]
    assert wrap("compressor-anomaly", 4) == ["comp", "ress", "or-", "anom", "aly"]


@given(content=st.text("ab-/. ", max_size=60), width=st.integers(2, 9))
def test_wrapping_loses_nothing_but_blanks(content: str, width: int) -> None:
    lines = wrap(content, width)
    assert "".join(lines).replace(" ", "") == content.replace(" ", "")
    assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize("width", [0, 3, 5])
def test_a_terminal_too_narrow_for_anything_gets_a_table_all_the_same(width: int) -> None:
    assert "message" in "".join(table(QUESTIONS["open alarms"](ORACLE), width).body).replace(" ", "")


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_row_and_no_value_gets_lost_in_a_narrow_table(name: str) -> None:
    rows = QUESTIONS[name](ORACLE)
    if rows:
        narrow, wide = (table(rows, width) for width in (70, 500))
        words = [sorted(re.findall(r"[\w.]+", " ".join((t.caption, *t.head, *t.body)))) for t in (narrow, wide)]
        assert set(words[0]) >= {word for word in words[1] if re.fullmatch(r"\d+\.\d+", word)}


@pytest.mark.parametrize(
    ("name", "begin"), [("rows.csv", "time,site"), ("rows.json", '[{"time"'), ("rows.txt", "2025")]
)
def test_a_file_is_written_in_the_form_of_its_suffix(config: Path, tmp_path: Path, name: str, begin: str) -> None:
    done = ask(config, "gateways", "--out", str(tmp_path / name))
    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / name).read_text().startswith(begin)


@pytest.mark.parametrize(
    ("command", "suffix"), [("series", "png"), ("anomaly", "svg"), ("means", "pdf"), ("gateway", "png")]
)
def test_what_runs_over_time_can_be_drawn(config: Path, tmp_path: Path, command: str, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    done = ask(config, command, *COMMANDS[command], "--plot", str(path))
    assert done.exit_code == 0, done.output
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(begins[suffix])


def test_a_picture_shows_each_line_by_its_name(config: Path, tmp_path: Path) -> None:
    ask(config, "anomaly", "--since", DAY, "--plot", str(tmp_path / "x.svg"))
    drawn = (tmp_path / "x.svg").read_text()
    assert all(name in drawn for name in ("north pump-1", "north pump-2", "south pump-1", "max", "mean", "wear"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latest", "--asset", "pmp-1"], "there is no asset 'pmp-1'; did you mean 'pump-1'? (there are: "),
        (["health", "--asset", "x"], "there is no asset 'x' (there are: "),
        (["alarms", "--asset", "pump-9"], "there is no asset 'pump-9'"),
        (
            ["series", "--asset", "pump-1", "--channel", "sped"],
            "no channel or output of a model 'sped'; did you mean 'speed'?",
        ),
        (["means", "--channel", "tmp"], "there is no channel 'tmp'"),
        (["gateway", "gw-9"], "there is no gateway 'gw-9'; did you mean"),
        (["means", "--since", "yesterday"], "'yesterday' is neither a span such as 90s"),
        (["means", "--since", "1h", "--until", "2h"], "--since 1h does not lie before --until 2h"),
        (["means", "--every", "2020-01-01"], "--every 2020-01-01: a span such as 10s"),
        (["means", "--every", "99999999w"], "at most 520w"),
        (["means", "--since", "9999-12-31"], "lies behind 2262"),
        (["series", "--asset", "a", "--channel", "b", "--limit", "0"], "greater than or equal to 1"),
        (["means", "--plot", "x.gif"], "pictures are .png, .svg, .pdf"),
        (["latest", "--plot", "x.png"], "No such option: --plot"),
        (["latest", "--json", "--format", "csv"], "exclude each other"),
        (["raw", "SELECT * FROM nowhere"], "no such table"),
        (["raw", "DROP TABLE x"], ""),
        (["raw", "SELECT 1", "--language", "flux"], "does not speak 'flux' (allowed: sql)"),
        (["raw", "SELECT 1", "--show", "sql"], "this one is a text already"),
        (["latest", "--asset", "\udcff"], "no UTF-8"),
    ],
)
def test_a_mistake_is_named_with_its_cure(config: Path, arguments: list[str], said: str) -> None:
    done = ask(config, *arguments, width=300)
    assert done.exit_code == 2, done.output
    assert said in flat(done.output)


def test_another_time_is_proposed_where_there_are_rows(config: Path) -> None:
    done = ask(config, "series", "--asset", "pump-1", "--channel", "speed")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "the newest row is of 2025-10-09T09:04:50 UTC: try --since 2025-10-09" in done.stderr


@pytest.mark.parametrize(
    ("kinds", "arguments", "said"),
    [
        ({"reading"}, ["top"], "no model has judged it yet"),
        ({"reading"}, ["alarm-changes"], "there was no alarm yet"),
        ({"reading"}, ["series", "--asset", "pump-1", "--channel", "health"], "no model has judged it yet"),
        ({"inference"}, ["latest", "--asset", "pump-1"], "there is no reading of it yet"),
        ({"reading", "inference", "alarm"}, ["alarm-changes"], "newest row is of 2025-10-09T08:56:20.000000002 UTC"),
    ],
)
def test_a_time_of_other_rows_is_not_proposed(tmp_path: Path, kinds: set[str], arguments: list[str], said: str) -> None:
    store = stores.open_store(Sqlite(kind="sqlite", path=tmp_path / "rows.db"))
    store.prepare(points([row for row in ROWS if row.measurement in kinds]))()
    store.close()
    (tmp_path / "a.toml").write_text('[store]\nkind = "sqlite"\npath = "rows.db"\n')
    done = ask(tmp_path / "a.toml", *arguments)
    assert (done.exit_code, done.stdout) == (0, "")
    assert said in done.stderr


def test_json_has_no_number_that_json_does_not_know(config: Path) -> None:
    assert ask(config, "raw", "SELECT 9e999 AS x, -9e999 AS y", "--json").stdout == '[{"x":null,"y":null}]\n'


def test_an_empty_store_says_where_to_look(tmp_path: Path) -> None:
    store = stores.open_store(Sqlite(kind="sqlite", path=tmp_path / "rows.db"))
    store.prepare(points([row for row in ROWS if row.measurement == "alarm"]))()
    store.close()
    (tmp_path / "a.toml").write_text('[store]\nkind = "sqlite"\npath = "rows.db"\n')
    for command in ("latest", "health", "top", "means", "gateways"):
        done = ask(tmp_path / "a.toml", command)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "tocsin aggregator fleet" in done.stderr


@pytest.mark.parametrize("since", ["999999999999d", "1900-01-01"])
def test_times_before_those_that_a_store_can_hold_are_as_early_as_it_gets(config: Path, since: str) -> None:
    done = ask(config, "means", "--since", since, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)


def test_a_time_may_be_said_to_the_nanosecond(config: Path) -> None:
    begin, end = (f"2025-10-09T09:04:50.00000000{digit}" for digit in "12")
    rows = json.loads(ask(config, "means", "--since", begin, "--until", end, "--json").stdout)
    assert {row["channel"]: row["count"] for row in rows if row["asset"] == "pump-1"} == {"temp °C": 1.0}


def test_an_answer_that_a_limit_may_have_cut_says_so(config: Path) -> None:
    asked = ["gateway", "gw-2", "--since", DAY]
    found = len(json.loads(ask(config, *asked, "--json").stdout))
    assert "--limit 20 shows more" in ask(config, *asked, "--limit", "2").stderr
    assert ask(config, *asked, "--limit", str(found + 1)).stderr == ""


def test_json_of_nothing_is_an_empty_list(config: Path) -> None:
    done = ask(config, "means", "--json")
    assert (done.exit_code, done.stdout) == (0, "[]\n")


@pytest.mark.parametrize(("name", "content"), [("x.csv", "\n"), ("x.json", "[]\n"), ("x.txt", "")])
def test_a_file_of_nothing_is_a_file(config: Path, tmp_path: Path, name: str, content: str) -> None:
    assert ask(config, "means", "--out", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / name).read_text() == content


def test_a_store_that_is_away_is_said_in_a_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "a.toml").write_text(f'[store]\nkind = "influx1"\nurl = "{url}"\ndatabase = "d"\n')
    done = ask(tmp_path / "a.toml", "latest")
    assert done.exit_code == 1
    assert "the store does not answer as it should" in done.stderr


def test_a_folder_that_is_not_there_is_a_mistake_in_a_line(config: Path, tmp_path: Path) -> None:
    done = ask(config, "means", "--since", DAY, "--out", str(tmp_path / "none" / "x.csv"))
    assert done.exit_code == 2
    assert "No such file or directory" in done.stderr


def test_show_asks_nothing_and_needs_no_store(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[store]\nkind = "sqlite"\npath = "none.db"\n')
    done = ask(tmp_path / "a.toml", "means", "--since", DAY, "--show", "sql")
    assert done.exit_code == 0
    assert f'"time" >= {T0 // (86400 * 10**9) * 86400 * 10**9}' in done.stdout


def test_flux_names_the_bucket_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[store]\nkind = "influx2"\nurl = "http://127.0.0.1:1"\nbucket = "plant"\n')
    assert ask(tmp_path / "a.toml", "health", "--show", "flux").stdout.startswith('from(bucket: "plant")')
