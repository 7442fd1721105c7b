"""Windows to scores: in batches, and in rounds for a model that remembers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.errors import ModelFailedError
from edge_agent.core.model import Model, Scores
from edge_agent.core.rounds import rounds
from edge_agent.core.window import Windows
from models.manifest import PER_CHANNEL

Floats = NDArray[np.float64]
State = NDArray[np.float32]


class Scored(NamedTuple):
    """What came of n windows. NaN in all columns: that window has no score."""

    scores: Scores  # [n] and [n, channels]; its `state` is None
    is_scored: NDArray[np.bool_]  # [n]
    not_finite: int  # windows whose answer is no number
    failure: str  # why the model cannot go on, and what helps; empty = it can


def score(model: Model, windows: Windows, state: State, max_batch: int) -> Scored:
    """Score the windows that are whole, at most `max_batch` at once.

    state: float32 [assets, manifest.state], brought up to date in place. A window without a score, because values
    are missing in it or because the model's answer is not finite, leaves it as it is.
    """
    manifest, n = model.manifest, len(windows.asset)
    fields: dict[str, Floats] = {name: np.full(n, np.nan) for name in manifest.outputs if name not in PER_CHANNEL}
    shares = {name: np.full((n, len(manifest.channels)), np.nan) for name in PER_CHANNEL if name in manifest.outputs}
    is_scored, not_finite, failure = np.zeros(n, bool), 0, ""
    whole = np.flatnonzero(windows.is_whole)
    remembers = manifest.state > 0
    every = rounds(windows.asset[whole]) if remembers else (np.arange(len(whole)),)
    for some in (rows[begin : begin + max_batch] for rows in every for begin in range(0, len(rows), max_batch)):
        asset = windows.asset[whole[some]]
        try:
            found = model.score(windows.frames[some], state[asset] if remembers else None)
        except ModelFailedError as error:
            failure = str(error)
            break
        good = np.isfinite(list(found.fields.values())).all(axis=0)
        if found.state is not None:
            good &= np.isfinite(found.state).all(axis=1)
            state[asset[good]] = found.state[good]
        rows = whole[some][good]
        is_scored[rows] = True
        not_finite += len(some) - len(rows)
        for name, column in fields.items():
            column[rows] = found.fields[name][good]
        for name, share in shares.items():
            given = found.contribution if name == "contribution" else found.direction
            if given is not None:
                share[rows] = given[good]
    return Scored(Scores(fields, shares.get("contribution"), shares.get("direction")), is_scored, not_finite, failure)
