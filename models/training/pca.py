"""Principal-component anomaly detection: Hotelling's T² inside the model plane, Q (SPE) off it.

Jackson & Mudholkar (1979), Control Procedures for Residuals Associated With Principal Component Analysis,
Technometrics 21(3). Contributions: the complete decomposition of Alcala & Qin (2009), Automatica 45(7),
which is never negative and sums to the statistic.

A window is reduced to its mean over time: this smooths noise and delays a step by up to a window. The
papers' limits suppose independent Gaussian rows; machines give neither, so limits are taken from the
training windows themselves: an upper quantile, times a margin for the tail that was not seen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.table import DataError

Floats = NDArray[np.float64]

_SMALLEST_VARIANCE = 1e-6  # of a standardised direction; below it there is only rounding
_SMALLEST_Q = 1e-3  # per channel: a residual of 3 % of a standard deviation is never an alarm
_CONSTANT = 1e-6  # a spread below this share of the level is no spread
TINY = 1e-9  # shares stay defined for a frame that sits exactly on the mean


class Scores(NamedTuple):
    """float64 [batch]; contribution [batch, channels], each row summing to 1."""

    anomaly_score: Floats
    health: Floats
    contribution: Floats


class PcaModel(NamedTuple):
    """A fitted model. Channels C, kept components K; means and scales in the channels' units."""

    window: int
    mean: Floats  # [C]
    scale: Floats  # [C]
    components: Floats  # [C, K], orthonormal columns
    variances: Floats  # [K]
    t2_limit: float
    q_limit: float

    def statistics(self, windows: Floats) -> tuple[Floats, Floats]:
        """T² and Q, each [batch], of windows [batch, window, channels]."""
        z, t = self._project(windows)
        residual = z - t @ self.components.T
        return (t**2 / self.variances).sum(1), (residual**2).sum(1)

    def score(self, windows: Floats) -> Scores:
        """The reference of the ONNX graph: `anomaly_score` is 1 at the alarm limit, `health` 50 there."""
        z, t = self._project(windows)
        plane = (t / np.sqrt(self.variances)) @ self.components.T
        residual = z - t @ self.components.T
        shares = plane**2 / self.t2_limit + residual**2 / self.q_limit + TINY
        t2, q = (plane**2).sum(1), (residual**2).sum(1)
        anomaly = np.maximum(t2 / self.t2_limit, q / self.q_limit)
        return Scores(anomaly, 100 / (1 + anomaly**2), shares / shares.sum(1, keepdims=True))

    def _project(self, windows: Floats) -> tuple[Floats, Floats]:
        z = (windows - self.mean).mean(1) / self.scale
        return z, z @ self.components


def fit_pca(
    frames: Floats,
    *,
    window: int = 1,
    explained: float = 0.9,
    false_alarm_fraction: float = 0.001,
    margin: float = 4.0,
) -> PcaModel:
    """Fit on normal frames, oldest first.

    Args:
        frames: [n, channels], finite. A channel that never moves is scaled by 1 % of its level (by 1 at level 0),
            so that it alarms when it begins to move.
        window: frames per window; the model sees the mean over each.
        explained: keep the fewest components that explain this share of the variance.
        false_alarm_fraction: this share of training windows may lie above a limit before the margin.
        margin: factor on both limits. They are squared distances: 4 allows twice the distance seen in training.

    Raises:
        DataError: a value that is not finite, too few frames, or nothing that moves.
    """
    if frames.ndim != 2 or len(frames) < window + 2:
        msg = f"frames {frames.shape}: [n, channels] with at least {window + 2} rows are needed for window {window}"
        raise DataError(msg)
    if not np.isfinite(frames).all():
        row, channel = np.argwhere(~np.isfinite(frames))[0]
        msg = f"frames: row {row}, channel {channel} is {frames[row, channel]}; finite numbers are needed"
        raise DataError(msg)
    if not (0 < explained <= 1 and 0 <= false_alarm_fraction < 1 and margin > 0):
        msg = "allowed: explained in (0, 1], false_alarm_fraction in [0, 1), margin above 0"
        raise DataError(msg)
    means = sliding(frames, window).mean(1)
    mean, spread = means.mean(0), means.std(0, ddof=1)
    moves = spread > _CONSTANT * np.abs(mean)
    if not moves.any():
        msg = "frames: no channel moves; there is nothing to learn"
        raise DataError(msg)
    level = np.where(mean == 0, 1.0, 0.01 * np.abs(mean))
    scale = np.where(moves, spread, level)
    z = (means - mean) / scale
    _, singular, rows = np.linalg.svd(z, full_matrices=False)
    variances = singular**2 / (len(z) - 1)
    enough = int(np.searchsorted(np.cumsum(variances) / variances.sum(), explained - 1e-12)) + 1
    kept = min(enough, int((variances > _SMALLEST_VARIANCE).sum()))
    model = PcaModel(window, mean, scale, rows[:kept].T, variances[:kept], 1.0, 1.0)
    t2, q = model.statistics(means[:, None])
    quantile = 1 - false_alarm_fraction
    return model._replace(
        t2_limit=margin * float(np.quantile(t2, quantile)),
        q_limit=max(margin * float(np.quantile(q, quantile)), _SMALLEST_Q * frames.shape[1]),
    )


def sliding(frames: Floats, window: int) -> Floats:
    """Every window of the frames, [n - window + 1, window, channels], oldest frame first; a view."""
    return np.lib.stride_tricks.sliding_window_view(frames, window, axis=0).transpose(0, 2, 1)
