"""What the named questions mean, held to answers worked out by hand; `tests/ports/test_readers.py` runs all stores."""

from collections.abc import Callable

import pytest

from aggregator.core import views
from aggregator.core.questions import Questions
from aggregator.core.select import Select
from aggregator.core.views import Row
from models.contract.quality import Quality
from tests.batches import SECOND, T0
from tests.plant_rows import MINUTE, Stored, answer


class Rows:
    """Fulfils ports.Reader from a list of rows, and counts the questions."""

    def __init__(self, *rows: Stored) -> None:
        self.rows = rows
        self.asked: list[Select] = []

    def select(self, question: Select, /) -> list[Row]:
        self.asked.append(question)
        return answer(question, self.rows)

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        return [{"text": text, "language": language}]

    def close(self) -> None:
        """Holds nothing."""


def inference(time_ns: int, asset: str, model: str, version: str, **fields: float) -> Stored:
    return Stored("inference", ("s", asset, model, version), time_ns, dict(fields))


def alarm(time_ns: int, code: str, is_open: float, name: str = "a") -> Stored:
    fields: dict[str, float | str] = {"is_open": is_open, "severity": 0.5, "id": name, "message": "m"}
    return Stored("alarm", ("s", "pump", code), time_ns, fields)


def reading(time_ns: int, quality: float, channel: str = "speed", value: float = 1.0) -> Stored:
    return Stored("reading", ("s", "pump", channel), time_ns, {"value": value, "quality": quality})


def test_the_worst_health_comes_first_and_models_without_health_last() -> None:
    rows = Rows(
        inference(T0, "a", "wear", "1", health=0.9),
        inference(T0, "b", "wear", "1", health=0.2),
        inference(T0, "c", "forecast", "1", failure_prob=0.7),
        inference(T0, "d", "forecast", "1", failure_prob=0.8),
    )
    assert [row["asset"] for row in Questions(rows).health()] == ["b", "a", "d", "c"]


def test_the_newest_row_speaks_for_a_model_whatever_its_version() -> None:
    rows = Rows(inference(T0 + SECOND, "a", "wear", "1", health=0.9), inference(T0, "a", "wear", "2", health=0.1))
    assert [(row["version"], row["health"]) for row in Questions(rows).health()] == [("1", 0.9)]


def test_an_asset_stands_once_in_the_top_with_its_likeliest_failure() -> None:
    rows = Rows(
        inference(T0, "a", "bearing", "1", failure_prob=0.3),
        inference(T0, "a", "seal", "1", failure_prob=0.6),
        inference(T0, "b", "seal", "1", failure_prob=0.9),
        inference(T0 + SECOND, "b", "seal", "1", failure_prob=0.5),
        inference(T0 + SECOND, "b", "seal", "2", health=0.1),
        inference(T0, "c", "seal", "1", failure_prob=0.1),
    )
    found = Questions(rows).top(2)
    assert [(row["asset"], row["model"], row["failure_prob"]) for row in found] == [
        ("a", "seal", 0.6),
        ("b", "seal", 0.5),
    ]


def test_an_alarm_is_open_since_the_earliest_row_of_its_id() -> None:
    rows = Rows(
        alarm(T0, "hot", 1.0, "first"),
        alarm(T0 + 1, "hot", 0.0, "first"),
        alarm(T0 + 2, "hot", 1.0, "second"),
        alarm(T0 + 3, "hot", 1.0, "second"),
        alarm(T0, "slow", 0.0, "third"),
    )
    [state] = Questions(rows).alarms()
    assert (state["since"], state["time"], state["id"]) == (T0 + 2, T0 + 3, "second")
    assert [row["code"] for row in Questions(rows).alarms(open_only=False)] == ["hot", "slow"]


def test_thousands_of_alarms_are_asked_for_in_questions_that_a_url_can_hold() -> None:
    rows = Rows(*(alarm(T0 + i, f"c{i}", 1.0, f"id{i}") for i in range(1000)))
    assert len(Questions(rows).alarms()) == 1000
    assert max(len(where.values) for question in rows.asked for where in question.where) <= 50


def test_models_in_use_have_their_assets_and_their_first_and_last_time() -> None:
    rows = Rows(
        inference(T0, "a", "wear", "1", health=0.5),
        inference(T0 + MINUTE, "b", "wear", "1", health=0.5),
        inference(T0 + 2 * MINUTE, "a", "wear", "2", rul_h=3.0),
    )
    assert Questions(rows).models() == [
        {"model": "wear", "version": "2", "assets": 1, "first": T0 + 2 * MINUTE, "last": T0 + 2 * MINUTE},
        {"model": "wear", "version": "1", "assets": 2, "first": T0, "last": T0 + MINUTE},
    ]


def test_every_reading_is_counted_under_one_quality_also_one_that_is_not_known_yet() -> None:
    known = [reading(T0 + i, float(code)) for i, code in enumerate(Quality)]
    rows = Rows(*known, reading(T0 + 99, 250.0), reading(T0 + 100, 0.0, "temp"))
    found = Questions(rows).qualities(T0, T0 + SECOND)
    assert sum(views.number(row, "count") for row in found) == len(Quality) + 2
    assert found[0]["quality"] is None
    assert [row["quality"] for row in found[1:]] == sorted(map(float, [*Quality, 0]), reverse=True)


def test_where_all_readings_are_good_two_questions_are_enough() -> None:
    rows = Rows(reading(T0, 0.0), reading(T0 + 1, 0.0))
    assert len(Questions(rows).qualities(T0)) == 1
    assert len(rows.asked) == 2


def test_means_leave_bad_readings_out_and_keep_uncertain_ones() -> None:
    rows = Rows(reading(T0, 0.0, value=1.0), reading(T0 + 1, 66.0, value=3.0), reading(T0 + 2, 129.0, value=1e9))
    [row] = Questions(rows).means(None, None, T0)
    assert (row["mean"], row["max"], row["count"]) == (2.0, 3.0, 2.0)


@pytest.mark.parametrize("ask", [lambda q: q.anomaly(None, T0), lambda q: q.means(None, None, T0)])
def test_intervals_begin_at_whole_multiples_of_their_length(ask: Callable[[Questions], list[Row]]) -> None:
    rows = Rows(
        *(inference(T0 + i * SECOND, "a", "wear", "1", anomaly_score=1.0) for i in range(150)),
        *(reading(T0 + i * SECOND, 0.0) for i in range(150)),
    )
    times = [row["time"] for row in ask(Questions(rows))]
    assert times == [T0 // MINUTE * MINUTE + i * MINUTE for i in range(3)]


def test_a_model_output_is_a_series_called_value() -> None:
    rows = Rows(inference(T0, "a", "wear", "1", health=0.5, rul_h=7.0), reading(T0, 0.0, "health", 9.0))
    [row] = Questions(rows).series("a", "rul_h", T0)
    assert row == {"time": T0, "site": "s", "asset": "a", "model": "wear", "version": "1", "value": 7.0}


def test_a_raw_text_goes_to_the_store_as_it_is() -> None:
    assert Questions(Rows()).raw("SELECT 1", "sql") == [{"text": "SELECT 1", "language": "sql"}]


def test_a_store_without_rows_has_an_empty_answer_to_everything() -> None:
    questions = Questions(Rows())
    assert questions.latest() == questions.health() == questions.alarms() == questions.models() == questions.top() == []
    assert questions.qualities(T0) == questions.gateways() == questions.series("a", "b", T0) == []
    assert not questions.holds("reading", {}, T0)
