"""Models in the pipeline: batches over assets, models that remember, that fail, and that have no answer."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import EdgeConfig
from edge_agent.core import state
from edge_agent.core.entries import Configured, Engine, JournalEntry, Refused, Tick, Withdrawn
from edge_agent.core.pipeline import Pipeline
from edge_agent.core.readings import Value
from edge_agent.core.results import Results
from models.contract.batch import decode_batch, encode_batch
from tests.edge.models import Chain, Failing, Mean, NeverNegative, mean
from tests.edge.test_pipeline import CONFIG, MS, SECOND, T0, Arrival, Item, Rows, data, entries_of, journals, rows_of

NONE: Mapping[str, Engine] = {}
NOT_REFUSED: Mapping[str, Refused] = {}
WAITS_S = (0.0, 0.4, 1.0, 60.0)


def configured(
    models: dict[str, str],
    max_wait_s: float = 0.0,
    max_batch: int = 4096,
    *,
    engines: Mapping[str, Engine] = NONE,
    refused: Mapping[str, Refused] = NOT_REFUSED,
    arrival_ns: int = T0,
    **rule: Any,
) -> Configured:
    """Assets a* and b* are watched by all models; `models`: path -> digest, "" = none; `rule`: else of both."""
    rules = [each.model_copy(update={"models": tuple(models)} | rule) for each in CONFIG.assets]
    inference = {"max_wait_s": max_wait_s, "max_batch": max_batch}
    config = EdgeConfig.model_validate(CONFIG.model_dump() | {"assets": rules, "inference": inference})
    return Configured(
        arrival_ns=arrival_ns,
        config=config.model_dump_json(),
        digests={path: digest for path, digest in models.items() if digest},
        engines=dict(engines),
        refused=dict(refused),
    )


class Life:
    """A pipeline, and all that came of it. `restore` puts a fresh one in its place."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        self._models = models
        self.pipeline, self.results = Pipeline(models.__getitem__), Results()
        self.counts: Counter[str] = Counter()

    def run(self, *entries: JournalEntry, at_once: int = 1, restarts: frozenset[int] = frozenset()) -> "Life":
        for number in range(0, len(entries), at_once):
            if restarts.intersection(range(number, number + at_once)):
                self.restore()
            self.pipeline.run(entries[number : number + at_once], self.results)
        return self

    def restore(self) -> None:
        self.counts += self.pipeline.counts
        saved = state.dump(self.pipeline.snapshot())
        self.pipeline = Pipeline(self._models.__getitem__)
        self.pipeline.restore(state.load(saved))

    def end(self) -> Rows:
        self.pipeline.end(self.results)
        self.counts += self.pipeline.counts
        return rows_of(decode_batch(encode_batch(self.results.batch("s", "g", "e", 1))))

    @property
    def alarms(self) -> list[tuple[str, str, bool]]:
        return [(alarm.asset, alarm.code, alarm.is_open) for alarm in self.results.alarms]


def both() -> dict[str, Mean]:
    return {"d1": Mean("mean", 2, ("t", "p")), "d2": Chain("chain", 2, ("p",), threshold=LIMIT)}


LIMIT = {"output": "anomaly_score", "open_at": 3.0, "close_at": 1.0, "evidence": 2, "evidence_windows": 3}
TWO = {"one": "d1", "two": "d2"}


@given(
    journals(),
    st.lists(st.integers(0, 14), max_size=14),
    st.frozensets(st.integers(1, 40)),
    st.integers(1, 30),
    st.sampled_from(WAITS_S),
    st.sampled_from([1, 3, 4096]),
)
@settings(deadline=None, max_examples=15)
def test_windows_that_wait_give_the_same_results_in_the_same_batches_however_the_journal_was_cut(
    arrivals: list[Arrival], cuts: list[int], restarts: frozenset[int], at_once: int, wait_s: float, max_batch: int
) -> None:
    begin = configured(TWO, wait_s, max_batch)
    whole, joined = entries_of(arrivals, []), entries_of(arrivals, cuts)
    models = both()
    expected = Life(models).run(begin, *whole).end()
    batches = {digest: model.batches for digest, model in models.items()}
    for entries, restarted, size in ((joined, frozenset(), 1), (whole, restarts, 1), (joined, restarts, at_once)):
        models = both()
        assert Life(models).run(begin, *entries, at_once=size, restarts=restarted).end() == expected
        if wait_s:
            assert {digest: model.batches for digest, model in models.items()} == batches
    assert Life(both()).run(configured(TWO), *whole).end() == expected


