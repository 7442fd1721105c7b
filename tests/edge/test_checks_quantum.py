"""Quantisation change: coarser steps are seen, fast signals and still ones are not taken for them."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.core.checks.quantum import DEPTH, MOVES, WARM_UP, WINDOW
from models.contract.quality import Quality
from tests.edge.checks_stream import SECOND, Reading, Stream, config

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
FACTOR = 8.0
ON = config({"quantum_factor": FACTOR, "max_skew_s": 0})


def marks(values: Floats, cuts: list[int] | None = None) -> Flags:
    rows = [Reading(0, i * SECOND, float(value)) for i, value in enumerate(values)]
    quality = np.array(Stream(ON).run(rows, cuts or []).quality)
    assert set(quality.tolist()) <= {0, Quality.UNCERTAIN_QUANTUM}
    found: Flags = quality == Quality.UNCERTAIN_QUANTUM
    return found


def looped(values: list[float]) -> list[bool]:
    """The rules as they are written down, one reading after the other."""
    out: list[bool] = []
    quanta: list[float] = []
    is_coarse = False
    for i in range(1, len(values) + 1):
        if i % WINDOW == 0:
            window = values[max(0, i - WINDOW) : i]
            stands = 1e-9 * max(abs(v) for v in window)
            moves = [abs(b - a) for a, b in pairwise(window)]
            real = [move for move in moves if move > stands]
            is_coarse = False
            if len(real) >= MOVES:
                before = sorted(quanta[-DEPTH:])
                ordered = sorted(window)
                quantum = min(b - a for a, b in pairwise(ordered) if b - a > stands)
                quanta.append(quantum)
                if len(before) >= WARM_UP and quantum >= FACTOR * before[len(before) // 4]:
                    multiples = [round(move / quantum) for move in real]
                    is_lattice = all(abs(m / quantum - k) <= 0.02 for m, k in zip(real, multiples, strict=True))
                    sizes = {*multiples, *([0] if len(real) < WINDOW - 1 else [])}
                    levels = 1 + sum(b - a > stands for a, b in pairwise(ordered))
                    is_coarse = is_lattice and len(sizes) > 1 and levels >= 3
        out.append(is_coarse)
    return out


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1.0, 0.1, 0.01, 5.0, 0.0]), st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.5, 1.0])
        ),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.integers(0, 900), max_size=6),
)
@settings(deadline=None, max_examples=40)
def test_marks_are_those_of_a_loop_however_the_readings_are_cut(
    parts: list[tuple[float, int, float]], cuts: list[int]
) -> None:
    drawn = [np.random.default_rng(seed).normal(20, scale, 150) for scale, seed, _ in parts]
    values = np.concatenate([rounded(d, step) for d, (_, _, step) in zip(drawn, parts, strict=True)])
    assert marks(values, cuts).tolist() == looped(values.tolist())


def rounded(values: Floats, step: float) -> Floats:
    return np.round(values / step) * step if step else values


@pytest.mark.parametrize("before", [0.0, 0.01])
@pytest.mark.parametrize("after", [0.5, 1.0])
def test_a_channel_that_rounds_all_of_a_sudden_is_marked_for_a_while(before: float, after: float) -> None:
    values = np.random.default_rng(5).normal(20, 1, 1600)
    values = np.concatenate((rounded(values[:600], before), rounded(values[600:], after)))
    at = np.flatnonzero(marks(values))
    assert 600 + WINDOW <= at[0] <= 600 + 2 * WINDOW
    assert 600 + 8 * WINDOW < at[-1] < 600 + (DEPTH + 2) * WINDOW
    assert (np.diff(at) == 1).all()


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).normal(20, 1, 3000),
        np.round(np.random.default_rng(2).normal(20, 1, 3000)),
        np.concatenate((np.random.default_rng(3).normal(0, 0.01, 500), np.arange(500) * 1.0, np.arange(500) * 0.5)),
        np.random.default_rng(4).normal(0, 0.01, 2000).cumsum() * np.repeat([1, 100, 1, 300], 500),
        np.concatenate((np.random.default_rng(5).normal(0, 0.01, 500), np.tile([0.0, 0.0, 100.0, 100.0], 125))),
        np.concatenate((np.random.default_rng(6).normal(0, 0.01, 500), np.full(500, 7.0))),
        [100 * math.sin(i / 3) + 0.01 * (i % 7) for i in range(2000)],
        np.round(np.random.default_rng(8).normal(0, 1, 3000) * np.repeat([0.05, 3, 0.05], 1000), 1),
    ],
    ids=["noise", "always coarse", "ramps", "fast and slow", "switched", "still", "sine", "fast on fine steps"],
)
def test_what_is_no_change_of_steps_is_not_taken_for_one(values: Floats) -> None:
    assert not marks(np.asarray(values)).any()


def test_finer_steps_are_no_matter() -> None:
    values = np.random.default_rng(5).normal(20, 2, 1200)
    assert not marks(np.concatenate((np.round(values[:600]), values[600:]))).any()


def test_a_single_odd_reading_does_not_make_the_usual_steps_look_coarse() -> None:
    values = np.round(np.random.default_rng(9).normal(20, 2, 1200))
    values[400] += 0.001
    assert not marks(values).any()
