"""A model shows that it works before it serves: every bucket runs, and a window's score is its own.

Kernels may add up the rows of a matrix in an order that depends on how many there are, and on a row's place. The last
bits then differ between a live minute and its replay. So the same windows are run alone, and in each bucket at several
places among different neighbours. Buckets that give the same bits may be used together.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.inference.session import Floats, Outputs, Session
from models.graph_check import expected_outputs
from models.manifest import Manifest

_WINDOWS = 16
_NOISE = ((0.0, 1.0), (0.0, 30.0), (0.0, 1000.0), (1.0, 0.3), (30.0, 10.0), (1000.0, 300.0))  # mean and deviation
_SEEN = 0.9  # share of values that are there, in windows of a model with a mask


class ProofError(RuntimeError):
    """The model does not do what its manifest says."""


class Windows(NamedTuple):
    """What a model is tried with."""

    frames: Floats  # [n, window, width]
    states: Floats | None  # [n, state]


class Proof(NamedTuple):
    """What came of it."""

    costs: dict[int, float]  # seconds of a run of each bucket that may be used
    is_independent: bool  # False: only window by window
    windows: Windows
    outputs: Outputs  # of these windows, as they are scored from now on
    fault: str  # why larger buckets cannot be used; empty: nothing speaks against them


def prove(session: Session, manifest: Manifest, sizes: Sequence[int]) -> Proof:
    """Run all buckets, of which the first is 1. Raises ProofError, and what a run raises."""
    windows, alone, cost_s = _tried(session, manifest)
    costs, found, fault = {1: cost_s}, {1: alone}, ""
    for size in sizes[1:]:
        try:
            outputs, cost_s = _together(session, windows, size)
        except Exception as error:  # noqa: BLE001 - such as too little memory on a device
            fault = f"runs of {size} windows fail: {error}"
            break
        if outputs is not None:
            costs[size], found[size] = cost_s, outputs
    if len(found) > 1 and not _is_telling(alone):
        del found[1]  # a lone row is what differs most often, and these outputs would not show it
    chosen = choose(found)
    is_independent = chosen != [1] or len(sizes) == 1
    return Proof({size: costs[size] for size in chosen}, is_independent, windows, found[chosen[0]], fault)


def choose(found: Mapping[int, Outputs]) -> list[int]:
    """Buckets whose outputs for the same windows are the same bits: with bucket 1, or else with the largest."""

    def like(size: int) -> list[int]:
        return [other for other in sorted(found) if same(found[other], found[size])]

    with_one = like(1) if 1 in found else []
    return with_one if len(with_one) > 1 else like(max(found))


def answers(session: Session, windows: Windows) -> Outputs:
    """Outputs for windows one by one."""
    frames, states = windows
    rows = [
        session.run(1, frames[at : at + 1], None if states is None else states[at : at + 1])
        for at in range(len(frames))
    ]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def differs(outputs: Outputs, wanted: Outputs) -> float:
    """The largest difference, relative to max(1, |wanted|); NaN in both is none."""
    worst = 0.0
    for one, other in zip(outputs, wanted, strict=True):
        with np.errstate(invalid="ignore"):  # infinity less infinity
            gap = np.abs(one - other) / np.maximum(1.0, np.abs(other))
        gap[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
        worst = max(worst, float(np.nan_to_num(gap, nan=np.inf).max()))
    return worst


def _tried(session: Session, manifest: Manifest) -> tuple[Windows, Outputs, float]:
    """Noise that the model has different answers to, if there is any: them, and the seconds of a run.

    What a model was trained on is not known here, and far from it some answer 0 or 1 to everything.
    """
    tries = [_alone(session, manifest, _frames(manifest, *_NOISE[0]))]
    for noise in _NOISE[1:]:
        if _is_telling(tries[-1][1]):
            break
        try:
            tries.append(_alone(session, manifest, _frames(manifest, *noise)))
        except Exception:  # noqa: BLE001 - it is no fault to stumble over what may be nonsense
            break
    best = max(tries, key=lambda each: _different(each[1]))
    # A model that remembers may want to see more before it says anything; any other has an answer.
    if not manifest.state and not _different(best[1]):
        msg = f"none of its outputs for {_WINDOWS} windows of noise is a number"
        raise ProofError(msg)
    return best


def _is_telling(outputs: Outputs) -> bool:
    return _different(outputs) >= _WINDOWS // 2


def _different(outputs: Outputs) -> int:
    """Answers that are numbers and not the same."""
    return max(len(np.unique(column[np.isfinite(column)])) for column in outputs)


def _frames(manifest: Manifest, offset: float, scale: float) -> Floats:
    rng = np.random.default_rng(0)
    shape = (_WINDOWS, manifest.window, len(manifest.channels))
    frames = (offset + scale * rng.normal(size=shape)).astype(np.float32)
    if manifest.missing == "abstain":
        return frames
    seen = (rng.random(shape) < _SEEN).astype(np.float32)
    return np.concatenate((frames * seen, seen), axis=2)


def _alone(session: Session, manifest: Manifest, frames: Floats) -> tuple[Windows, Outputs, float]:
    """One by one, each with the state after the one before."""
    state = np.zeros((1, manifest.state), np.float32) if manifest.state else None
    states, rows, took_s = [], [], []
    for at in range(len(frames)):
        begun_s = time.perf_counter()
        row = session.run(1, frames[at : at + 1], state)
        took_s.append(time.perf_counter() - begun_s)
        _check(row, manifest)
        rows.append(row)
        if state is not None:
            states.append(state)
            state = row[-1].astype(np.float32)
    outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return Windows(frames, np.concatenate(states) if states else None), outputs, min(took_s)


def _together(session: Session, windows: Windows, size: int) -> tuple[Outputs | None, float]:
    """In runs of one size: outputs, None when a window's depend on its place or neighbours; and seconds of a run."""
    rng, runs = np.random.default_rng(size), max(2, -(-2 * _WINDOWS // size))
    # Each run has others: a score that depends on the mean of the batch is to be seen.
    order = rng.permutation(np.arange(runs * size) % _WINDOWS)
    rows, took_s = [], []
    for some in order.reshape(runs, size):
        state = None if windows.states is None else windows.states[some]
        begun_s = time.perf_counter()
        rows.append(session.run(size, windows.frames[some], state))
        took_s.append(time.perf_counter() - begun_s)
    outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
    first = np.array([int(np.argmax(order == at)) for at in range(_WINDOWS)])
    own = [column[first] for column in outputs]
    is_own = same([column[order] for column in own], outputs)
    return (own if is_own else None), min(took_s)


def same(some: Outputs, others: Outputs) -> bool:
    """Whether they are the same bits, but for kinds of NaN."""
    return all(_equal_bits(one, other) for one, other in zip(some, others, strict=True))


def _equal_bits(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """0 and -0 differ; all that is not a number is the same."""
    same = one.view(np.uint64) == other.view(np.uint64)
    return bool(np.all(same | (np.isnan(one) & np.isnan(other))))


def _check(row: Outputs, manifest: Manifest) -> None:
    """One window's outputs have the shapes that the manifest promises."""
    for (name, (_, *shape)), found in zip(expected_outputs(manifest).items(), row, strict=True):
        if found.shape != (1, *shape):
            msg = f"output {name!r} of one window is {list(found.shape)}, not {[1, *shape]}"
            raise ProofError(msg)
