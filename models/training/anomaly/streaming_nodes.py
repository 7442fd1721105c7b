"""ONNX nodes over [batch, channels, …] that the parts of the streaming detector share."""

from collections.abc import Sequence

import numpy as np

from models.training.graph import Graph


def lowest(graph: Graph, values: str) -> str:
    """Along the last of three axes."""
    return graph.add("ReduceMin", values, axes=[2], keepdims=1)


def highest(graph: Graph, values: str) -> str:
    """Along the last of three axes."""
    return graph.add("ReduceMax", values, axes=[2], keepdims=1)


def split(graph: Graph, values: str, widths: Sequence[int]) -> list[str]:
    """Parts of the last of three axes."""

    def at(row: int) -> str:
        return graph.constant([row], np.int64)

    ends = np.cumsum(widths).tolist()
    return [
        graph.add("Slice", values, at(end - width), at(end), at(2)) for width, end in zip(widths, ends, strict=True)
    ]


def shaped(graph: Graph, values: str, shape: Sequence[int]) -> str:
    """Of another shape; 0 keeps an axis, -1 takes what is left."""
    return graph.add("Reshape", values, graph.constant(shape, np.int64))
