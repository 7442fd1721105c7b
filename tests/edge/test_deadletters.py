"""Dead letters: kept whole where they are small, taken out as they came, and taken again once."""

import base64
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from typer.testing import CliRunner, Result

from edge_agent.adapters import examine
from edge_agent.adapters.deadletters import Choice, Marked, find, is_within, mark
from edge_agent.adapters.journal_sqlite import OLDEST_SCHEMA, SqliteJournal
from edge_agent.adapters.letters_sqlite import PAYLOAD_BYTES
from edge_agent.adapters.system_clock import SystemClock
from edge_agent.cli import app
from edge_agent.config import EdgeConfig, load
from edge_agent.core.entries import Data
from edge_agent.core.intake import DeadLetter, Message
from edge_agent.ingest import Ingest
from edge_agent.metrics import Metrics

T0 = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
CONFIG = """
site = "lab"
gateway = "gw1"
state_dir = "state"
topics = [{ template = "f/{asset}/{channel}" }]
channels = [{ match = "*/known" }]
assets = [{ match = "*" }]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "edge.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def config(path: Path) -> EdgeConfig:
    return load(path)


@pytest.fixture
def journal(config: EdgeConfig) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(config.state_dir / "journal.db", config.journal.max_bytes, 1e9, 100)) as opened:
        yield opened


def letter(number: int, topic: str, reason: str = "json", payload: bytes | None = b"{") -> DeadLetter:
    return DeadLetter(T0 + number * SECOND, topic, reason, "why", 1, b"\xff{", payload)


LETTERS = [
    letter(0, "f/a/strange", "unknown_channel", b'{"value": 1}'),
    letter(1, "f/b/known"),
    letter(2, "f/b/known", "too_large", None),
    letter(3, "batch 7", "refused", None),
    letter(4, "spBv1.0/g/NBIRTH/n", "sparkplug"),
]


class OneShot:
    """A link without messages, for as many rounds as are asked for."""

    is_connected, listened_ns = True, 0

    def __init__(self, stopping: threading.Event, messages: Sequence[Message] = (), rounds: int = 3) -> None:
        self._stopping, self._messages, self._rounds = stopping, list(messages), rounds

    def take(self, _timeout_s: float) -> list[Message]:
        self._rounds -= 1
        if not self._rounds:
            self._stopping.set()
        messages, self._messages = self._messages, []
        return messages

    def start(self, filters: Sequence[str], held: Sequence[str] = ()) -> None: ...
    def subscribe(self, filters: Sequence[str]) -> None: ...
    def keep_alive(self) -> None: ...
    def acknowledge(self, messages: Sequence[Message]) -> None: ...
    def publish(self, topic: str, payload: bytes) -> bool:
        raise NotImplementedError

    def reconnect(self) -> None: ...
    def stop(self) -> None: ...


def run_agent(config: EdgeConfig, journal: SqliteJournal, messages: Sequence[Message] = ()) -> Metrics:
    stopping, metrics = threading.Event(), Metrics()
    Ingest(config, OneShot(stopping, messages), journal, SystemClock(), metrics, threading.Event()).run(stopping)
    return metrics


def mended(config: EdgeConfig) -> EdgeConfig:
    return EdgeConfig.model_validate(config.model_dump() | {"channels": [{"match": "*/*"}]})


def readings(journal: SqliteJournal) -> list[tuple[str, int, float]]:
    found = [stored.entry.readings() for stored in journal.read(0) if isinstance(stored.entry, Data)]
    return [
        (one.channels[i][1], int(t), float(v))
        for one in found
        for i, t, v in zip(one.index, one.time_ns, one.value, strict=True)
    ]


def cli(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["deadletters", str(path), *options])


def test_the_agent_keeps_a_whole_payload_up_to_its_bound(config: EdgeConfig, journal: SqliteJournal) -> None:
    payloads = [b"{" * 5, b"{" * PAYLOAD_BYTES, b"{" * (PAYLOAD_BYTES + 1), b""]
    run_agent(config, journal, [Message("f/a/known", payload, T0 + i) for i, payload in enumerate(payloads)])
    found = [one for _, one in journal.letters(oldest_first=True, payloads=True)]
    assert [one.payload for one in found] == [payloads[0], payloads[1], None, b""]
    assert [one.head for one in found] == [payload[:256] for payload in payloads]
    assert [one.size_bytes for one in found] == [len(payload) for payload in payloads]


def test_a_topic_too_long_to_be_kept_leaves_no_payload_for_another(config: EdgeConfig, journal: SqliteJournal) -> None:
    run_agent(config, journal, [Message("f/" + "x" * 2000, b"1", T0)])
    assert mark(config, Choice()) == Marked(0, 1, 0, 0)


def test_a_letter_whose_channel_is_known_now_becomes_readings_at_its_own_time(
    config: EdgeConfig, journal: SqliteJournal
) -> None:
    said = b'{"ts": 1759999000, "value": 2}'
    run_agent(config, journal, [Message("f/a/x", b'{"value": 1}', T0), Message("f/a/y", said, T0 + 1)])
    assert readings(journal) == []
    assert mark(config, Choice()) == Marked(2, 0, 0, 0)
    metrics = run_agent(mended(config), journal)
    assert readings(journal) == [("x", T0, 1.0), ("y", 1_759_999_000 * SECOND, 2.0)]
    assert list(journal.letters()) == []
    assert journal.again(9) == []
    assert metrics.registry.get_sample_value("tocsin_edge_readings_total") == 2
    assert metrics.registry.get_sample_value("tocsin_edge_messages_total") == 0


def test_what_fails_again_is_one_letter_with_the_new_reason_and_can_be_taken_again(
    config: EdgeConfig, journal: SqliteJournal
) -> None:
    run_agent(config, journal, [Message("f/a/x", b"{", T0)])
    for _ in range(2):
        ((number, before),) = journal.letters(payloads=True)
        assert mark(config, Choice()).marked == 1
        run_agent(mended(config), journal)
        ((after_number, after),) = journal.letters(payloads=True)
        assert after_number > number
        assert (after.arrival_ns, after.topic, after.payload) == (T0, "f/a/x", before.payload)
    assert after.reason == "json"


def test_a_letter_that_its_sender_has_sent_again_meanwhile_is_not_taken_twice(
    config: EdgeConfig, journal: SqliteJournal
) -> None:
    said = b'{"ts": 1759999000, "value": 2}'
    run_agent(config, journal, [Message("f/a/y", said, T0)])
    mark(config, Choice())
    run_agent(mended(config), journal, [Message("f/a/y", said, T0 + 5)])
    assert len(readings(journal)) == 1
    assert list(journal.letters()) == []


def test_an_agent_that_dies_before_the_commit_finds_the_letters_still_marked(
    config: EdgeConfig, journal: SqliteJournal
) -> None:
    journal.append([], [letter(0, "f/a/known", "json", b'{"value": 1}')])
    mark(config, Choice())
    assert len(journal.again(9)) == len(journal.again(9)) == 1  # looked at, and killed
    run_agent(config, journal)
    assert readings(journal) == [("known", T0, 1.0)]


def test_more_letters_than_are_taken_at_once_are_all_taken(
    config: EdgeConfig, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.ingest._AGAIN_LETTERS", 4)
    journal.append([], [letter(i, "f/a/known", "json", b'{"value": %d}' % i) for i in range(7)])
    mark(config, Choice())
    run_agent(config, journal)
    assert [value for *_, value in readings(journal)] == list(range(7))


def test_a_damaged_payload_is_never_taken_for_a_sound_one(config: EdgeConfig, journal: SqliteJournal) -> None:
    journal.append([], [LETTERS[0], LETTERS[1]])
    assert mark(config, Choice()).marked == 2
    with closing(sqlite3.connect(config.state_dir / "journal.db")) as other, other:
        other.execute("UPDATE deadletter_payload SET content = x'00' WHERE id = 1")
    assert [one.number for one in journal.again(9)] == [2]
    assert [one.payload for _, one in journal.letters(payloads=True)] == [b"{", None]
    assert mark(config, Choice()) == Marked(1, 1, 0, 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("--reason", "json"), [1]),
        (("--topic", "f/b/#"), [1, 2]),
        (("--topic", "+/+/known", "--reason", "too_large"), [2]),
        (("--since", "2025-10-09T08:53:22Z"), [2, 3, 4]),
        (("--reason", "none"), []),
    ],
)
def test_the_same_options_choose_what_is_listed_exported_and_taken_again(
    path: Path, journal: SqliteJournal, tmp_path: Path, options: tuple[str, ...], expected: list[int]
) -> None:
    journal.append([], LETTERS)
    listed = json.loads(cli(path, "--json", *options).stdout)
    assert [one["arrival_ns"] for one in listed] == [LETTERS[i].arrival_ns for i in expected[::-1]]
    out = tmp_path / "out.jsonl"
    assert cli(path, "-o", str(out), *options).exit_code == 0
    exported = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["arrival_ns"] for one in exported] == [LETTERS[i].arrival_ns for i in expected]
    done = json.loads(cli(path, "--rerun", "--json", *options).stdout)
    assert done["marked"] == len({0, 1} & set(expected)) == len(journal.again(9))


def test_the_list_is_what_it_was_before_payloads_were_kept(path: Path, journal: SqliteJournal) -> None:
    journal.append([], LETTERS[:4])
    assert json.loads(cli(path, "--json", "--limit", "1").stdout) == [
        {
            "arrival_ns": T0 + 3 * SECOND,
            "topic": "batch 7",
            "reason": "refused",
            "text": "why",
            "size_bytes": 1,
            "head": "\ufffd{",
        }
    ]
    text = cli(path, "--limit", "1").stdout
    assert text == "2025-10-09T08:53:23+00:00  batch 7  refused: why\n    b'\\xff{'\n"


def test_that_nothing_was_set_aside_is_said(path: Path, journal: SqliteJournal) -> None:
    for option in ("--summary", "--limit=1"):
        done = cli(path, option)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no message was set aside\n")
    journal.append([], LETTERS[:1])
    assert cli(path, "--topic", "none/of/these").stderr == "no message was set aside that fits\n"


def test_an_export_holds_each_payload_as_it_came(path: Path, journal: SqliteJournal, tmp_path: Path) -> None:
    journal.append([], LETTERS[:4])
    out = tmp_path / "out.jsonl"
    assert cli(path, "--export", str(out)).stdout == f"{out}: 4 letters, 2 of them without their payload\n"
    first, *_, last = (json.loads(line) for line in out.read_text().splitlines())
    assert base64.b64decode(first.pop("payload")) == b'{"value": 1}'
    assert first == {
        "arrival_ns": T0,
        "topic": "f/a/strange",
        "reason": "unknown_channel",
        "text": "why",
        "size_bytes": 1,
    }
    assert last["payload"] is None


def test_a_limit_marks_the_newest_of_those_that_can_be_taken_again(path: Path, journal: SqliteJournal) -> None:
    journal.append([], LETTERS)
    assert json.loads(cli(path, "--rerun", "--limit", "1", "--json").stdout)["marked"] == 1
    assert [one.number for one in journal.again(9)] == [2]


@pytest.mark.parametrize("options", [(), ("--rerun",), ("--summary",)])
def test_a_reason_that_no_letter_has_is_told_with_those_there_are(
    path: Path, journal: SqliteJournal, options: tuple[str, ...]
) -> None:
    journal.append([], LETTERS[:2])
    done = cli(path, "--reason", "nonsense", *options)
    assert done.exit_code == 0
    assert done.stderr == (
        "--reason nonsense: no letter was set aside for it (reasons there are: json, unknown_channel)\n"
    )
    assert cli(path, "--reason", "json", *options).stderr == ""


def test_a_summary_counts_by_topic_and_reason_the_newest_first(path: Path, journal: SqliteJournal) -> None:
    journal.append([], [LETTERS[1], *LETTERS[:2]])
    assert cli(path, "--summary").stdout == "     2  f/b/known  json\n     1  f/a/strange  unknown_channel\n"
    assert json.loads(cli(path, "--summary", "--limit", "1", "--json").stdout) == [
        {"topic": "f/b/known", "reason": "json", "letters": 2}
    ]


def test_what_cannot_be_taken_again_is_said(path: Path, journal: SqliteJournal) -> None:
    journal.append([], LETTERS)
    assert cli(path, "--rerun").stdout.splitlines() == [
        "2 letters are marked: the agent takes them again within seconds, or when it starts",
        "1 cannot be taken again: their whole payload was not kept",
        "1 cannot be taken again: births and deaths of Sparkplug hold only in their order",
        "1 cannot be taken again: they are rows that the database refused, no messages",
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("-o", "x.csv"), "x.csv: the name must end in .jsonl"),
        (("-o", "x.jsonl", "--rerun"), "--export and --rerun: one after the other"),
        (("-o", "x.jsonl", "--limit", "5"), "--limit is for lists, --summary and --rerun"),
        (("--summary", "--rerun"), "--rerun and --summary: one after the other"),
        (("--since", "yesterday"), "'yesterday' is no time"),
    ],
)
@pytest.mark.usefixtures("journal")
def test_an_option_that_makes_no_sense_is_refused(path: Path, options: tuple[str, ...], text: str) -> None:
    done = cli(path, *options)
    assert done.exit_code == 2
    assert done.stderr.startswith(text)


def old_journal(config: EdgeConfig) -> Path:
    """As an earlier version left it, with one letter."""
    file = config.state_dir / "journal.db"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as old, old:
        old.execute("PRAGMA journal_mode=WAL")
        old.executescript(OLDEST_SCHEMA)
        old.execute("INSERT INTO deadletter VALUES (7, 5, 'f/a/x', 'json', 'no JSON', 3, x'00')")
    return file


def test_a_journal_of_an_earlier_version_is_read_as_it_is_and_has_no_payloads(path: Path, config: EdgeConfig) -> None:
    old_journal(config)
    assert [one.topic for one in find(config, Choice(), payloads=True)] == ["f/a/x"]
    assert cli(path, "--rerun").stdout.splitlines()[1].startswith("1 cannot be taken again")
    assert not examine.journal_faults(config)


def test_an_agent_takes_a_journal_of_an_earlier_version_over(config: EdgeConfig) -> None:
    file = old_journal(config)
    with closing(SqliteJournal(file, 1 << 24, 1e9, 100)) as journal:
        journal.append([], [LETTERS[0]])
        assert [(number, one.payload) for number, one in journal.letters(payloads=True)] == [
            (8, LETTERS[0].payload),
            (7, None),
        ]
        assert mark(config, Choice()) == Marked(1, 1, 0, 0)


def test_a_journal_of_an_earlier_version_that_is_damaged_counts_no_table_as_lost_that_it_never_had(
    config: EdgeConfig,
) -> None:
    with closing(SqliteJournal(old_journal(config), 1 << 24, 1e9, 100)) as journal:
        with closing(sqlite3.connect(config.state_dir / "journal.db")) as other, other:
            other.executescript("DROP TABLE deadletter_payload; DROP TABLE deadletter_again")
        assert journal.mend().lost == {}
        journal.append([], [LETTERS[0]])
    assert mark(config, Choice()) == Marked(1, 1, 0, 0)


def test_a_journal_that_another_program_holds_is_said_to_be_busy(
    path: Path, config: EdgeConfig, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([], LETTERS)
    monkeypatch.setattr("edge_agent.adapters.deadletters._BUSY_S", 0.05)
    with closing(sqlite3.connect(config.state_dir / "journal.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        done = cli(path, "--rerun")
    assert done.exit_code == 3
    assert "database is locked: try again" in done.stderr
    assert journal.again(9) == []


_LEVEL = st.sampled_from(["a", "b", "", "$x"])


@given(
    topic=st.lists(_LEVEL, min_size=1, max_size=4),
    wanted=st.lists(_LEVEL | st.just("+"), max_size=4),
    is_open=st.booleans(),
)
def test_a_filter_chooses_the_topics_that_a_broker_would(topic: list[str], wanted: list[str], is_open: bool) -> None:
    levels = [*wanted, "#"] if is_open or not wanted else wanted
    if topic[0].startswith("$") and levels[0] in {"+", "#"}:
        return  # a broker hides these from wildcards; a person who looks for dead letters wants to see them
    assert is_within("/".join(topic), "/".join(levels)) == topic_matches_sub("/".join(levels), "/".join(topic))
