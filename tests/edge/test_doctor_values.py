"""The doctor's guess of values that are no plain numbers: states, texts, nulls, raw samples."""

import json

import numpy as np
import pytest

from edge_agent.config import Broker
from edge_agent.core.doctor import Diagnosis, diagnose
from edge_agent.core.doctor.draft import draft_of
from edge_agent.core.doctor.raw import guess_dtype
from tests.edge.doctor_senders import drafted, kinds, log_of, read_by, timed


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<f8", ">f8"])
def test_the_type_of_raw_samples_is_guessed(dtype: str) -> None:
    wave = np.sin(np.arange(512) / 9) * 1000
    payloads = [(wave * scale).astype(dtype).tobytes() for scale in (1.0, 0.7, 1.3)]
    assert guess_dtype(payloads) == dtype


def test_text_is_never_taken_for_raw_samples() -> None:
    assert guess_dtype([b"temperature is 21.5 degrees, and rising" * 10]) == ""
    assert guess_dtype([]) == ""


def test_raw_samples_are_a_comment_in_the_draft() -> None:
    wave = (np.sin(np.arange(512) / 9) * 1000).astype("<i2").tobytes()
    found = diagnose(log_of({"f/pump-1/vibration": lambda _n, _t: wave, "f/pump-1/temp": timed(0)}))
    text = draft_of(found, Broker(), 5.0)
    assert '# template = "f/{asset}/{channel}"\n# format = "raw"\n# dtype = "<i2"\n' in text
    assert "perhaps raw samples of type <i2" in kinds(found)["no_format"][0][1]


STATES = ("RUNNING", "IDLE", "fault 7")


def state(number: int, arrival_ns: int) -> bytes:
    return json.dumps({"ts": arrival_ns // 1_000_000, "value": STATES[number % 3]}).encode()


def settings_of(found: Diagnosis) -> dict[str, object]:
    (topic,) = drafted(found).topics
    return topic.model_dump(include={"booleans", "numbers_in_text", "nulls", "texts", "states"}, exclude_defaults=True)


def test_texts_heard_as_values_are_states_of_the_draft_to_be_checked() -> None:
    found = diagnose(log_of({"f/pump-1/state": state}))
    assert settings_of(found) == {"states": {"IDLE": 0, "RUNNING": 1, "fault 7": 2}}
    assert kinds(found) == {"states": [("f/{asset}/{channel}", "IDLE = 0, RUNNING = 1, fault 7 = 2")]}
    assert found.trial.channels["pump-1", "state"].values[:3] == [1, 0, 2]
    assert read_by(drafted(found), found.log).skipped == 0


def test_formats_with_texts_of_their_own_have_states_as_well() -> None:
    def line(number: int, arrival_ns: int) -> bytes:
        return b'm state="%s",x=%d %d' % (b"ON" if number % 2 else b"OFF", number, arrival_ns)

    def lamp(number: int, arrival_ns: int) -> bytes:
        return json.dumps([{"n": "lamp", "t": arrival_ns / 1e9, "vs": "RED" if number % 2 else "GREEN"}]).encode()

    found = diagnose(log_of({"line/h-1": line, "senml/q-1": lamp}))
    assert {group.reading.format: group.reading.settings for group in found.groups.groups} == {
        "influx-line": (("states", ("OFF", "ON")),),
        "senml-json": (("states", ("GREEN", "RED")),),
    }
    entry = read_by(drafted(found), found.log)
    assert (entry.deadletters, entry.skipped) == ([], 0)


def test_topics_with_other_states_share_a_template_that_has_all_of_them() -> None:
    def off(number: int, arrival_ns: int) -> bytes:
        return json.dumps({"ts": arrival_ns // 1_000_000, "value": "OFF" if number % 2 else "IDLE"}).encode()

    found = diagnose(log_of({"f/pump-1/state": state, "f/pump-2/state": off, "f/pump-2/temp": timed(0)}))
    assert settings_of(found) == {"states": {"IDLE": 0, "OFF": 1, "RUNNING": 2, "fault 7": 3}}
    assert read_by(drafted(found), found.log).deadletters == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None], {"nulls": "skip"}),
        ([1, None, True], {"nulls": "skip", "booleans": "number"}),
        ([1, "n/a"], {"texts": "skip"}),
        ([1, "ERROR"], {"texts": "skip"}),
        (["2.5", "n/a"], {"numbers_in_text": True, "texts": "skip"}),
        (["ON", None], {"states": {"ON": 0}, "nulls": "skip"}),
    ],
)
def test_only_what_was_seen_is_set_and_what_is_left_out_is_told(values: list[object], expected: object) -> None:
    found = diagnose(
        log_of(
            {"f/pump-1/x": lambda n, t: json.dumps({"ts": t // 1_000_000, "value": values[n % len(values)]}).encode()}
        )
    )
    assert settings_of(found) == expected
    assert ("skipped" in kinds(found)) == ("skip" in str(expected))
    assert found.trial.taken + found.trial.empty == 20


def test_many_texts_are_no_states_and_messages_that_yield_nothing_are_not_said_to_be_read() -> None:
    log = log_of({"f/p-1/x": lambda n, t: json.dumps({"ts": t // 1_000_000, "value": f"lot {n}"}).encode()}, 30)
    found = diagnose(log)
    assert settings_of(found) == {"texts": "skip"}
    assert (found.trial.taken, found.trial.empty, found.trial.refused) == (0, 30, {})
    assert kinds(found)["skipped"] == [("f/p-1/x", "30 values")]
