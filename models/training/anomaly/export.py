"""A calibrated anomaly model as an ONNX graph and as a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.bundle import Bundle, Channel, Manifest, Threshold, write_bundle
from models.training.anomaly.base import AnomalyModel, Floats
from models.training.anomaly.calibrate import Calibration
from models.training.graph import Graph, to_bytes

_SEVERITY = 0.5  # of the alarm


class Scores(NamedTuple):
    """float64 [batch]; contribution [batch, channels], each row summing to 1."""

    anomaly_score: Floats
    health: Floats
    contribution: Floats


def score(model: AnomalyModel, limit: float, windows: Floats) -> Scores:
    """The reference of the graph: `anomaly_score` is 1 at the alarm limit, `health` 50 there and 100 far below."""
    raw, shares = model.raw(windows)
    anomaly = raw / limit
    return Scores(anomaly, 100 / (1 + anomaly**2), shares)


def to_onnx(model: AnomalyModel, limit: float, channels: int) -> bytes:
    """`window` float32 [batch, window, channels] to anomaly_score, health [batch, 1], contribution [batch, channels].

    A model with state also takes `state` and gives `state_next`, both [batch, state], which its own `build` names.
    """
    graph = Graph()
    raw, shares = model.build(graph, "window")
    anomaly = graph.add("Div", raw, graph.constant(limit), to="anomaly_score")
    worse = graph.add("Add", graph.add("Mul", anomaly, anomaly), graph.constant(1.0))
    graph.add("Div", graph.constant(100.0), worse, to="health")
    graph.add("Identity", shares, to="contribution")
    single: tuple[int | str, ...] = ("batch", 1)
    given = ("window", ("batch", model.window, channels))
    outputs = {"anomaly_score": single, "health": single, "contribution": ("batch", channels)}
    if not model.state:
        return to_bytes(graph.model("anomaly", given, outputs))
    state = ("batch", model.state)
    return to_bytes(graph.model("anomaly", given, {**outputs, "state_next": state}, {"state": state}))


def write_anomaly_bundle(
    path: Path,
    model: AnomalyModel,
    calibration: Calibration,
    channels: Sequence[Channel],
    *,
    name: str,
    version: str,
    sample_period_s: float,
    trained_on: str,
) -> Bundle:
    """Write the model with its limit as a bundle, and what the calibration expects of it."""
    manifest = Manifest(
        name=name,
        version=version,
        kind="anomaly",
        channels=tuple(channels),
        sample_period_s=sample_period_s,
        window=model.window,
        state=model.state,
        outputs=("anomaly_score", "health", "contribution"),
        threshold=Threshold(
            output="anomaly_score",
            open_at=1.0,
            close_at=calibration.close_at,
            open_after=calibration.open_after,
            close_after=calibration.close_after,
            severity=_SEVERITY,
        ),
        trained_on=trained_on,
        evaluation={
            "false_alarms_per_week_asked_for": calibration.alarms_per_week,
            "false_alarms_per_week_at_most": calibration.at_most_per_week,
            "calibration_weeks": calibration.held_out_weeks,
            "calibration_blocks": float(calibration.held_out_blocks),
        },
    )
    return write_bundle(path, manifest, to_onnx(model, calibration.limit, len(channels)))