def readings(asset: str, values: list[float], first: int = 0, channels: str = "tp") -> list[Item]:
    """One a second on each channel."""
    return [Value((asset, c), T0 + (first + i) * SECOND, value) for i, value in enumerate(values) for c in channels]


def test_windows_of_all_assets_that_came_within_the_wait_are_one_batch() -> None:
    model = Mean("mean", 1, ("t",))
    entries: list[JournalEntry] = [
        data(T0 + SECOND + i * 100 * MS, readings(f"a{i}", [float(i)] * 4, channels="t")) for i in range(5)
    ]
    later = Tick(arrival_ns=T0 + 2 * SECOND)
    at_once = Life({"d": model}).run(configured({"m": "d"}), *entries, later)
    assert len(model.batches) == 5
    waiting = Life({"d": model}).run(configured({"m": "d"}, max_wait_s=1.0), *entries)
    assert len(model.batches) == 5
    waiting.run(later)
    *one_each, one_batch = model.batches
    assert one_batch == b"".join(one_each)
    assert waiting.end() == at_once.end()


def test_a_batch_is_never_larger_than_max_batch() -> None:
    model = Mean("mean", 1, ("t",))
    items = [item for i in range(7) for item in readings(f"a{i}", [1.0] * 4, channels="t")]
    Life({"d": model}).run(configured({"m": "d"}, max_batch=3), data(T0, items)).end()
    sizes = [len(batch) // 4 for batch in model.batches]
    assert max(sizes) == 3
    assert sum(sizes) == 7 * 4


def test_windows_that_cannot_be_scored_do_not_wait_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.core.waiting.MOST", 10)
    life = Life({"d": Mean("mean", 1, ("t",))}).run(configured({"m": "d"}, max_wait_s=60.0))
    for i in range(4):  # the asset's input never comes
        life.run(data(T0, readings("a1", [1.0] * 3, 3 * i, channels="p")))
    assert life.pipeline.counts["unscored"] == 10


def test_a_model_that_remembers_has_its_own_state_for_each_asset_over_gaps_and_windows_without_a_score() -> None:
    life = Life({"d": Chain("chain", 2, ("v.rms",))}).run(configured({"m": "d"}))
    expected = {}
    for seed, asset in enumerate(("a1", "a2")):
        values = np.random.default_rng(seed).uniform(0, 9, 30).astype(np.float32)
        items: list[Item] = [
            Value((asset, "v.rms"), T0 + i * SECOND, float(x)) for i, x in enumerate(values) if not 10 <= i < 20
        ]
        values[10:13] = values[9]  # held for hold_s, and then there is a gap
        remembered = np.float32(0)
        for i in (*range(1, 13), *range(21, 30)):
            remembered = np.float32(remembered / 2 + np.float32(mean(values[i - 1 : i + 1])))
            expected[asset, T0 + i * SECOND] = f"anomaly_score={float(remembered).hex()}"
        life.run(*(data(T0, items[i : i + 7]) for i in range(0, 20, 7)))
    assert {(row[0][0], row[1]): row[2] for row in life.end().scores} == expected  # type: ignore[index]


def test_an_asset_has_all_models_of_its_rule_and_a_model_all_assets_of_its_rules() -> None:
    items = [item for asset in ("a1", "a2", "b1") for item in readings(asset, [1.0] * 8)]
    found = Life(both()).run(configured(TWO), data(T0, items)).end()
    assert {row[0][:2] for row in found.scores} == {  # type: ignore[index]
        (asset, model) for asset in ("a1", "a2", "b1") for model in ("mean", "chain")
    }


def test_an_answer_that_is_no_number_is_no_score_no_evidence_and_no_row() -> None:
    limit = {"output": "anomaly_score", "open_at": 5.0, "close_at": 0.5, "open_after": 2}
    life = Life({"d": NeverNegative("n", 1, ("t",), threshold=limit)}).run(configured({"m": "d"}))
    found = life.run(data(T0, readings("a1", [1.0, 6.0, -1.0, 6.0, -1.0, 1.0], channels="t"))).end()
    assert sorted(str(row[2]) for row in found.scores) == sorted(
        f"anomaly_score={x.hex()}" for x in (1.0, 6.0, 6.0, 1.0)
    )
    assert life.alarms == [("a1", "n", True)]
    assert (life.counts["unscored_not_finite"], life.counts["unscored"]) == (2, 0)


def test_a_failing_model_is_out_of_service_with_one_alarm_and_all_else_goes_on() -> None:
    failing, well = Failing("weak", 1, ("t",), left=2), Mean("well", 1, ("t",))
    begin = configured({"x": "d1", "y": "d2"})
    life = Life({"d1": failing, "d2": well}).run(begin)
    for i in range(6):
        life.run(*(data(T0 + i, readings(asset, [1.0], i, "t")) for asset in ("a1", "a2")))
    assert life.pipeline.take_failures() == {"d1": "the device is gone: restart the agent"}
    assert life.pipeline.take_failures() == {}
    withdrawn = Withdrawn(arrival_ns=T0 + 100, digest="d1", reason="the device is gone: restart the agent")
    life.run(withdrawn, withdrawn)
    (alarm,) = life.results.alarms
    assert (alarm.asset, alarm.code, alarm.is_open) == ("g", "model-out-of-service/weak", True)
    assert alarm.message == "weak 1 scores no windows: the device is gone: restart the agent"
    life.restore()
    failing.left = 99
    life.run(data(T0 + 200, readings("a1", [1.0], 6, "t")))
    life.run(configured({"x": "d1", "y": "d2"}, arrival_ns=T0 + 300))
    life.run(data(T0 + 400, readings("a1", [1.0] * 2, 7, "t")))
    closed = life.results.alarms[-1]
    assert (closed.code, closed.is_open, closed.id) == (alarm.code, False, alarm.id)
    scored = Counter(row[0][1] for row in life.end().scores)  # type: ignore[index]
    assert scored["well"] == 2 * 6 + 3
    assert 0 < scored["weak"] < scored["well"]
    assert life.counts["unscored_out_of_service"] == scored["well"] - scored["weak"]


def test_a_snapshot_with_a_model_that_is_not_to_be_had_any_more_restores_all_others() -> None:
    whole, begin = Life(both()), configured(TWO)
    whole.run(begin, data(T0, readings("a1", [1.0, 2.0])))
    saved = state.load(state.dump(whole.pipeline.snapshot()))
    left = Life({"d1": Mean("mean", 2, ("t", "p")), "d2": None})
    left.pipeline.restore(saved)
    for life in (left, whole.run()):
        life.results = Results()
        life.run(data(T0 + SECOND, readings("a1", [5.0], 2)))
    scores = whole.end().scores.items()
    expected = {row: count for row, count in scores if row[0][1] == "mean"}  # type: ignore[index]
    assert left.end().scores == expected
    assert expected


def test_from_the_entry_on_that_withdraws_a_model_a_replay_scores_as_little_as_the_live_run() -> None:
    begin, reason = configured({"x": "d"}), "gone"
    first = data(T0, readings("a1", [1.0] * 4, 0, "t"))
    rest = [data(T0 + i, readings("a1", [1.0], i, "t")) for i in range(4, 12)]
    withdrawn = Withdrawn(arrival_ns=T0 + 1, digest="d", reason=reason)
    live = Life({"d": Failing("weak", 1, ("t",), left=1)}).run(begin, first, withdrawn, *rest)
    replay = Life({"d": Mean("weak", 1, ("t",))}).run(begin, first, withdrawn, *rest)
    assert replay.end() == live.end()


@given(journals(), st.frozensets(st.integers(1, 40)), st.sampled_from(WAITS_S), st.integers(0, 20))
@settings(deadline=None, max_examples=15)
def test_windows_that_wait_for_a_model_that_is_withdrawn_are_not_scored_whether_it_works_or_not(
    arrivals: list[Arrival], restarts: frozenset[int], wait_s: float, at: int
) -> None:
    entries = entries_of(arrivals, [])
    withdrawn = Withdrawn(arrival_ns=entries[min(at, len(entries) - 1)].arrival_ns, digest="d2", reason="gone")
    journal = [configured(TWO, wait_s), *entries[:at], withdrawn, *entries[at:]]
    expected = Life(both()).run(*journal).end()
    assert Life(both()).run(*journal, restarts=restarts).end() == expected


def test_a_provider_that_is_not_the_first_wanted_rings_until_a_configuration_in_which_it_is() -> None:
    engines = {"d1": Engine("cpu", "the driver is too old: install 580 or later"), "d2": Engine("cuda")}
    life = Life(both()).run(configured(TWO, engines=engines))
    (opened,) = life.results.alarms
    assert (opened.asset, opened.code, opened.is_open) == ("g", "inference-provider", True)
    assert opened.message == "mean 1 runs on cpu: the driver is too old: install 580 or later"
    life.run(configured(TWO, engines=engines))
    assert len(life.results.alarms) == 1
    life.restore()
    life.run(configured(TWO, engines={"d1": Engine("cuda"), "d2": Engine("cuda")}))
    closed = life.results.alarms[-1]
    assert (len(life.results.alarms), closed.is_open, closed.id) == (2, False, opened.id)
    assert closed.time_ns > opened.time_ns


def test_a_model_whose_file_cannot_be_used_rings_until_it_can_and_all_else_goes_on() -> None:
    out = {"one": Refused("mean", "one: is not signed"), "two": Refused("chain", "two: was cut")}
    life = Life(both()).run(configured({"one": "", "two": "d2"}, refused=out), data(T0, readings("a1", [1.0, 2.0])))
    life.restore()
    assert [(alarm.asset, alarm.code, alarm.is_open, alarm.message) for alarm in life.results.alarms] == [
        ("g", "model-out-of-service/mean", True, "mean: scores no windows: one: is not signed"),
        ("g", "model-out-of-service/chain", True, "chain: d2 of before serves: two: was cut"),
    ]
    life.run(configured({"one": "", "two": "d2"}, refused=out))
    assert len(life.results.alarms) == 2
    life.run(configured({"one": "d1", "two": "d2"}, refused={"two": out["two"]}))
    assert [alarm.is_open for alarm in life.results.alarms] == [True, True, False]
    assert life.results.alarms[-1].id == life.results.alarms[0].id
    found = life.run(data(T0 + SECOND, readings("a1", [1.0, 2.0, 3.0], 2))).end()
    assert {row[0][1] for row in found.scores} == {"mean", "chain"}  # type: ignore[index]


@given(journals(), st.frozensets(st.integers(1, 40)), st.integers(0, 20))
@settings(deadline=None, max_examples=15)
def test_a_journal_with_refused_files_gives_the_same_results_however_it_is_replayed(
    arrivals: list[Arrival], restarts: frozenset[int], at: int
) -> None:
    entries = entries_of(arrivals, [])
    out = {"one": Refused("mean", "is not signed")}
    mended = configured(TWO, arrival_ns=entries[min(at, len(entries) - 1)].arrival_ns)
    journal = [configured({"one": "", "two": "d2"}, refused=out), *entries[:at], mended, *entries[at:]]
    expected = Life(both()).run(*journal).end()
    assert Life(both()).run(*journal, at_once=7, restarts=restarts).end() == expected


def test_a_journal_of_an_agent_that_knew_of_no_providers_rings_no_alarm() -> None:
    assert Life(both()).run(configured(TWO)).results.alarms == []


@pytest.mark.parametrize("windows", [0.0, 4.0])
def test_the_published_health_is_smoothed_and_the_alarm_judges_the_models_own(windows: float) -> None:
    limit = {"output": "health", "above": False, "open_at": 20.0, "close_at": 60.0}
    model = Mean("h", 1, ("p",), outputs=["health"], threshold=limit, health_windows=windows)
    values = [90.0, 90.0, 10.0, 90.0, 90.0, 90.0]
    life = Life({"d": model}).run(configured({"m": "d"}), data(T0, readings("a1", values, channels="p")))
    rows = sorted(life.end().scores, key=lambda row: int(str(row[1])))
    found = [float.fromhex(str(row[2]).partition("=")[2]) for row in rows]
    assert found == (values if windows == 0 else [90.0, 90.0, 72.0, 76.0, 79.0, 82.0])
    assert life.alarms == [("a1", "h", True), ("a1", "h", False)]
