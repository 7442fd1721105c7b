"""A fitted quality model as an ONNX graph and as a bundle."""

from collections.abc import Sequence
from pathlib import Path

from models.bundle import Bundle, Channel, Manifest, Threshold, write_bundle
from models.training.graph import Graph, to_bytes
from models.training.quality.base import QualityModel

_CLEARLY = 5.0  # points of quality above the alarm limit at which the alarm closes
_SEVERITY = 0.5  # of the alarm


def to_onnx(model: QualityModel) -> bytes:
    """`window` float32 [batch, window, C] to quality_score [batch, 1], contribution and direction [batch, C].

    Numbers follow `QualityModel.score`, but where float32 puts a mean of frames on the other side of a split.
    """
    graph, channels = Graph(), len(model.advice.reference)
    outputs: dict[str, Sequence[int | str]] = {
        "quality_score": ("batch", 1),
        "contribution": ("batch", channels),
        "direction": ("batch", channels),
    }
    for name, found in zip(outputs, model.build(graph, "window"), strict=True):
        graph.add("Identity", found, to=name)
    return to_bytes(graph.model("quality", ("window", ("batch", model.window, channels)), outputs))


def write_quality_bundle(
    path: Path,
    model: QualityModel,
    channels: Sequence[Channel],
    *,
    name: str,
    version: str,
    sample_period_s: float,
    trained_on: str,
) -> Bundle:
    """Write the model as a bundle, with its held-out figures.

    The alarm opens with the first product below the limit and closes with the first that is clearly above.
    """
    manifest = Manifest(
        name=name,
        version=version,
        kind="quality",
        channels=tuple(channels),
        sample_period_s=sample_period_s,
        window=model.window,
        outputs=("quality_score", "contribution", "direction"),
        threshold=Threshold(
            output="quality_score",
            above=False,
            open_at=model.alarm_below,
            close_at=min(100.0, model.alarm_below + _CLEARLY),
            severity=_SEVERITY,
        ),
        trained_on=trained_on,
        evaluation=model.held_out,
    )
    return write_bundle(path, manifest, to_onnx(model))
