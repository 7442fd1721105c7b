"""[maintenance]: what is refused, and with which words; and which windows a declaration means."""

from datetime import datetime
from pathlib import Path

import pytest

from aggregator.config import Maintenance, load
from aggregator.config.maintenance import weekly, zone
from aggregator.core.report.windows import Opening, openings
from models.contract.config_errors import ConfigError

STORE = '[store]\nkind = "sqlite"\npath = "t.db"\n[maintenance]\n'
CREWS = 'crews = [{ name = "day", skills = ["mechanics"] }]\n'


def maintenance(text: str, tmp_path: Path) -> Maintenance:
    path = tmp_path / "a.toml"
    path.write_text(STORE + text)
    return load(path).maintenance


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("horizon = 3\n", "maintenance.horizon: unknown key; did you mean 'horizon_h'?"),
        ("horizon_h = 0\n", "maintenance.horizon_h: input should be greater than 0 (allowed: more than 0.0)"),
        ('timezone = "Mars/Olympus"\n', "maintenance.timezone: 'Mars/Olympus' is no time zone (allowed: 'UTC', "),
        ('timezone = "../../etc/passwd"\n', "maintenance.timezone: '../../etc/passwd' is no time zone"),
        ('assets = [{ match = "*", failure_cost = 1, hours = 1 }]\n', "maintenance.assets[0].early_cost: is missing"),
        (
            'assets = [{ match = "*", failure_cost = nan, early_cost = 1, hours = 1 }]\n',
            "maintenance.assets[0].failure_cost: ",
        ),
        (
            CREWS + 'assets = [{ match = "p", failure_cost = 1, early_cost = 1, hours = 1, needs = "magic" }]\n',
            "maintenance: assets: 'p' needs 'magic', which no crew has as a skill (allowed: mechanics)",
        ),
        (CREWS + 'windows = [{ begin = "noon", hours = 1 }]\n', "maintenance.windows[0].begin: 'noon' is no time"),
        (CREWS + 'windows = [{ begin = "Tue 25:00", hours = 1 }]\n', "maintenance.windows[0].begin: 'Tue 25:00' is no"),
        (
            CREWS + 'windows = [{ begin = "Tue 22:00", hours = 1, crews = ["nigth"] }]\n',
            "maintenance: windows: crew 'nigth' is not among the crews (allowed: day)",
        ),
        ('windows = [{ begin = "Tue 22:00", hours = 1 }]\n', "maintenance: windows need crews: "),
        ('crews = [{ name = "a" }, { name = "a" }]\n', "maintenance: crews: a name is used twice"),
    ],
)
def test_a_fault_is_named_with_its_key_and_what_is_allowed(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        maintenance(text, tmp_path)
    [line] = str(error.value).splitlines()
    assert line.removeprefix(f"{tmp_path / 'a.toml'}: ").startswith(fault)


def test_without_the_section_nothing_is_planned(tmp_path: Path) -> None:
    assert maintenance("", tmp_path) == Maintenance()


def test_a_weekly_pattern_names_days_and_a_time() -> None:
    assert weekly("Thu,Tue 22:05") == ((1, 3), 22, 5)
    assert weekly("daily 06:00") == ((0, 1, 2, 3, 4, 5, 6), 6, 0)
    assert weekly("2026-01-31T22:00") is None


def at(text: str, name: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone(name)).timestamp()) * 10**9


def declared(windows: list[dict[str, object]], **others: object) -> Maintenance:
    crews = [{"name": "day"}, {"name": "night"}]
    return Maintenance.model_validate({"crews": crews, "windows": windows, **others})


def test_windows_come_until_the_horizon_for_each_of_their_crews() -> None:
    config = declared([{"begin": "Tue,Thu 22:00", "hours": 8, "crews": ["night"]}, {"begin": "2026-03-04", "hours": 2}])
    assert openings(config, at("2026-03-02T12:00")) == [
        Opening(at("2026-03-03T22:00"), 8, "night"),
        Opening(at("2026-03-04"), 2, "day"),  # that of the night is within the night's own window
        Opening(at("2026-03-05T22:00"), 8, "night"),
    ]


def test_of_a_window_that_has_begun_the_rest_is_left() -> None:
    config = declared([{"begin": "Mon 22:00", "hours": 8, "crews": ["day"]}], horizon_h=24)
    assert openings(config, at("2026-03-03T04:00")) == [Opening(at("2026-03-03T04:00"), 2, "day")]
    assert openings(config, at("2026-03-03T06:00")) == []


def test_windows_keep_their_local_time_when_clocks_are_changed() -> None:
    config = declared([{"begin": "daily 06:00", "hours": 1, "crews": ["day"]}], timezone="Europe/Berlin", horizon_h=72)
    begins = [one.begin_ns for one in openings(config, at("2026-03-28T00:00", "Europe/Berlin"))]
    assert begins == [at(f"2026-03-{day}T06:00", "Europe/Berlin") for day in (28, 29, 30)]
    assert (begins[1] - begins[0]) / 3.6e12 == 23


def test_a_crew_works_once_in_windows_that_overlap() -> None:
    windows: list[dict[str, object]] = [
        {"begin": "2026-03-03T06:00", "hours": 4, "crews": ["day"]},
        {"begin": "2026-03-03T08:00", "hours": 4, "crews": ["day"]},
        {"begin": "2026-03-03T07:00", "hours": 1, "crews": ["day"]},
        {"begin": "2026-03-03T12:00", "hours": 1, "crews": ["day"]},
    ]
    found = openings(declared(windows), at("2026-03-02T12:00"))
    assert found == [Opening(at("2026-03-03T06:00"), 6, "day"), Opening(at("2026-03-03T12:00"), 1, "day")]
