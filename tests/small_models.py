"""Small graphs with random weights, well-behaved and not, as bundles."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from models.bundle import Bundle, Channel, Manifest, pack_bundle
from models.manifest import MODEL, Threshold
from models.training.graph import IR_VERSION, OPSET, Graph, to_bytes


def manifest(name: str, window: int, channels: int, **more: Any) -> Manifest:
    content: dict[str, Any] = {
        "name": name,
        "version": "1",
        "kind": "anomaly",
        "channels": tuple(Channel(name=f"c{number}") for number in range(channels)),
        "sample_period_s": 1.0,
        "window": window,
        "outputs": ("anomaly_score",),
        "threshold": Threshold(output="anomaly_score", open_at=1.0, close_at=0.7),
        "trained_on": "nothing",
    }
    return Manifest.model_validate(content | more)


def dense(window: int = 64, channels: int = 8, hidden: Sequence[int] = (128, 16, 128), seed: int = 0) -> Bundle:
    """An auto-encoder of dense layers: the score is its error, each channel's share goes with it."""
    graph, rng, size = Graph(), np.random.default_rng(seed), window * channels
    flat = at = graph.add("Reshape", "window", graph.constant([-1, size], np.int64))
    sizes = [size, *hidden, size]
    for layer, (given, wanted) in enumerate(pairwise(sizes)):
        weights = graph.constant(rng.normal(size=(given, wanted)) / np.sqrt(given))
        at = graph.add("Gemm", at, weights, graph.constant(rng.normal(size=wanted)))
        if layer < len(sizes) - 2:
            at = graph.add("Relu", at)
    error = graph.add("Pow", graph.add("Sub", at, flat), graph.constant(2.0))
    by_channel = graph.add("Reshape", error, graph.constant([-1, window, channels], np.int64))
    shares = graph.add("ReduceSum", by_channel, graph.constant([1], np.int64), keepdims=0)
    whole = graph.add("ReduceSum", shares, graph.constant([1], np.int64), keepdims=1)
    graph.add("Div", whole, graph.constant(size), to="anomaly_score")
    graph.add("Div", shares, whole, to="contribution")
    model = graph.model(
        "dense",
        ("window", ("batch", window, channels)),
        {"anomaly_score": ("batch", 1), "contribution": ("batch", channels)},
    )
    about = manifest(f"dense-{seed}", window, channels, outputs=("anomaly_score", "contribution"))
    return pack_bundle(about, to_bytes(model))


def convolutional(window: int = 256, channels: int = 8, filters: Sequence[int] = (32, 64, 64), seed: int = 0) -> Bundle:
    """Strided convolutions along time, a mean, one number."""
    graph, rng, given = Graph(), np.random.default_rng(seed), channels
    at = graph.add("Transpose", "window", perm=[0, 2, 1])
    for count in filters:
        kernel = graph.constant(rng.normal(size=(count, given, 5)) / np.sqrt(5 * given))
        at = graph.add("Relu", graph.add("Conv", at, kernel, kernel_shape=[5], strides=[2], pads=[2, 2]))
        given = count
    mean = graph.add("ReduceMean", at, axes=[2], keepdims=0)
    graph.add("Gemm", mean, graph.constant(rng.normal(size=(given, 1))), to="anomaly_score")
    model = graph.model("conv", ("window", ("batch", window, channels)), {"anomaly_score": ("batch", 1)})
    return pack_bundle(manifest(f"conv-{seed}", window, channels), to_bytes(model))


def remembering(state: int = 3) -> Bundle:
    """The score is how far the window's mean lies from the state, which follows it by a half each time."""
    graph = Graph()
    mean = graph.add("ReduceMean", "window", axes=[1, 2], keepdims=0)
    column = graph.add("Reshape", mean, graph.constant([-1, 1], np.int64))
    gap = graph.add("Sub", column, "state")
    graph.add("Add", "state", graph.add("Mul", gap, graph.constant(0.5)), to="state_next")
    graph.add("ReduceMax", graph.add("Abs", gap), axes=[1], keepdims=1, to="anomaly_score")
    model = graph.model(
        "remembering",
        ("window", ("batch", 4, 2)),
        {"anomaly_score": ("batch", 1), "state_next": ("batch", state)},
        {"state": ("batch", state)},
    )
    return pack_bundle(manifest("remembering", 4, 2, state=state), to_bytes(model))


def rows(size: int = 33) -> Bundle:
    """Windows are the rows of one matrix, whose last bits depend on how many there are."""
    graph, rng = Graph(), np.random.default_rng(1)
    mean = graph.add("ReduceMean", "window", axes=[1], keepdims=0)
    mixed = graph.add("MatMul", mean, graph.constant(rng.normal(size=(size, size))))
    graph.add(
        "ReduceSum", graph.add("Mul", mixed, mixed), graph.constant([1], np.int64), to="anomaly_score", keepdims=1
    )
    model = graph.model("rows", ("window", ("batch", 4, size)), {"anomaly_score": ("batch", 1)})
    return pack_bundle(manifest("rows", 4, size), to_bytes(model))


def neighbours() -> Bundle:
    """A score is the window's mean against that of the batch: nobody can prove that it is its own."""
    graph = Graph()
    mean = graph.add("ReduceMean", "window", axes=[1, 2], keepdims=0)
    column = graph.add("Reshape", mean, graph.constant([-1, 1], np.int64))
    graph.add("Sub", column, graph.add("ReduceMean", mean, axes=[0], keepdims=1), to="anomaly_score")
    model = graph.model("neighbours", ("window", ("batch", 4, 2)), {"anomaly_score": ("batch", 1)})
    return pack_bundle(manifest("neighbours", 4, 2), to_bytes(model))


