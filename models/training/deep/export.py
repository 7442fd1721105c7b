"""A trained network as nodes of an ONNX graph, layer by layer.

A window's result has the same bits alone and in any batch on a CPU: ONNX Runtime runs convolutions and products of
stacked matrices window by window, and `Gemm` with a constant, transposed weight adds up each row in one order, however
many rows there are. `MatMul` of a row matrix does not; it is not used.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.training.deep.layers import Attention, Beside, ChannelNorm, Last, Layer, Residual, Turn
from models.training.graph import Graph


def to_graph(layers: Iterable[Layer], graph: Graph, given: str) -> str:
    """Append the layers to the graph as they behave after `eval()`; returns the name of their result.

    Args:
        layers: a `torch.nn.Sequential` or a list. Of PyTorch: Linear (on [batch, features]), Conv1d and ConvTranspose1d
            (any stride, dilation, groups and padding by a number), AvgPool1d, ReLU, SiLU, Flatten, Unflatten, Dropout,
            Dropout1d and Sequential; and those of `models.training.deep.layers`.
        graph: takes the nodes.
        given: name of a float32 tensor, [batch, channels, time] or [batch, features].

    Raises:
        TypeError: a layer, or a setting of one, that is not in this list.
    """
    for layer in layers:
        write = _WRITERS.get(type(layer))
        if write is None:
            allowed = ", ".join(sorted(each.__name__ for each in _WRITERS))
            msg = f"{type(layer).__name__} cannot be exported; allowed: {allowed}"
            raise TypeError(msg)
        given = write(layer, graph, given)
    return given


def _array(tensor: Layer) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return found


def _weights(layer: Layer, graph: Graph) -> list[str]:
    weights = [each for each in (layer.weight, layer.bias) if each is not None]
    return [graph.constant(_array(each)) for each in weights]


def _linear(layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Gemm", given, *_weights(layer, graph), transB=1)


def _window(layer: Layer) -> dict[str, Any]:
    """Kernel, stride and padding, which PyTorch keeps as a number or a tuple of one."""
    kernel, stride, padding = (int(np.ravel(each)[0]) for each in (layer.kernel_size, layer.stride, layer.padding))
    return {"kernel_shape": [kernel], "strides": [stride], "pads": [padding, padding]}


def _convolve(layer: Layer, graph: Graph, given: str) -> str:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        msg = f"{layer}: only padding with zeros, by a number, can be exported"
        raise TypeError(msg)
    window = {**_window(layer), "dilations": list(layer.dilation), "group": layer.groups}
    operator = "Conv"
    if isinstance(layer, nn.ConvTranspose1d):
        operator = "ConvTranspose"
        window["output_padding"] = list(layer.output_padding)
    return graph.add(operator, given, *_weights(layer, graph), **window)


def _channel_norm(layer: Layer, graph: Graph, given: str) -> str:
    weights = _weights(layer, graph)
    turned = graph.add("Transpose", given, perm=[0, 2, 1])
    normal = graph.add("LayerNormalization", turned, *weights, axis=-1, epsilon=layer.eps)
    return graph.add("Transpose", normal, perm=[0, 2, 1])


def _relu(_layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Relu", given)


def _silu(_layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Mul", given, graph.add("Sigmoid", given))


def _average(layer: Layer, graph: Graph, given: str) -> str:
    if layer.ceil_mode:
        msg = f"{layer}: pooling with ceil_mode cannot be exported"
        raise TypeError(msg)
    return graph.add("AveragePool", given, **_window(layer), count_include_pad=int(layer.count_include_pad))


def _flatten(_layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Flatten", given, axis=1)


def _unflatten(layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Reshape", given, graph.constant([0, *layer.unflattened_size], np.int64))


def _last(_layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Gather", given, graph.constant(-1, np.int64), axis=2)


def _attention(layer: Layer, graph: Graph, given: str) -> str:
    heads, width = layer.heads, layer.join.in_channels // layer.heads
    split = graph.constant([0, 3, heads, width, -1], np.int64)
    mixed = graph.add("Reshape", _convolve(layer.mix, graph, given), split)
    query, key, value = (graph.add("Gather", mixed, graph.constant(at, np.int64), axis=1) for at in range(3))
    turned = graph.add("Transpose", query, perm=[0, 1, 3, 2])
    near = graph.add("Div", graph.add("MatMul", turned, key), graph.constant(width**0.5))
    weight = graph.add("Transpose", graph.add("Softmax", near, axis=-1), perm=[0, 1, 3, 2])
    joined = graph.constant([0, heads * width, -1], np.int64)
    return _convolve(layer.join, graph, graph.add("Reshape", graph.add("MatMul", value, weight), joined))


def _residual(layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Add", given, to_graph(layer, graph, given))


def _turn(_layer: Layer, graph: Graph, given: str) -> str:
    return graph.add("Transpose", given, perm=[0, 2, 1])


def _beside(layer: Layer, graph: Graph, given: str) -> str:
    start, cut, end, axis = (graph.constant([at], np.int64) for at in (0, layer.count, np.iinfo(np.int64).max, 1))
    first = to_graph(layer, graph, graph.add("Slice", given, start, cut, axis))
    return graph.add("Concat", first, graph.add("Slice", given, cut, end, axis), axis=1)


def _nothing(_layer: Layer, _graph: Graph, given: str) -> str:
    return given


_WRITERS: Mapping[type[Layer], Callable[[Layer, Graph, str], str]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolve,
    nn.ConvTranspose1d: _convolve,
    nn.ReLU: _relu,
    nn.SiLU: _silu,
    nn.AvgPool1d: _average,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.Dropout: _nothing,
    nn.Dropout1d: _nothing,
    nn.Sequential: to_graph,
    Residual: _residual,
    ChannelNorm: _channel_norm,
    Attention: _attention,
    Last: _last,
    Turn: _turn,
    Beside: _beside,
}
