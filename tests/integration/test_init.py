"""`tocsin aggregator init` and `downsample` against a real InfluxDB 1.x, as a person uses them."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aggregator import cli
from aggregator.core.minutes import MINUTE_NS
from tests.agents import eventually
from tests.influx_servers import ask, write
from tests.servers import Influx1, free_port

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


class Plant:
    """A configuration file and the database that it names."""

    def __init__(self, server: Influx1, path: Path) -> None:
        self.url = server.url
        self.database = f"tocsin-{uuid.uuid4().hex[:8]}"
        self.path = path

    def run(self, command: str, *options: str, retention: str = "raw_d = 90\nminutes_d = 730") -> Result:
        store = f'kind = "influx1"\nurl = "{self.url}"\ndatabase = "{self.database}"'
        self.path.write_text(f"[store]\n{store}\n[retention]\n{retention}\n")
        return CliRunner().invoke(cli.app, [command, str(self.path), *options])

    def policies(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.ask(f'SHOW RETENTION POLICIES ON "{self.database}"')}

    def put(self, *rows: tuple[int, float, float]) -> None:
        """Readings: time in ns, value, quality."""
        lines = (f"reading,site=n,asset=p,channel=c value={v!r},quality={q!r} {t}" for t, v, q in rows)
        write(self.url, self.database, "\n".join(lines))

    def means(self) -> dict[int, list[float | None]]:
        rows = self.ask('SELECT "mean", "min", "max", "n", "bad" FROM "minutes"."reading_1m"')
        return {row[0]: row[1:] for row in rows}

    def ask(self, query: str) -> list[list[Any]]:
        return ask(self.url, query, self.database)


@pytest.fixture
def plant(influx1: Influx1, tmp_path: Path) -> Plant:
    return Plant(influx1, tmp_path / "aggregator.toml")


def test_init_sets_all_up_and_a_second_time_there_is_nothing_to_do(plant: Plant) -> None:
    first = plant.run("init")
    assert first.exit_code == 0, first.output
    assert first.output.count("doing: ") == 5
    assert first.output.endswith("all done\n")
    assert plant.policies() == {"autogen": "2160h0m0s", "minutes": "17520h0m0s"}
    second = plant.run("init")
    assert (second.exit_code, second.output.count("done already: "), len(second.output.splitlines())) == (0, 5, 5)


def test_a_dry_run_shows_each_statement_and_changes_nothing(plant: Plant) -> None:
    shown = plant.run("init", "--dry-run")
    assert (shown.exit_code, shown.output.count("to do: ")) == (0, 5)
    assert f'    CREATE DATABASE "{plant.database}" WITH NAME "autogen"\n' in shown.output
    assert [plant.database] not in plant.ask("SHOW DATABASES")
    plant.run("init")
    before = plant.policies()
    shown = plant.run("init", "--dry-run", retention="raw_d = 7")
    assert "kept for 7d (until now 90d: what is older is deleted)" in shown.output
    assert plant.policies() == before


def test_the_statements_of_a_dry_run_do_the_same_by_hand(plant: Plant) -> None:
    for step in json.loads(plant.run("init", "--dry-run", "--json").output):
        plant.ask(step["statement"])
    assert all(step["is_done"] for step in json.loads(plant.run("init", "--dry-run", "--json").output))


def test_a_file_is_set_up_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "aggregator.toml"
    path.write_text('[store]\nkind = "sqlite"\npath = "rows/tocsin.db"\n')
    outputs = [CliRunner().invoke(cli.app, ["init", str(path), *o]).output for o in (("--dry-run",), (), ())]
    assert ["to do: " in outputs[0], outputs[1].endswith("all done\n"), "doing" in outputs[2]] == [True, True, False]
    assert (tmp_path / "rows" / "tocsin.db").exists()
    assert CliRunner().invoke(cli.app, ["downsample", str(path)]).exit_code == 0


def test_a_changed_configuration_is_put_through(plant: Plant) -> None:
    plant.run("init")
    changed = plant.run("init", retention="raw_d = 0.5\nminutes_d = 0")
    assert (changed.exit_code, changed.output.count("doing: ")) == (0, 2)
    assert plant.policies() == {"autogen": "12h0m0s", "minutes": "0s"}
    steps = json.loads(plant.run("init", "--json", retention="raw_d = 0.5").output)
    assert [set(step) for step in steps] == [{"what", "statement", "is_done"}] * 5
    assert all(step["is_done"] for step in steps)


def test_the_database_computes_the_means_by_itself(plant: Plant) -> None:
    ask(plant.url, f'CREATE DATABASE "{plant.database}"')
    start = (time.time_ns() // MINUTE_NS - 3) * MINUTE_NS
    plant.put((start, 1.0, 0.0), (start + SECOND, 2.0, 64.0), (start + 2 * SECOND, 99.0, 129.0))
    plant.put((start + MINUTE_NS, 5.0, 129.0))
    plant.run("init")
    expected = {start: [1.5, 1.0, 2.0, 2.0, 1.0], start + MINUTE_NS: [None, None, None, None, 1.0]}
    eventually(lambda: plant.means() == expected, "the means of two minutes", every_s=0.1)


def test_means_of_days_ago_are_computed_day_by_day_and_again_with_what_came_late(plant: Plant) -> None:
    plant.run("init")
    start = (time.time_ns() - 2 * DAY) // MINUTE_NS * MINUTE_NS
    plant.put((start, 1.0, 0.0), (start + DAY, 3.0, 0.0))
    done = plant.run("downsample", "--since", "3d")
    assert (done.exit_code, done.output.count(": computed")) == (0, 4)
    assert plant.means() == {start: [1.0, 1.0, 1.0, 1.0, None], start + DAY: [3.0, 3.0, 3.0, 1.0, None]}
    plant.put((start + 59 * SECOND, 4.0, 0.0))
    plant.run("downsample", "--since", "3d", "--until", "1d")
    plant.run("downsample", "--since", "3d")
    assert plant.means()[start] == [2.5, 1.0, 4.0, 2.0, None]


def test_a_minute_that_is_not_over_is_left_for_later(plant: Plant) -> None:
    plant.run("init")
    now = time.time_ns()
    plant.put((now, 1.0, 0.0))
    plant.run("downsample", "--since", "1h")
    assert now - now % MINUTE_NS not in plant.means()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--since", "yesterday"), "neither a span such as 90s"),
        (("--since", "1h", "--until", "2h"), "there is no time between"),
        (("--since", "2030-01-01"), "there is no time between"),
    ],
)
def test_a_stretch_that_is_none_is_refused_with_the_reason(plant: Plant, options: tuple[str, ...], said: str) -> None:
    result = plant.run("downsample", *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_stretch_is_cut_to_the_times_that_there_can_be(tmp_path: Path) -> None:
    path = tmp_path / "aggregator.toml"
    path.write_text('[store]\nkind = "sqlite"\npath = "tocsin.db"\n')
    CliRunner().invoke(cli.app, ["init", str(path)])
    for since, until, days in (("9999999w", "1970-01-02", {1}), ("1h", "2262-01-01", {1, 2})):
        result = CliRunner().invoke(cli.app, ["downsample", str(path), "--since", since, "--until", until])
        assert (result.exit_code, result.output.count(": computed") in days) == (0, True), result.output


def test_a_retention_that_no_database_keeps_is_refused_before_anything_is_asked(plant: Plant) -> None:
    result = plant.run("init", retention="raw_d = 0.01")
    assert result.exit_code == 2
    assert "retention.raw_d: no database keeps less than an hour (allowed: 0 = for ever" in result.output


def test_a_server_that_is_away_is_named_and_where_to_go_on_said(plant: Plant) -> None:
    plant.url = f"http://127.0.0.1:{free_port()}"
    for command in ("init", "downsample"):
        result = plant.run(command)
        assert (result.exit_code, plant.url in result.output) == (1, True)
    assert "go on with: --since 20" in result.output


def test_the_commands_say_what_they_are_for() -> None:
    for command, words in (("init", "Doing it again changes nothing"), ("downsample", "cut off for longer")):
        result = CliRunner().invoke(cli.app, [command, "--help"])
        assert (result.exit_code, words in " ".join(result.output.replace("│", " ").split())) == (0, True)
