"""A fitted model of remaining life as an ONNX graph and as a bundle."""

from collections.abc import Sequence
from pathlib import Path

from models.bundle import Bundle, Channel, Manifest, Threshold, write_bundle
from models.manifest import Output
from models.training.failure.base import FailureModel
from models.training.graph import Graph, to_bytes

OUTPUTS: tuple[Output, ...] = ("rul_h", "rul_low_h", "rul_high_h", "failure_prob", "health")
_HOUR_S = 3600.0
_SEVERITY = 0.8  # of the alarm: it is told in time, but what follows costs a machine


def to_onnx(model: FailureModel) -> bytes:
    """`window` float32 [batch, W, kept channels] to the five outputs, [batch, 1] each, as `FailureModel.build` says."""
    graph = Graph()
    for name, found in model.build(graph, "window").items():
        graph.add("Identity", found, to=name)
    given = ("window", ("batch", model.window, len(model.kept)))
    return to_bytes(graph.model("failure", given, dict.fromkeys(OUTPUTS, ("batch", 1))))


def write_failure_bundle(
    path: Path,
    model: FailureModel,
    channels: Sequence[Channel],
    *,
    name: str,
    version: str,
    trained_on: str,
) -> Bundle:
    """Write the model as a bundle, which takes only the channels that it kept.

    The alarm opens when three windows in a row say that less than the horizon is left, and closes when five in a row
    say that it is a third more.

    Args:
        path: the file.
        model: fitted.
        channels: all of the units' that it was fitted on, in their order.
        name: in results.
        version: likewise.
        trained_on: in one line.
    """
    manifest = Manifest(
        name=name,
        version=version,
        kind="failure",
        channels=tuple(channels[at] for at in model.kept),
        sample_period_s=model.hours_per_row * _HOUR_S,
        window=model.window,
        outputs=OUTPUTS,
        threshold=Threshold(
            output="rul_h",
            above=False,
            open_at=model.horizon_h,
            close_at=model.horizon_h * 4 / 3,
            open_after=3,
            close_after=5,
            severity=_SEVERITY,
        ),
        trained_on=trained_on,
        evaluation=model.held_out,
    )
    return write_bundle(path, manifest, to_onnx(model))
