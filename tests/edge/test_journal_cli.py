"""`tocsin edge journal …`: what it shows is true, damage is named, repair saves, export can be read again."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from edge_agent.adapters.journal_sqlite import SqliteJournal
from edge_agent.adapters.outbox_sqlite import SqliteOutbox
from edge_agent.adapters.state_lock import lock_state
from edge_agent.cli import app
from edge_agent.config import load
from edge_agent.core.entries import Configured, Data, Tick
from edge_agent.core.errors import StartError
from edge_agent.core.readings import Readings, Waveform
from models.contract.batch import encode_batch
from models.contract.quality import Quality
from tests.batches import SECOND, T0, batch
from tocsin.edge_replay import replay
from tocsin.plant.table import Layout, read_table

CHANNELS = [("pump-7", "vibration"), ("pump-7", "speed"), ("fan", "speed")]
CONFIG = """
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{ template = "factory/{line}/{asset}" }]
channels = [{ match = "*/*" }]
assets = [{ match = "*" }]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(CONFIG)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["journal", *map(str, arguments)])


def data(index: list[int], seconds: list[float], values: list[float]) -> Data:
    import numpy as np

    readings = Readings(
        CHANNELS,
        np.array(index, np.int32),
        np.array([T0 + int(s * SECOND) for s in seconds], np.int64),
        np.array(values),
        np.array([Quality.UNCERTAIN_ARRIVAL_TIME if v < 0 else Quality.GOOD for v in values], np.uint8),
    )
    wave = Waveform(channel=("fan", "sound"), time_ns=T0, dt_ns=1000, samples=np.array([1, 2], "<f4").tobytes())
    return Data.of(T0, readings, [wave])


def opened(config: Path) -> tuple[SqliteJournal, SqliteOutbox]:
    settings = load(config)
    folder, journal = settings.state_dir, settings.journal
    return (
        SqliteJournal(folder / "journal.db", journal.max_bytes, journal.max_age_s, 10),
        SqliteOutbox(folder / "outbox.db", settings.outbox.max_bytes),
    )


@pytest.fixture
def state(config: Path) -> Path:
    """The folder of an agent that has worked, and stopped."""
    journal, outbox = opened(config)
    with closing(journal), closing(outbox):
        journal.append([Configured(arrival_ns=T0, config="{}", digests={})])
        journal.append([data([0, 1, 2, 0], [0, 0, 0, 1], [1.5, 2.5, 3.5, 0.1])])
        journal.append([Tick(arrival_ns=T0), data([0, 0], [2, 2], [-4, -5])])
        for _ in range(3):
            outbox.append(lambda _epoch, seq: encode_batch(batch([1.0], seq=seq)), T0, through=3)
        outbox.set_aside(2, "why")
        outbox.save_snapshot(2, b"state")
    return config.parent / "state"


def damage(state: Path) -> None:
    with closing(sqlite3.connect(state / "journal.db")) as connection, connection:
        connection.execute("UPDATE entry SET content = x'00' WHERE seq = 2")
    with closing(sqlite3.connect(state / "outbox.db")) as connection, connection:
        connection.execute("UPDATE batch SET crc = crc + 1 WHERE seq = 3")


def test_status_counts_what_is_there(config: Path, state: Path) -> None:
    found = json.loads(run("status", config, "--json").stdout)
    journal, outbox = found["journal"], found["outbox"]
    assert (journal["entries"], journal["first"], journal["last"], journal["last_arrival_ns"]) == (4, 1, 4, T0)
    assert (outbox["pending"], outbox["refused"], outbox["through"], outbox["snapshot_through"]) == (2, 1, 3, 2)
    assert outbox["lost"] == {"reading": 0, "feature": 0, "inference": 0, "alarm": 0, "batch": 0}
    assert found["ballast_bytes"] == found["ballast_wanted_bytes"] == (state / "ballast").stat().st_size
    assert (found["damaged_files"], journal["unused"]) == ([], 1)
    text = run("status", config).stdout
    assert "4, positions 1 to 4" in text
    assert "position 3; 1 entries with readings behind it wait" in text
    assert "in place" in text


def test_status_and_verify_work_beside_a_running_agent_and_change_nothing(config: Path, state: Path) -> None:
    journal, outbox = opened(config)
    with lock_state(state), closing(journal), closing(outbox):
        journal.append([Tick(arrival_ns=T0)])
        assert json.loads(run("status", config, "--json").stdout)["journal"]["entries"] == 5
        assert (run("verify", config).exit_code, run("verify", config).stdout) == (0, "sound\n")
        assert journal.append([Tick(arrival_ns=T0)]) == 6


