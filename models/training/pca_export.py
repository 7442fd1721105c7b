"""A fitted PCA model as an ONNX graph and as a bundle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.bundle import Channel, Manifest, Threshold, write_bundle
from models.training.graph import Graph, to_bytes
from models.training.pca import TINY, Floats, PcaModel, sliding


def to_onnx(model: PcaModel) -> bytes:
    """`window` float32 [batch, window, channels] to anomaly_score, health [batch, 1] and contribution [batch, C].

    C is the number of channels. Numbers follow `PcaModel.score`, in float32. Each window is a column of its own,
    [C, C] by [C, 1], never a row of a larger matrix: ONNX Runtime adds up the rows of a matrix in an order that
    depends on how many there are, and a window's score must not depend on its neighbours in a batch.
    """
    channels = len(model.mean)
    graph = Graph()
    # The mean is taken away before anything is added up: float32 keeps the small changes of a large level.
    centred = graph.add("Sub", "window", graph.constant(model.mean))
    mean = graph.add("MatMul", graph.constant(np.full((1, model.window), 1 / model.window)), centred)  # [batch, 1, C]
    z = graph.add("Reshape", graph.add("Div", mean, graph.constant(model.scale)), graph.constant([0, -1, 1], np.int64))
    whiten = (model.components / np.sqrt(model.variances)) @ model.components.T
    off_plane = np.eye(channels) - model.components @ model.components.T
    ones = graph.constant(np.ones((1, channels)))
    squares = []
    for matrix, limit in ((whiten, model.t2_limit), (off_plane, model.q_limit)):
        part = graph.add("MatMul", graph.constant(matrix.T), z)
        squares.append(graph.add("Div", graph.add("Mul", part, part), graph.constant(limit)))
    t2, q = (graph.add("MatMul", ones, square) for square in squares)
    flat = graph.constant([0, -1], np.int64)
    score = graph.add("Reshape", graph.add("Max", t2, q), flat, to="anomaly_score")
    worse = graph.add("Add", graph.add("Mul", score, score), graph.constant(1.0))
    graph.add("Div", graph.constant(100.0), worse, to="health")
    shares = graph.add("Add", graph.add("Add", *squares), graph.constant(TINY))
    share = graph.add("Div", shares, graph.add("MatMul", ones, shares))
    graph.add("Reshape", share, flat, to="contribution")
    single: tuple[int | str, ...] = ("batch", 1)
    outputs = {"anomaly_score": single, "health": single, "contribution": ("batch", channels)}
    return to_bytes(graph.model("pca", ("window", ("batch", model.window, channels)), outputs))


def write_pca_bundle(
    path: Path,
    model: PcaModel,
    frames: Floats,
    channels: Sequence[Channel],
    *,
    name: str,
    version: str,
    sample_period_s: float,
    trained_on: str,
) -> Manifest:
    """Write the model, fitted on `frames` [n, channels], as a bundle; the manifest has its digest.

    The alarm opens after three windows beyond the limit in a row and closes after five below 0.7 of it.
    """
    score = model.score(sliding(frames, model.window)).anomaly_score
    manifest = Manifest(
        name=name,
        version=version,
        kind="anomaly",
        channels=tuple(channels),
        sample_period_s=sample_period_s,
        window=model.window,
        stride=1,
        digest="",
        outputs=("anomaly_score", "health", "contribution"),
        threshold=Threshold(
            output="anomaly_score", open_at=1.0, close_at=0.7, open_after=3, close_after=5, severity=0.5
        ),
        trained_on=trained_on,
        evaluation={
            "training_windows": float(len(score)),
            "training_false_alarm_fraction": float((score > 1).mean()),
            "components": float(len(model.variances)),
        },
    )
    return write_bundle(path, manifest, to_onnx(model))