def root() -> Bundle:
    """The square root of the sum: no number where that is negative."""
    return _of_mean("root", lambda graph, mean: graph.add("Sqrt", mean, to="anomaly_score"))


def nothing() -> Bundle:
    """Never a number."""
    return _of_mean("nothing", lambda graph, mean: graph.add("Add", mean, graph.constant(np.nan), to="anomaly_score"))


def narrow() -> Bundle:
    """Fails for more than two windows at once."""
    graph = Graph()
    mean = graph.add("ReduceMean", "window", axes=[1, 2], keepdims=0)
    count = graph.add("Shape", mean)
    index = graph.add("Sub", count, graph.constant([1], np.int64))
    zero = graph.add("Gather", graph.constant([0.0, 0.0]), index)
    graph.add("Add", graph.add("Reshape", mean, graph.constant([-1, 1], np.int64)), zero, to="anomaly_score")
    model = graph.model("narrow", ("window", ("batch", 4, 2)), {"anomaly_score": ("batch", 1)})
    return pack_bundle(manifest("narrow", 4, 2), to_bytes(model))


def mean(window: int, channels: int) -> Bundle:
    """The mean of the window."""
    graph = Graph()
    at = graph.add("ReduceMean", "window", axes=[1, 2], keepdims=0)
    graph.add("Reshape", at, graph.constant([-1, 1], np.int64), to="anomaly_score")
    model = graph.model("mean", ("window", ("batch", window, channels)), {"anomaly_score": ("batch", 1)})
    return pack_bundle(manifest("mean", window, channels), to_bytes(model))


def saturated(at: float) -> Bundle:
    """How far the mean is from `at`, at most 20."""

    def add(graph: Graph, mean: str) -> None:
        gap = graph.add("Sub", mean, graph.constant(at))
        graph.add("Clip", gap, graph.constant(-20), graph.constant(20), to="anomaly_score")

    return _of_mean("saturated", add)


def picking(below: float) -> Bundle:
    """Works as long as the mean of no window reaches `below`: then it reaches behind its table, and the run fails."""

    def add(graph: Graph, mean: str) -> None:
        beyond = graph.add("GreaterOrEqual", mean, graph.constant(below))
        index = graph.add("Where", beyond, graph.constant(7, np.int64), graph.constant(0, np.int64))
        graph.add("Gather", graph.constant([0.5]), index, to="anomaly_score")

    return _of_mean("picking", add)


def growing(values: float) -> Bundle:
    """Makes so many values of each window, whose sum is no more than the mean."""

    def add(graph: Graph, mean: str) -> None:
        count = graph.add(
            "Add",
            graph.add("Mul", graph.add("ReduceMax", "window", keepdims=0), graph.constant(0.0)),
            graph.constant(values),
        )
        many = graph.add("Range", graph.constant(0.0), count, graph.constant(1.0))
        none = graph.add("Mul", graph.add("ReduceSum", many, keepdims=0), graph.constant(0.0))
        graph.add("Add", mean, none, to="anomaly_score")

    return _of_mean("growing", add)


def _of_mean(name: str, add: Any) -> Bundle:
    graph = Graph()
    mean = graph.add("ReduceMean", "window", axes=[1, 2], keepdims=0)
    add(graph, graph.add("Reshape", mean, graph.constant([-1, 1], np.int64)))
    model = graph.model(name, ("window", ("batch", 4, 2)), {"anomaly_score": ("batch", 1)})
    return pack_bundle(manifest(name, 4, 2), to_bytes(model))


def hanging(below: float) -> Bundle:
    """Never ends once the largest value of a batch reaches `below`: a loop, which no check of a bundle lets through."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes_on"], ["still"]), helper.make_node("Identity", ["value"], ["next"])],
        "round",
        [_end("number", TensorProto.INT64, []), _end("goes_on", TensorProto.BOOL, []), _end("value", 1, ["batch", 1])],
        [_end("still", TensorProto.BOOL, []), _end("next", 1, ["batch", 1])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["window"], ["largest"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["largest", "below"], ["beyond"]),
        helper.make_node("Cast", ["beyond"], ["once"], to=TensorProto.INT64),
        helper.make_node("Mul", ["once", "rounds"], ["trips"]),
        helper.make_node("ReduceMean", ["window"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["column"]),
        helper.make_node("Loop", ["trips", "", "column"], ["anomaly_score"], body=body),
    ]
    constants = {"below": np.float32(below), "rounds": np.int64(2**40), "axis": np.array([1], np.int64)}
    graph = helper.make_graph(
        nodes,
        "hanging",
        [_end("window", 1, ["batch", 4, 2])],
        [_end("anomaly_score", 1, ["batch", 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    return Bundle(manifest("hanging", 4, 2), b"hanging", {MODEL: to_bytes(model)})


def unknown() -> Bundle:
    """An operator that ONNX Runtime does not have."""
    graph = helper.make_graph(
        [helper.make_node("Divine", ["window"], ["anomaly_score"], domain="ai.onnx.ml")],
        "unknown",
        [_end("window", 1, ["batch", 4, 2])],
        [_end("anomaly_score", 1, ["batch", 1])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = IR_VERSION
    return Bundle(manifest("unknown", 4, 2), b"unknown", {MODEL: to_bytes(model)})


def _end(name: str, kind: int, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def windows(bundle: Bundle, n: int, seed: int = 2) -> np.ndarray:
    """float32 [n, window, width] of noise."""
    shape = (n, bundle.manifest.window, bundle.manifest.width)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
