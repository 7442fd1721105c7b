"""A database that says yes and keeps nothing is found out; one that is slow or cannot be asked is not accused."""

import itertools

import pytest

from aggregator.config import ReadBack as Config
from aggregator.core.points import Points
from aggregator.metrics import Metrics
from aggregator.ports import RetryLater, StoreMisconfigured
from aggregator.readback import ReadBack
from models.contract.config_errors import ConfigError
from tests.batches import T0, batch, points_of

POINTS = points_of(batch([1.0]))


class Database:
    """Says whether it has a row by its script, then always as the last time."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], int]] = []

    def holds(self, measurement: str, tags: dict[str, str], time_ns: int) -> bool:
        self.asked.append((measurement, tags, time_ns))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def reading_back(
    database: Database, metrics: Metrics | None = None, every_s: float = 60, step_s: float = 0, now_ns: int = T0
) -> ReadBack:
    """On a clock that goes on by `step_s` whenever it is looked at."""
    seconds = itertools.count(0, step_s)
    config = Config(every_s=every_s, within_s=1)
    return ReadBack(database.holds, config, metrics or Metrics(), lambda: float(next(seconds)), lambda: now_ns)


def test_the_first_write_is_inspected_and_then_none_for_a_while() -> None:
    database = Database(True)
    reading = reading_back(database)
    for _ in range(3):
        reading.inspect(POINTS)
    [(measurement, tags, time_ns)] = database.asked
    assert (tags["site"], time_ns) == ("north", T0)
    assert measurement in {"reading", "inference", "gateway"}


def test_a_row_that_is_not_there_fails_the_write_and_each_further_one_is_inspected_until_one_is_there() -> None:
    metrics, database = Metrics(), Database(False)
    reading = reading_back(database, metrics, step_s=0.6)
    for _ in range(2):
        with pytest.raises(RetryLater, match="not there"):
            reading.inspect(POINTS)
    database.answers = [True]
    reading.inspect(POINTS)
    asked = len(database.asked)
    reading.inspect(POINTS)
    assert len(database.asked) == asked
    outcomes = {
        outcome: metrics.registry.get_sample_value("tocsin_aggregator_read_back_total", {"outcome": outcome})
        for outcome in ("missing", "found")
    }
    assert outcomes == {"missing": 2, "found": 1}


def test_a_row_that_comes_late_is_no_lie() -> None:
    reading_back(Database(False, False, True)).inspect(POINTS)


@pytest.mark.parametrize("fault", [RetryLater("away"), StoreMisconfigured("no right to read"), ConfigError("token")])
def test_a_store_that_cannot_be_asked_is_not_accused(fault: Exception) -> None:
    reading_back(Database(fault)).inspect(POINTS)


def test_a_row_that_a_database_may_have_given_up_for_its_age_proves_nothing() -> None:
    database = Database(False)
    hour_ns = 3600 * 10**9
    reading_back(database, now_ns=T0 + 2 * hour_ns).inspect(POINTS)
    assert database.asked == []
    rows = points_of(batch([1.0, 2.0], start_ns=T0))
    newest_ns = max(int(table.time_ns.max()) for table in rows.tables)
    seen = Database(True)
    for _ in range(20):
        reading_back(seen, now_ns=newest_ns + hour_ns).inspect(rows)
    assert {time_ns for _, _, time_ns in seen.asked} == {newest_ns}


def test_while_rows_are_missing_old_ones_are_inspected_too() -> None:
    database, now_ns = Database(False), [T0]
    reading = ReadBack(database.holds, Config(within_s=1), Metrics(), itertools.count().__next__, lambda: now_ns[0])
    for now_ns[0] in (T0, T0 + 10**18):
        with pytest.raises(RetryLater, match="not there"):
            reading.inspect(POINTS)


def test_nothing_is_asked_when_that_is_not_wanted_or_nothing_was_written() -> None:
    database = Database(False)
    reading_back(database, every_s=0).inspect(POINTS)
    reading_back(database).inspect(Points())
    assert database.asked == []
