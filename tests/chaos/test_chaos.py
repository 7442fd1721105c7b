"""The proof in short: kills and every other fault for half a minute, and the database as if nothing had happened."""

import asyncio

import pytest

from tests.chaos import report
from tests.chaos.plan import CLOCK, DISK, KILLS, NETWORK
from tests.chaos.rounds import Outcome, play
from tests.servers import Influx1, Mosquitto

SEED, FAULTS_S, GAP_S = 2, 34.0, 0.65

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto, influx1: Influx1) -> Outcome:
    """One round with servers of its own; the two fixtures only make sure that they are installed."""
    assert mosquitto.is_up()
    assert influx1.is_up()
    return asyncio.run(play(tmp_path_factory.mktemp("chaos"), SEED, FAULTS_S, GAP_S, lambda _text: None))


def test_whatever_dies_the_database_holds_the_same_rows(outcome: Outcome) -> None:
    assert outcome.is_identical, outcome.story
    assert outcome.expected.keys() == {"reading", "inference", "alarm"}
    assert outcome.errors == {}  # an error in a log: data is lost, or a person is needed


def test_that_was_under_twenty_kills_and_every_other_kind_of_fault(outcome: Outcome) -> None:
    assert outcome.kills.total() >= 20
    assert outcome.kills.keys() == {kind.name for kind in KILLS}
    others = (*NETWORK, CLOCK, DISK) if outcome.is_disk_small else (*NETWORK, CLOCK)
    assert outcome.faults.keys() == {kind.name for kind in others}


def test_the_report_says_what_was_measured(outcome: Outcome) -> None:
    totals = report.total([outcome, outcome])
    text = report.to_markdown(totals, "./run chaos --minutes 1")
    assert f"**Result: {2 * outcome.kills.total()} kills" in text
    assert f"| rows missing | {2 * outcome.missing} |" in text
    assert f"| kill agent | {2 * outcome.kills['kill agent']} |" in text
    assert f'"rows_total": {2 * outcome.expected.total()}' in report.to_json(totals)
