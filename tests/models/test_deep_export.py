"""Layers of PyTorch written as ONNX, against PyTorch itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.training.graph import Graph, to_bytes

pytestmark = pytest.mark.deep
_CHANNELS, _TIME, _BATCHES = 6, 20, (1, 2, 3, 7, 32, 33, 256)


def _layers() -> dict[str, Callable[[], list[Any]]]:
    """Each takes [batch, 6, 20]."""
    from torch import nn

    from models.training.deep.layers import Attention, Beside, ChannelNorm, Last, Residual, Turn

    return {
        "linear": lambda: [nn.Flatten(), nn.Linear(120, 33), nn.ReLU(), nn.Linear(33, 1, bias=False), nn.Dropout(0.5)],
        "one row after all": lambda: [Last(), nn.Linear(6, 1)],
        "strided convolution": lambda: [nn.Dropout1d(0.5), nn.Conv1d(6, 8, 5, stride=2, padding=2), nn.SiLU()],
        "dilated convolution": lambda: [nn.Conv1d(6, 8, 3, dilation=4), nn.SiLU()],
        "grouped convolution": lambda: [nn.Conv1d(6, 12, 3, groups=6, bias=False), nn.ReLU()],
        "transposed convolution": lambda: [nn.ConvTranspose1d(6, 3, 4, stride=2, padding=1), nn.SiLU()],
        "odd transposed convolution": lambda: [nn.ConvTranspose1d(6, 3, 3, 2, padding=1, output_padding=1)],
        "channel norm": lambda: [ChannelNorm(6)],
        "means": lambda: [nn.AvgPool1d(3, stride=2, padding=1), nn.AvgPool1d(4, padding=2, count_include_pad=False)],
        "shapes": lambda: [Turn(), nn.Flatten(), nn.Linear(120, 12), nn.Unflatten(1, (3, 4))],
        "beside": lambda: [nn.Flatten(), Beside(100, nn.Linear(100, 7), nn.SiLU()), nn.Linear(27, 2)],
        "attention": lambda: [Attention(6, 3)],
        "residual": lambda: [Residual(ChannelNorm(6), Attention(6, 2)), nn.Sequential(nn.Conv1d(6, 2, 1), nn.ReLU())],
    }


def _network(layers: list[Any]) -> Any:
    """No weight is what it was at first: norms and biases begin at 0 and 1, which would hide what is left out."""
    import torch

    network = torch.nn.Sequential(*layers)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return network.eval()


def _session(network: Any) -> Any:
    import onnxruntime
    import torch

    from models.training.deep.export import to_graph

    graph = Graph()
    graph.add("Identity", to_graph(network, graph, "window"), to="result")
    shape = network(torch.zeros(2, _CHANNELS, _TIME)).shape[1:]
    given = ("window", ("batch", _CHANNELS, _TIME))
    model = to_bytes(graph.model("layers", given, {"result": ("batch", *shape)}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _names() -> list[str]:
    return [
        *("linear", "one row after all", "strided convolution", "dilated convolution", "grouped convolution"),
        *("transposed convolution", "odd transposed convolution", "channel norm", "means", "shapes", "beside"),
        *("attention", "residual"),
    ]


def test_each_network_here_has_a_name() -> None:
    assert list(_layers()) == _names()


def test_every_layer_that_can_be_written_is_in_one_of_these_networks() -> None:
    from models.training.deep.export import _WRITERS

    found = {type(layer) for make in _layers().values() for network in make() for layer in network.modules()}
    assert found >= set(_WRITERS)


@pytest.mark.parametrize("name", _names())
def test_a_layer_gives_the_same_in_onnx_and_in_pytorch(name: str) -> None:
    import torch

    torch.manual_seed(0)
    network = _network(_layers()[name]())
    windows = np.random.default_rng(0).normal(size=(256, _CHANNELS, _TIME)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(windows)).numpy()
    (found,) = _session(network).run(None, {"window": windows})
    assert (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max() < 1e-5


@pytest.mark.parametrize("name", _names())
def test_a_window_has_the_same_bits_alone_and_in_any_batch(name: str) -> None:
    import torch

    torch.manual_seed(0)
    session = _session(_network(_layers()[name]()))
    windows = np.random.default_rng(0).normal(size=(256, _CHANNELS, _TIME)).astype(np.float32)
    alone = np.concatenate([session.run(None, {"window": windows[at : at + 1]})[0] for at in range(256)])
    for size in _BATCHES:
        (together,) = session.run(None, {"window": windows[:size]})
        np.testing.assert_array_equal(together, alone[:size], err_msg=f"batch {size}")


def test_a_layer_that_cannot_be_written_is_named() -> None:
    from torch import nn

    from models.training.deep.export import to_graph

    for layer, fault in (
        (nn.LSTM(3, 3), "LSTM cannot be exported; allowed: .*Conv1d"),
        (nn.Conv1d(3, 3, 3, padding="same"), "padding with zeros, by a number"),
        (nn.Conv1d(3, 3, 3, padding_mode="circular", padding=1), "padding with zeros, by a number"),
        (nn.AvgPool1d(2, ceil_mode=True), "ceil_mode"),
    ):
        with pytest.raises(TypeError, match=fault):
            to_graph([layer], Graph(), "window")
