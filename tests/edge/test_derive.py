"""Fused, computed, windowed channels and regimes on the grid: Align, Derive and Windowing together."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_agent.config.assets import AssetRule
from edge_agent.core.align import Align, Frames, Grid
from edge_agent.core.derive.names import virtual
from edge_agent.core.derive.program import Virtual
from edge_agent.core.derive.stage import Derive
from edge_agent.core.state import dump, load
from edge_agent.core.window import Windowing

SECOND = 10**9
T0 = 1_760_000_400 * SECOND
RULES: list[dict[str, Any]] = [
    {
        "match": "pump-*",
        "redundant": [
            {"of": ["t1", "t2", "t3"], "fused": "t", "max_difference": 2.0},
            {"of": ["t1", "t2"], "fused": "u", "max_difference": 2.0, "sigmas": [0.1, 0.2]},
        ],
        "derived": [
            {"channel": "power", "expression": "{supply voltage} * current"},
            {"channel": "efficiency", "unit": "1", "expression": "t / power"},
        ],
        "features": [
            {"of": "*", "window_s": 8, "every_s": 2, "give": ["mean", "slope"]},
            {"of": "t1", "window_s": 5, "every_s": 1, "give": ["trend", "min", "kurtosis"]},
        ],
        "regimes": [
            {"name": "idle", "when": "current < 1 and {t1.mean_8s} < 100"},
            {"name": "hot", "when": "t > 4"},
        ],
        "regime_dwell_s": 2,
    },
    {"match": "fan", "derived": [{"channel": "double", "expression": "2 * t1"}]},
    {"match": "*"},
]
ASSETS = ("pump-1", "pump-2", "fan", "press")
SENSORS = ("t1", "t2", "t3", "supply voltage", "current")


class Config:
    """What of a configuration is asked for."""

    def __init__(self, rules: list[dict[str, Any]]) -> None:
        self.assets = tuple(AssetRule.model_validate(rule) for rule in rules)

    def asset_rule(self, asset: str) -> AssetRule | None:
        return next(rule for rule in self.assets if rule.match in ("*", asset, asset[:5] + "*"))


class Catalogue:
    """Numbers channels, and with each the virtual ones that come with it."""

    def __init__(self, config: Config) -> None:
        self.channels: list[tuple[str, str]] = []
        self.assets = list(ASSETS)
        self.asset_of: NDArray[np.intp] = np.empty(0, np.intp)
        self.config = config

    def add(self, asset: str, channel: str) -> None:
        rule = self.config.asset_rule(asset)
        for name in (channel, *(virtual(rule, channel) if rule else ())):
            if (asset, name) not in self.channels:
                self.channels.append((asset, name))
        self.asset_of = np.array([ASSETS.index(asset) for asset, _ in self.channels], np.intp)


class Path:
    """The stages from readings to windows of a model of `efficiency`, `t.slope_8s` and `regime`."""

    def __init__(self, rules: list[dict[str, Any]] = RULES) -> None:
        self.config = Config(rules)
        self.catalogue = Catalogue(self.config)
        for asset in ASSETS:
            for channel in SENSORS:
                self.catalogue.add(asset, channel)
        n = len(ASSETS)
        whole = np.full(n, SECOND)
        self.grid = Grid(whole, whole, 5 * whole, np.full(n, 2))
        self.align, self.derive, self.windowing = Align(), Derive(), Windowing(3, 1, 3)
        self.align.grow(len(self.catalogue.channels), n)
        self.derive.settle(self.config, self.catalogue)  # type: ignore[arg-type]
        self.windowing.grow(n)
        self.stored: list[tuple[str, str, int, float]] = []
        self.windows: dict[tuple[str, int], bytes] = {}
        self.frames: list[Frames] = []

    def number(self, asset: str, channel: str) -> int:
        key = asset, channel
        return self.catalogue.channels.index(key) if key in self.catalogue.channels else -1

    def take(self, rows: list[tuple[str, str, int, float]]) -> None:
        channel = np.array([self.number(asset, name) for asset, name, _, _ in rows], np.intp)
        time_ns = np.array([time_ns for _, _, time_ns, _ in rows], np.int64)
        value = np.array([value for *_, value in rows], np.float64)
        _, frames = self.align.step(self.grid, channel, self.catalogue.asset_of[channel], time_ns, value)
        frames, found = self.derive.step(frames)
        self.frames.append(frames)
        self._store(found)
        inputs = [[self.number(asset, name) for name in ("efficiency", "t.slope_8s", "regime")] for asset in ASSETS]
        windows = self.windowing.step(frames, np.array(inputs, np.intp))
        whole = windows.asset[windows.is_whole].tolist(), windows.time_ns[windows.is_whole].tolist()
        for asset, at, content in zip(*whole, windows.frames, strict=True):
            self.windows[ASSETS[asset], at] = content.tobytes()

    def _store(self, found: Virtual) -> None:
        for channel, time_ns, value in zip(*(column.tolist() for column in found), strict=True):
            self.stored.append((*self.catalogue.channels[channel], time_ns, value))

    def of(self, channel: str, asset: str = "pump-1") -> dict[int, float]:
        """Stored values by seconds since T0."""
        return {(at - T0) // SECOND: v for a, name, at, v in self.stored if (a, name) == (asset, channel)}


@st.composite
def journals(draw: st.DrawFn) -> list[tuple[str, str, int, float]]:
    rows, now = [], T0
    for _ in range(draw(st.integers(1, 60))):
        now += draw(st.sampled_from([0, 0, 100_000_000, 500_000_000, SECOND, SECOND, 30 * SECOND]))
        asset, channel = draw(st.sampled_from(ASSETS)), draw(st.sampled_from(SENSORS))
        jitter = draw(st.integers(-1, 1)) * SECOND
        rows.append((asset, channel, now + jitter, draw(st.integers(0, 40)) / 7))
    return rows


def regular(count: int, **values: NDArray[np.float64]) -> list[tuple[str, str, int, float]]:
    return [
        ("pump-1", name.replace("_", " "), T0 + i * SECOND, float(series[i]))
        for i in range(count)
        for name, series in values.items()
        if not math.isnan(series[i])
    ]


@given(journals(), st.lists(st.integers(0, 60), max_size=6), st.booleans())
@settings(deadline=None, max_examples=60)
def test_cuts_and_snapshots_change_neither_what_is_stored_nor_any_window(
    rows: list[tuple[str, str, int, float]], cuts: list[int], is_restored: bool
) -> None:
    whole, cut = Path(), Path()
    whole.take(rows)
    bounds = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    for begin, end in pairwise(bounds):
        cut.take(rows[begin:end])
        if is_restored:
            saved = load(dump(cut.derive.snapshot()))
            cut.derive = Derive()
            cut.derive.settle(cut.config, cut.catalogue)  # type: ignore[arg-type]
            cut.derive.restore(saved)
    assert sorted(map(repr, cut.stored)) == sorted(map(repr, whole.stored))
    assert cut.windows == whole.windows


def test_an_expression_uses_fused_channels_and_those_before_it() -> None:
    path = Path()
    n, rng = 30, np.random.default_rng(1)
    t, volts, amps = rng.normal(3, 0.1, (3, n)), rng.normal(230, 1, n), rng.normal(2, 0.1, n)
    path.take(regular(n, t1=t[0], t2=t[1], t3=t[2], supply_voltage=volts, current=amps))
    fused, power = path.of("t"), path.of("power")
    assert power == {i: volts[i] * amps[i] for i in range(n - 2)}
    assert path.of("efficiency") == {i: fused[i] / power[i] for i in power}
    assert path.of("double", "fan") == {}


def test_a_missing_input_and_a_division_by_zero_give_no_value() -> None:
    path = Path()
    amps = np.array([1.0, 0.0, math.nan, math.nan, math.nan, 2.0] + [1.0] * 4)
    ones = np.ones(10)
    path.take(regular(10, t1=ones, t2=ones, t3=ones, supply_voltage=ones, current=amps))
    assert path.of("power") == {0: 1, 1: 0, 2: 0, 3: 0, 5: 2, 6: 1, 7: 1}  # held for two frames
    assert path.of("efficiency") == {0: 1, 5: 0.5, 6: 1, 7: 1}


def test_declared_variances_weigh_and_a_member_far_from_the_median_is_left_out() -> None:
    path = Path()
    t1, t2 = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), np.array([2.0, 4.9, 5.1, math.nan, 2.0, 2.0])
    path.take([row for row in regular(6, t1=t1, t2=t2) if row[2] < T0 + 6 * SECOND])
    assert path.of("u")[0] == pytest.approx((1 / 0.01 + 2 / 0.04) / (1 / 0.01 + 1 / 0.04))
    assert path.of("u")[1] == pytest.approx((1 / 0.01 + 4.9 / 0.04) / (1 / 0.01 + 1 / 0.04))
    assert 2 not in path.of("u")  # of two, nobody knows which


def test_a_noisy_member_loses_weight() -> None:
    n, rng = 3000, np.random.default_rng(2)
    t = 20 + rng.normal(size=(3, n)) * [[0.1], [0.1], [0.6]]
    path = Path()
    path.take(regular(n, t1=t[0], t2=t[1], t3=t[2]))
    found = path.of("t")
    fused = np.array([found[i] for i in range(1000, n - 2)])
    of_all, best = t[:, 1000 : n - 2].mean(axis=0), np.array([1 / 0.01, 1 / 0.01, 1 / 0.36]) / (200 + 1 / 0.36)
    ideal = best @ t[:, 1000 : n - 2]
    assert fused.std() < 1.1 * ideal.std() < of_all.std()


def test_a_feature_is_that_of_its_window_stamped_at_its_last_frame_and_holds_for_the_next() -> None:
    path, x = Path(), np.random.default_rng(4).normal(size=40)
    path.take(regular(40, t1=x))
    means = path.of("t1.mean_8s")
    assert sorted(means) == list(range(4, 38, 2))
    for i, found in means.items():
        window = x[max(i - 7, 0) : i + 1]
        assert found == pytest.approx(window.mean())
        slope = np.polyfit(np.arange(len(window)) / 3600, window, 1)[0]
        assert path.of("t1.slope_8s")[i] == pytest.approx(slope)
    frames = path.frames[0]
    looked_up = frames.lookup(np.full((len(frames.asset), 1), path.number("pump-1", "t1.mean_8s")))[:, 0]
    np.testing.assert_array_equal(looked_up[4:], np.repeat([means[i] for i in sorted(means)], 2))


def test_a_window_needs_half_of_its_frames_and_a_gap_is_no_part_of_it() -> None:
    path = Path()
    values = np.full(40, math.nan)
    values[:10], values[24:] = 1.0, 5.0
    path.take(regular(40, t1=values))
    means = path.of("t1.mean_8s")
    assert means[10] == 1.0
    assert 20 not in means
    assert means[28] == 5.0


def test_a_regime_counts_once_it_has_fitted_for_the_dwell_time() -> None:
    path = Path()
    t = np.array([1, 1, 5, 1, 5, 5, 5, 5, 1, 1, 1, 1, 1, 1, 1], np.float64)
    path.take(regular(15, t1=t, t2=t, t3=t))
    assert list(path.of("regime").values()) == [0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0]


def test_of_regimes_the_first_that_fits_counts() -> None:
    path = Path()
    five = np.full(20, 5.0)
    path.take(regular(20, t1=five, t2=five, t3=five, current=np.zeros(20)))
    assert path.of("regime")[3] == 2  # the mean is not there yet
    assert path.of("regime")[10] == 1


def test_an_asset_that_declares_nothing_has_no_virtual_channels() -> None:
    path = Path()
    path.take([("press", "t1", T0 + i * SECOND, 1.0) for i in range(9)])
    assert not path.stored
    assert [name for asset, name in path.catalogue.channels if asset == "press"] == list(SENSORS)


def test_what_is_declared_as_before_keeps_its_state_and_what_is_new_starts() -> None:
    rows = regular(30, t1=np.arange(30.0))
    whole, changed = Path(), Path()
    whole.take(rows)
    changed.take(rows[:15])
    other = [RULES[0], {"match": "*"}]
    changed.config = Config(other)
    changed.derive.settle(changed.config, changed.catalogue)  # type: ignore[arg-type]
    changed.take(rows[15:])
    assert changed.of("t1.mean_8s") == whole.of("t1.mean_8s")
    changed.config = Config([{"match": "*", "features": [{"of": "t1", "window_s": 4, "every_s": 2, "give": ["max"]}]}])
    changed.derive.settle(changed.config, changed.catalogue)  # type: ignore[arg-type]
    changed.take([("pump-1", "t1", T0 + i * SECOND, float(i)) for i in range(30, 40)])
    assert max(changed.of("t1.mean_8s")) < 30


def test_the_names_of_virtual_channels_are_stable_and_have_no_features_of_features() -> None:
    rule = AssetRule.model_validate(RULES[0])
    assert virtual(rule, "t1") == [
        *("t1.mean_8s", "t1.slope_8s", "t1.trend_5s", "t1.min_5s", "t1.kurtosis_5s"),
        *("t", "t.mean_8s", "t.slope_8s", "u", "u.mean_8s", "u.slope_8s"),
        *("power", "power.mean_8s", "power.slope_8s", "efficiency", "efficiency.mean_8s", "efficiency.slope_8s"),
        "regime",
    ]
    assert not virtual(rule, "t1.mean_8s")
    assert not virtual(rule, "regime")


def test_times_at_their_limits_are_taken() -> None:
    limits = {"period_s": 86_400, "hold_s": 604_800, "lateness_s": 604_800, "idle_s": 604_800}
    assert AssetRule.model_validate({"match": "*"} | limits).hold_s == 604_800
    assert AssetRule.model_validate({"match": "*", "period_s": 0.5, "hold_s": 50_000}).hold_s == 50_000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"redundant": [{"of": ["a"], "max_difference": 1}]}, "at least 2"),
        ({"redundant": [{"of": ["a", "a"], "max_difference": 1}]}, "stands twice"),
        ({"redundant": [{"of": ["a", "b"], "max_difference": 1, "fused": "a"}]}, "a name of its own"),
        ({"redundant": [{"of": ["a", "b"], "max_difference": 1, "sigmas": [1]}]}, "one above 0 for each"),
        ({"derived": [{"channel": "x", "expression": "a +"}]}, "character"),
        ({"derived": [{"channel": "x", "expression": "x + 1"}]}, "'x' comes only after it, or is it"),
        (
            {"derived": [{"channel": "x", "expression": "y + 1"}, {"channel": "y", "expression": "a"}]},
            "'y' comes only after it, or is it",
        ),
        (
            {"derived": [{"channel": "x", "expression": "a"}, {"channel": "x", "expression": "b"}]},
            "more than one .* gives 'x'",
        ),
        ({"features": [{"of": "a", "window_s": 2, "every_s": 1, "give": ["mean"]}]}, "allowed are 3 to 3600"),
        ({"features": [{"of": "a", "window_s": 9, "every_s": 1, "give": ["median"]}]}, "'mean', 'std'"),
        ({"features": [{"of": "regime", "window_s": 9, "every_s": 1, "give": ["mean"]}]}, "no features of features"),
        ({"features": [{"of": "a.std_9s", "window_s": 9, "every_s": 1, "give": ["mean"]}]}, "no features of features"),
        (
            {"features": [{"of": of, "window_s": 9, "every_s": 1, "give": ["std", "mean"]} for of in ("a", "*")]},
            r"gives '\*.mean_9s', '\*.std_9s'",
        ),
        ({"regimes": [{"name": "x", "when": "1 < 2"}]}, "no channel in it"),
        ({"period_s": 86401}, "less than or equal to 86400"),
        *(({name: 1e6}, "less than or equal to 604800") for name in ("hold_s", "lateness_s", "idle_s")),
        ({"regime_dwell_s": 1e300}, "less than or equal to 604800"),
        ({"features": [{"of": "a", "window_s": 9, "every_s": 1e300, "give": ["std"]}]}, "equal to 604800"),
        ({"redundant": [{"of": ["a", "b"], "max_difference": 1e200}]}, "less than or equal to 1000000000000000"),
        ({"period_s": 0.5, "hold_s": 50001}, "50001 is 100002 frames of period_s 0.5; allowed are at most 100000"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_the_reason(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AssetRule.model_validate_json(json.dumps({"match": "*"} | change))