def test_verify_names_each_damaged_blob(config: Path, state: Path) -> None:
    damage(state)
    done = run("verify", config)
    assert done.exit_code == 1
    assert f"{state}/journal.db: entry 2: wrong checksum\n{state}/outbox.db: batch 3: wrong checksum\n" in done.stdout
    assert json.loads(run("verify", config, "--json").stdout)["ok"] is False


def test_verify_finds_damaged_pages(config: Path, state: Path) -> None:
    with (state / "journal.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    done = run("verify", config)
    assert done.exit_code == 1
    assert "journal.db: " in done.stdout


def test_repair_saves_what_is_sound_and_says_what_is_lost(config: Path, state: Path) -> None:
    damage(state)
    done = run("repair", config)
    assert done.exit_code == 0
    saved = "0 of deadletter_again, 0 of deadletter, 3 of entry, 0 of deadletter_payload"
    assert f"journal.db: saved {saved}\n  lost at most 1 of entry; the file as it was:" in done.stdout
    assert (state / "journal.db.damaged-1").exists()
    assert run("verify", config).exit_code == 0
    journal, outbox = opened(config)
    with closing(journal), closing(outbox):
        assert [stored.seq for stored in journal.read(0)] == [1, 3, 4]
        assert (journal.last(), outbox.through, outbox.load_snapshot()) == (4, 3, (2, b"state"))
        assert [one.seq for one in outbox.pending(0, 9)] == [1]


def test_repair_of_sound_files_changes_nothing(config: Path, state: Path) -> None:
    before = (state / "journal.db").read_bytes(), (state / "outbox.db").read_bytes()
    done = run("repair", config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "journal.db: sound: nothing to mend\noutbox.db: sound: nothing to mend\n"
    assert ((state / "journal.db").read_bytes(), (state / "outbox.db").read_bytes()) == before
    assert json.loads(run("status", config, "--json").stdout)["damaged_files"] == []


def test_repair_of_a_file_that_was_cut_keeps_it_and_says_that_nobody_knows_the_loss(config: Path, state: Path) -> None:
    journal, outbox = opened(config)
    with closing(journal), closing(outbox):
        journal.append([Data(arrival_ns=T0, channels=[], index=b"", time_ns=b"", value=bytes(99_000), quality=b"")] * 9)
    whole = (state / "journal.db").read_bytes()
    with (state / "journal.db").open("r+b") as file:
        file.truncate(10_000)
    done = run("repair", config)
    assert done.exit_code == 0
    aside = state / "journal.db.damaged-1"
    assert f"; the file as it was: {aside}\n" in done.stdout
    assert "an unknown number of deadletter, an unknown number of entry" in done.stdout
    assert "an unknown number" in done.stderr
    assert aside.read_bytes() == whole[:10_000]
    assert run("verify", config).exit_code == 0


def test_a_second_repair_keeps_what_the_first_one_kept(config: Path, state: Path) -> None:
    for number in (1, 2):
        (state / "journal.db").write_bytes(b"garbage" * 1000 * number)
        assert run("repair", config).exit_code == 0
    assert run("repair", config).exit_code == 0
    kept = {file.name: file.stat().st_size for file in state.glob("*.damaged-*")}
    assert kept == {"journal.db.damaged-1": 7000, "journal.db.damaged-2": 14_000}
    found = run("status", config).stdout
    assert "damaged files kept  journal.db.damaged-1, journal.db.damaged-2\n" in found


def test_repair_refuses_while_an_agent_runs(config: Path, state: Path) -> None:
    with lock_state(state):
        done = run("repair", config)
    assert done.exit_code == 3
    assert f"{state}: another agent uses this folder (process " in done.stderr
    assert "state_dir of its own" in done.stderr
    assert run("repair", config).exit_code == 0


def test_two_agents_cannot_share_a_folder_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    first = lock_state(tmp_path / "new")
    with pytest.raises(StartError, match="another agent"):
        lock_state(tmp_path / "new")
    first.release()
    lock_state(tmp_path / "new").release()


@pytest.mark.usefixtures("state")
def test_an_exported_csv_gives_the_same_readings_to_the_replayer(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = run("export", config, "-o", out)
    assert done.stdout == f"{out}: 5 lines, 2 channels; 2 waveforms left out\n"
    assert out.read_text().splitlines()[:3] == [
        "time_ns,asset,speed,vibration,quality",
        f"{T0},pump-7,2.5,1.5,good",
        f"{T0},fan,3.5,,good",
    ]
    layout = Layout(time_unit="ns", asset_column="asset")
    with out.open() as lines:
        found = [
            tuple(row) for rows in read_table(lines, layout, "out.csv") for row in sorted(rows, key=lambda r: r[1])
        ]
    assert found == [
        ("pump-7", "speed", T0, 2.5),
        ("pump-7", "vibration", T0, 1.5),
        ("fan", "speed", T0, 3.5),
        ("pump-7", "vibration", T0 + SECOND, 0.1),
        ("pump-7", "vibration", T0 + 2 * SECOND, -4.0),
        ("pump-7", "vibration", T0 + 2 * SECOND, -5.0),
    ]


@pytest.mark.usefixtures("state")
def test_json_lines_hold_qualities_and_waveforms_of_the_span_that_is_asked_for(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run("export", config, "-o", out, "--until", "2025-10-09T08:53:21Z").exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["time_ns"] for line in lines] == [T0] * 5
    assert lines[3] == {"time_ns": T0, "asset": "fan", "channel": "sound", "dt_ns": 1000, "samples": [1.0, 2.0]}
    assert run("export", config, "-o", out, "--since", "2025-10-09 08:53:22").exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["value"], line["quality"]) for line in lines] == [
        (-4.0, "uncertain: arrival time"),
        (-5.0, "uncertain: arrival time"),
    ]


def edge(command: str, config: Path, folder: Path) -> Result:
    """The command as `tocsin edge` runs it."""
    words = [str(folder / "x.csv") if word == "OUT" else word for word in command.split()]
    full = Typer()
    full.add_typer(app)
    full.command()(replay)
    return CliRunner().invoke(full, [*words, str(config)])


READERS = ["journal status", "journal export -o OUT", "deadletters", "replay"]


@pytest.mark.parametrize("command", [*READERS, "journal verify", "journal verify --json", "journal repair"])
def test_a_missing_file_is_named(config: Path, tmp_path: Path, command: str) -> None:
    missing = edge(command, config, tmp_path)
    assert missing.exit_code == 3
    assert f"{tmp_path}/state/journal.db: there is no such file" in missing.output


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE entry(x)")


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


BROKEN: dict[str, Callable[[Path], object]] = {
    "foreign": foreign,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no database at all" * 500),
    "cut": lambda path: os.truncate(path, 10_000),
    "overwritten": overwritten,
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("command", READERS)
def test_what_meets_damage_names_the_file_and_the_cure(
    config: Path, state: Path, tmp_path: Path, command: str, how: str
) -> None:
    BROKEN[how](state / "journal.db")
    done = edge(command, config, tmp_path)
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 3
    assert f"{state}/journal.db: damaged: " in done.stderr
    assert "; stop the agent and run `tocsin edge journal repair CONFIG`\n" in done.stderr


@pytest.mark.parametrize("how", BROKEN)
def test_verify_takes_damage_of_any_kind_for_damage_and_repair_mends_it(config: Path, state: Path, how: str) -> None:
    BROKEN[how](state / "journal.db")
    done, as_json = run("verify", config), run("verify", config, "--json")
    assert (done.exit_code, as_json.exit_code) == (1, 1)
    found = json.loads(as_json.stdout)
    assert not found["ok"]
    assert all(fault.startswith(f"{state}/journal.db: ") for fault in found["faults"])
    assert done.stdout.splitlines() == [*found["faults"], found["cure"]]
    assert run("repair", config).exit_code == 0
    assert run("verify", config).exit_code == 0
    assert (state / "journal.db.damaged-1").exists()


def test_verify_names_damage_also_when_the_other_file_is_missing(config: Path, state: Path) -> None:
    damage(state)
    (state / "outbox.db").unlink()
    done = run("verify", config)
    assert (done.exit_code, "entry 2" in done.stdout, "no such file" in done.stderr) == (1, True, True)


def test_status_of_an_empty_journal_says_so_and_ticks_are_no_lag(config: Path) -> None:
    journal, outbox = opened(config)
    with closing(journal), closing(outbox):
        shown = run("status", config).stdout
        assert "None" not in shown
        assert "entries           empty\n" in shown
        assert "arrived           none yet\n" in shown
        assert "snapshot          none yet\n" in shown
        assert "position 0; no readings wait\n" in shown
        journal.append([Tick(arrival_ns=T0)])
        assert "position 0; no readings wait: all behind it is ticks\n" in run("status", config).stdout


@pytest.mark.usefixtures("state")
def test_an_export_that_cannot_be_written_names_the_file_and_what_helps(config: Path, tmp_path: Path) -> None:
    done = run("export", config, "-o", tmp_path / "nope" / "x.csv")
    assert done.exit_code == 3
    assert f"{tmp_path}/nope/x.csv: cannot be written: No such file or directory: name a file in a" in done.stderr


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    "options",
    [
        ["-o", "x.xlsx"],
        ["-o", "x.csv", "--since", "yesterday"],
        ["-o", "x.csv", "--since", "2026-02-02", "--until", "2026-02-01"],
    ],
)
def test_options_that_cannot_be_are_refused(config: Path, options: list[str]) -> None:
    assert run("export", config, *options).exit_code == 2
