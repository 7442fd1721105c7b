"""docs/signal.md says what the program does: its tables are the program's, its snippets and commands can be used."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter
from typer.main import get_command

from edge_agent.config import AssetRule, EdgeConfig, Limits, Topic
from edge_agent.config.channels import ChannelRule
from edge_agent.config.topics import Fields
from edge_agent.config.waveforms import Butterworth, WaveformRule, Wavelet, zone_table
from edge_agent.core.denoise import FILTERS, REPORTERS, AnyFilterSettings, AnyReportSettings
from edge_agent.core.derive.statistics import FEATURES
from edge_agent.core.features import WAVEFORM_FEATURES
from edge_agent.core.intake import Intake, Message
from models.contract import config_errors
from models.contract.quality import Quality, label
from tocsin.cli import build

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "signal.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL) for line in block.splitlines()]
COMMANDS = [line for line in COMMANDS if not line.startswith("#")]
MINIMAL: dict[str, Any] = {
    "site": "plant",
    "gateway": "gw-1",
    "state_dir": "state",
    "topics": [{"template": "factory/{asset}/{channel}"}],
    "channels": [{"match": "*/*"}],
    "assets": [{"match": "*"}],
}
PAYLOAD = re.compile(r'^template = "(.+)"$|^# payload: (.+)$', re.MULTILINE)
ARRIVAL_NS = 1_780_000_000_000_000_000
# Of a topic, beyond template and compression: a value that is not the default, with what it cannot stand without.
SETTINGS: dict[str, dict[str, Any]] = {
    "fields": {"fields": {"value": "v"}},
    "quality_codes": {"quality_codes": "opc-ua", "fields": {"quality": "q"}},
    "time_unit": {"time_unit": "s"},
    "booleans": {"booleans": "number"},
    "numbers_in_text": {"numbers_in_text": True},
    "decimal_comma": {"decimal_comma": True, "numbers_in_text": True},
    "states": {"states": {"ON": 1}},
    "texts": {"texts": "skip"},
    "nulls": {"nulls": "skip"},
    "dtype": {"dtype": "<f4"},
    "rate_hz": {"rate_hz": 20.0},
    "scale": {"scale": 2.0},
    "offset": {"offset": 1.0},
    "assets": {"assets": "node.device"},
    "reorder_timeout_s": {"reorder_timeout_s": 1.0},
}


def table(first: str) -> list[list[str]]:
    """The rows of the table whose heading begins so, cell by cell."""
    _, _, rest = DOC.partition(f"\n| {first} |")
    assert rest, f"no table begins with {first!r}"
    rows = rest.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def words(cell: str) -> list[str]:
    """What stands in it as code."""
    return re.findall(r"`([^`]+)`", cell)


def named(first: str) -> list[str]:
    """What the first column of a table names, as code."""
    return [word for row in table(first) for word in words(row[0])]


def settings_of(adapter: Any, name: str, needed: dict[str, Any]) -> dict[str, Any]:
    """Its fields and their defaults, without those that all have."""
    fields = type(adapter.validate_python({"filter": name} | needed)).model_fields
    return {key: field.default for key, field in fields.items() if key not in {"filter", "max_gap_s"}}


# ---- snippets and commands


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_snippet_makes_a_sound_configuration(snippet: str) -> None:
    config_errors.check(MINIMAL | tomllib.loads(snippet), EdgeConfig, "signal.md")


def test_each_payload_of_a_snippet_is_read_by_the_topic_above_it() -> None:
    tried = 0
    for snippet in SNIPPETS:
        intake = Intake(config_errors.check(MINIMAL | tomllib.loads(snippet), EdgeConfig, "signal.md"))
        topic = ""
        for template, payload in PAYLOAD.findall(snippet):
            topic = re.sub(r"\{\w+\}", "m1", template) or topic
            if payload:
                entry = intake.take([Message(topic, payload.encode(), ARRIVAL_NS)])
                assert (entry.deadletters, len(entry.readings.index) > 0) == ([], True)
                tried += 1
    assert tried == DOC.count("# payload:") > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_understood(command: str) -> None:
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("./run", "tocsin")
    parser: Any = get_command(build(arguments[0]))
    while hasattr(parser, "commands"):
        name, *arguments = arguments
        parser = parser.commands[name]
    assert parser.make_context(name, arguments).command.callback is not None


def test_the_commands_of_the_signal_path_are_shown() -> None:
    assert {tuple(shlex.split(command)[2:4]) for command in COMMANDS} == {
        ("edge", "doctor"),
        ("edge", "deadletters"),
        ("edge", "replay"),
    }


def test_the_places_that_the_page_points_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", DOC):
        assert (ROOT / "docs" / target).exists(), target
    for place in re.findall(r"`((?:edge_agent|tests)/[^`]+)`", DOC):
        assert (ROOT / place).exists(), place
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", DOC, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOC)) <= headings


# ---- tables


def test_the_formats_are_those_of_a_topic_each_with_the_settings_that_it_takes() -> None:
    rows = {words(row[0])[0]: row[2] for row in table("`format`")}
    assert list(rows) == list(get_args(Topic.model_fields["format"].annotation))
    taken = {name: set(words(cell)) for name, cell in rows.items()}
    taken["msgpack"] = taken["cbor"] = taken["json"]
    taken["senml-cbor"] = taken["senml-json"]
    taken["influx-line"] |= taken["senml-json"]
    assert set(SETTINGS) == set(Topic.model_fields) - {"template", "format", "compression"}
    for name, said in taken.items():
        assert said == {setting for setting in SETTINGS if takes(name, setting)}, name


def takes(format_: str, setting: str) -> bool:
    """Whether a topic of that format may set it."""
    needed: dict[str, Any] = {"template": "a/{asset}/{channel}", "format": format_}
    if format_ == "raw":
        needed |= {"dtype": "<i2", "rate_hz": 10.0}
    if format_ == "sparkplug-b":
        needed["template"] = "spBv1.0/plant/#"
    try:
        Topic.model_validate(needed | SETTINGS[setting])
    except ValueError:
        return False
    return True


def test_each_json_shape_is_read_and_none_needs_a_setting() -> None:
    intake = Intake(EdgeConfig.model_validate(MINIMAL | {"topics": [{"template": "f/{asset}/{channel}"}]}))
    many = Intake(EdgeConfig.model_validate(MINIMAL | {"topics": [{"template": "f/{asset}"}]}))
    examples = {"[1700000000123, …]": "[1700000000123, 1700000000124]", "[0.1, …]": "[0.1, 0.2]", "{…}": '{"v": 1}'}
    for row in table("JSON shape"):
        shape = words(row[0])[0]
        for part, example in (examples | {"…": "1700000000123"}).items():
            shape = shape.replace(part, example)
        names_channels = '"values": {' in shape
        taker, topic = (many, "f/m") if names_channels else (intake, "f/m/t")
        entry = taker.take([Message(topic, shape.encode(), ARRIVAL_NS)])
        assert (entry.deadletters, len(entry.readings.index) > 0) == ([], True), shape


def test_values_that_are_no_numbers_are_set_aside_until_the_settings_beside_them_are_there() -> None:
    settings: dict[str, list[dict[str, Any]]] = {
        '"21.5"': [{"numbers_in_text": True}],
        '"ON"': [{"states": {"ON": 1}}, {"texts": "skip"}],
        "true": [{"booleans": "number"}],
        "null": [{"nulls": "skip"}],
    }
    shown = {word: row[2] for row in table("in the payload") for word in words(row[0])}
    for value, enough in settings.items():
        payload = f'{{"ts": 1700000000123, "value": {value}}}'.encode()
        for setting in ({}, *enough):
            topic = {"template": "f/{asset}/{channel}"} | setting
            entry = Intake(EdgeConfig.model_validate(MINIMAL | {"topics": [topic]})).take(
                [Message("f/m/t", payload, ARRIVAL_NS)]
            )
            assert bool(entry.deadletters) == (not setting), (value, setting)
            assert all(f"`{name} = " in shown[value] for name in setting), (value, setting)


def test_the_codes_of_quality_are_all_there_with_their_words_and_settings() -> None:
    rows = table("code")
    assert [(int(row[0]), row[1]) for row in rows] == [(int(code), label(code)) for code in sorted(Quality)]
    known = set().union(*(model.model_fields for model in (ChannelRule, AssetRule, Fields)), FILTERS)
    for row in rows:
        assert {setting.removeprefix("fields.") for setting in words(row[3])} <= known, row


def test_the_filters_and_reporters_are_those_of_the_program_with_their_settings_and_defaults() -> None:
    needed: dict[str, dict[str, Any]] = {
        "median": {"window": 3},
        "exponential": {"time_constant_s": 1},
        "savitzky-golay": {"window": 5, "rate_hz": 1},
        "butterworth": {"cutoff_hz": 0.1, "rate_hz": 1},
        "notch": {"frequency_hz": 0.1, "rate_hz": 1},
        "kalman": {"measurement_std": 1, "process_std": 1},
        "deadband": {"band": 1},
        "swinging-door": {"band": 1},
    }
    assert (named("filter"), named("report")) == (list(FILTERS), list(REPORTERS))
    adapters: dict[str, Any] = {"filter": TypeAdapter(AnyFilterSettings), "report": TypeAdapter(AnyReportSettings)}
    for first, adapter in adapters.items():
        for row in table(first):
            name = words(row[0])[0]
            settings = settings_of(adapter, name, needed.get(name, {}))
            assert set(words(row[2])) == set(settings), name
            for setting, default in re.findall(r"`(\w+)` \(([^)]+)\)", row[2]):
                assert str(settings[setting]) == default, (name, setting)


def test_the_ways_to_align_are_those_of_a_channel() -> None:
    assert set(named("`align`")) == set(get_args(ChannelRule.model_fields["align"].annotation))


def test_the_features_of_windows_and_waveforms_are_those_of_the_program() -> None:
    first, second = (
        [word for row in rows for word in words(row[0])] for rows in (table("feature of a window"), table("feature"))
    )
    assert sorted(first) == sorted(FEATURES)
    assert second == list(WAVEFORM_FEATURES)


def test_what_a_waveform_feature_needs_is_said() -> None:
    for row in table("feature"):
        said = set(words(row[2]))
        assert said <= set(WaveformRule.model_fields)
        for name in words(row[0]):
            assert set(WAVEFORM_FEATURES[name].needs) <= said, name


def test_the_filters_of_waveforms_are_named() -> None:
    for settings in (Butterworth, Wavelet):
        (name,) = get_args(settings.model_fields["filter"].annotation)
        assert f"`{name}`" in DOC.partition("## Waveforms")[2]


def test_the_edges_of_the_zones_are_those_of_the_table_with_its_warning() -> None:
    entries = tomllib.loads((ROOT / "edge_agent/core/features/iso20816.toml").read_text(encoding="utf-8"))
    rows = {words(row[0])[0]: row for row in table("`zones`")}
    assert list(rows) == list(zone_table())
    for name, (_, edges, confirmed) in rows.items():
        assert [float(edge) for edge in edges.split(",")] == entries[name]["edges_mm_s"]
        assert (confirmed == "yes") == entries[name]["confirmed"]


def test_the_reasons_of_dead_letters_are_those_of_the_code() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "edge_agent").rglob("*.py"))
    raised = {reason for source in sources for reason in re.findall(r'DecodeError\(\s*"(\w+)"', source)}
    reasons = [word for row in table("a dead letter's reason") for word in words(row[0])]
    assert len(reasons) == len(set(reasons))
    assert set(reasons) == raised | {"refused", "left_out"}


def test_the_limits_shown_are_the_defaults() -> None:
    limits = Limits()
    cells = " ".join(cell for row in table("what") for cell in row)
    assert f"`limits.deadletters` {limits.deadletters:,}" in cells
    assert f"`limits.deadletter_bytes` {limits.deadletter_bytes >> 20} MiB" in cells
