"""Windows cut into runs of few sizes, and runs bounded in time: the parts that need no ONNX Runtime."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.inference.bounded import Bound, Watchdog, Worker
from edge_agent.adapters.inference.buckets import cut, padded

COSTS = st.dictionaries(st.sampled_from([1, 2, 4, 8, 32, 256, 4096]), st.floats(1e-6, 10.0), min_size=1)


@given(st.integers(0, 20_000), COSTS)
def test_each_window_is_in_one_run_and_only_the_last_is_filled_up(n: int, costs: dict[int, float]) -> None:
    runs = cut(n, costs)
    assert set(runs) <= set(costs)
    assert list(runs) == sorted(runs, reverse=True)
    assert sum(runs[:-1]) < max(n, 1) <= sum(runs) or not n
    assert bool(runs) == bool(n)


@given(st.integers(1, 20_000), COSTS)
def test_runs_of_one_size_alone_are_never_cheaper(n: int, costs: dict[int, float]) -> None:
    # As `cut` says, a larger run is never taken to cost more than the smaller ones that it stands for.
    costs = {size: min(costs[small] * -(-size // small) for small in costs if small <= size) for size in costs}
    least = min(-(-n // size) * cost for size, cost in costs.items())
    assert sum(costs[size] for size in cut(n, costs)) <= least * (1 + 1e-9)


@pytest.mark.parametrize(
    ("n", "runs"),
    [(1, (1,)), (33, (32, 1)), (64, (32, 32)), (31, (32,)), (256, (256,)), (300, (256, 32, *(1,) * 12)), (0, ())],
)
def test_thirty_three_windows_are_not_filled_up_to_two_hundred_and_fifty_six(n: int, runs: tuple[int, ...]) -> None:
    assert cut(n, {1: 1.0, 32: 25.0, 256: 180.0}) == runs


def test_where_a_run_costs_the_same_whatever_its_size_one_is_enough() -> None:
    assert cut(33, {1: 1.0, 32: 1.0, 256: 1.1, 4096: 9.0}) == (256,)


def test_a_large_bucket_that_was_measured_in_a_bad_moment_is_still_used() -> None:
    assert cut(256, {1: 1.0, 32: 25.0, 256: 900.0}) == (256,)


def test_filling_up_repeats_the_last_window() -> None:
    windows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(padded(windows, 5), [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]])
    assert padded(windows, 3) is windows


class Deaf:
    """Does not end before it is let; can be told to, if it listens."""

    def __init__(self, *, listens: bool) -> None:
        self.begun_s, self.is_stopped, self._listens, self.end = time.monotonic(), False, listens, threading.Event()

    def stop(self) -> None:
        self.is_stopped = True
        if self._listens:
            self.end.set()

    def __call__(self) -> str:
        self.begun_s = time.monotonic()
        assert self.end.wait(60)
        return "done"


BOTH = [Watchdog(), Worker("test")]


@pytest.mark.parametrize("bound", BOTH, ids=["watchdog", "worker"])
def test_what_takes_too_long_is_stopped_and_the_next_goes_on(bound: Bound) -> None:
    work = Deaf(listens=True)
    with pytest.raises(TimeoutError, match=r"no result within 0\.1 s"):
        bound.run(work, work, 0.1)
    well = Deaf(listens=True)
    well.end.set()
    assert bound.run(well, well, 60) == "done"


@pytest.mark.parametrize("bound", BOTH, ids=["watchdog", "worker"])
def test_what_is_raised_is_raised_where_the_work_was_asked_for(bound: Bound) -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        bound.run(Deaf(listens=True), fail, 60)


@pytest.mark.parametrize("bound", BOTH, ids=["watchdog", "worker"])
def test_the_limit_is_for_each_run_not_for_all_of_them(bound: Bound) -> None:
    of = Deaf(listens=True)

    def runs() -> int:
        for _ in range(8):
            of.begun_s = time.monotonic()
            time.sleep(0.1)
        return 8

    assert bound.run(of, runs, 0.7) == 8


def test_a_thread_that_does_not_come_back_is_left_behind() -> None:
    worker, deaf = Worker("test"), Deaf(listens=False)
    with pytest.raises(TimeoutError, match="its thread is left behind"):
        worker.run(deaf, deaf, 0.1)
    assert worker.run(Deaf(listens=True), threading.current_thread, 60).name == "test"
    deaf.end.set()


def test_threads_end_with_what_they_served() -> None:
    worker, watchdog = Worker("ends-too"), Watchdog()
    thread = worker.run(Deaf(listens=True), threading.current_thread, 60)
    del worker, watchdog
    thread.join(60)
    assert not thread.is_alive()
