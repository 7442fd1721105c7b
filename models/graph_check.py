"""Whether a graph may be run: a bundle's `model.onnx`, read and judged before ONNX Runtime sees a byte.

A graph is a program that somebody else wrote. What is allowed here computes numbers from its window (and state),
the same each time: no loops and branches, no chance, no texts, nothing outside the file, no operators of one's own.
Inputs and outputs are those that the manifest promises. How much time and memory a run takes cannot be told from the
graph: that is bounded where it runs.
"""

import math
from collections import Counter
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from models.manifest import MODEL, PER_CHANNEL, BundleError, Manifest
from models.onnx_format import Model
from models.onnx_operators import OPERATORS, OPSETS, why_not

IR_VERSIONS = range(4, 11)  # what ONNX Runtime 1.23 is sure to load, and every later one
MAX_NODES = 10_000
MAX_RANK = 16
MAX_WEIGHT_BYTES = 64 * 1024 * 1024

_FLOAT = 1
# ONNX element type -> bytes: float32, u/int8, u/int16, int32, int64, bool, float16, double, u/int32, uint64, bfloat16
_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}


Shapes = dict[str, tuple[int | str, ...]]  # by name; a free axis stands by its name


class GraphFacts(NamedTuple):
    """What a graph is made of."""

    ir_version: int
    opsets: dict[str, int]  # by domain
    operators: dict[str, int]  # how often each is used, most used first
    weights: int  # numbers in the graph that its training found, and other constants
    weight_bytes: int
    inputs: Shapes
    outputs: Shapes


def check_graph(content: bytes, manifest: Manifest, label: str) -> GraphFacts:
    """Facts of a graph that may be run as the manifest says. Raises BundleError, whose text starts with `label`."""
    try:
        model = Model.FromString(content)
        facts = _checked(model)
        _check_ends("input", facts.inputs, expected_inputs(manifest))
        _check_ends("output", facts.outputs, expected_outputs(manifest))
    except (DecodeError, _FaultError) as error:
        what = "no ONNX file" if isinstance(error, DecodeError) else str(error)
        msg = f"{label}: {MODEL}: {what}"
        raise BundleError(msg) from error
    return facts


def expected_inputs(manifest: Manifest) -> Shapes:
    """Shapes of what the graph must take, float32; the first axis is free."""
    shapes: Shapes = {"window": ("batch", manifest.window, manifest.width)}
    if manifest.state:
        shapes["state"] = ("batch", manifest.state)
    return shapes


def expected_outputs(manifest: Manifest) -> Shapes:
    """Shapes of what the graph must give, float32; the first axis is free."""
    channels = len(manifest.channels)
    shapes: Shapes = {name: ("batch", channels if name in PER_CHANNEL else 1) for name in manifest.outputs}
    if manifest.state:
        shapes["state_next"] = ("batch", manifest.state)
    return shapes


class _FaultError(Exception):
    """Why a graph is refused."""


def _checked(model: Any) -> GraphFacts:  # noqa: ANN401 - protobuf makes the class
    """Facts of a model that keeps all rules but the manifest's. Raises _FaultError."""
    _refuse_if(model.ir_version not in IR_VERSIONS, f"IR version {model.ir_version}; {_allowed(IR_VERSIONS)}")
    opsets = _opsets(model)
    graph = model.graph
    _refuse_if(bool(model.functions), "it brings functions of its own; only standard operators are allowed")
    _refuse_if(bool(model.training_info), "it holds a graph for training; export it for inference")
    _refuse_if(bool(graph.sparse_initializer), "it holds sparse weights; export dense ones")
    _refuse_if(len(graph.node) > MAX_NODES, f"{len(graph.node)} nodes; at most {MAX_NODES} are allowed")
    tensors = list(graph.initializer)
    for node in graph.node:
        tensors += _constants(node, opsets)
    sizes = [_size(tensor) for tensor in tensors]
    total = sum(count * width for count, width in sizes)
    _refuse_if(total > MAX_WEIGHT_BYTES, f"{total} bytes of weights; at most {MAX_WEIGHT_BYTES} are allowed")
    facts = GraphFacts(
        model.ir_version,
        opsets,
        dict(Counter(_text(node.op_type) for node in graph.node).most_common()),
        sum(count for count, _ in sizes),
        total,
        _ends("input", graph.input),
        _ends("output", graph.output),
    )
    fixed = [name for name in map(_text, (each.name for each in graph.initializer)) if name in facts.inputs]
    _refuse_if(bool(fixed), f"input {fixed[:1]} has a value in the graph")
    return facts


def _opsets(model: Any) -> dict[str, int]:  # noqa: ANN401 - protobuf makes the class
    opsets: dict[str, int] = {}
    for each in model.opset_import:
        domain = _text(each.domain)
        _refuse_if(domain in opsets, f"names the operator set {domain!r} twice")
        _refuse_if(
            domain not in OPSETS, f"uses the operator set {domain!r}; allowed are the standard one and ai.onnx.ml"
        )
        title = f"opset {each.version}" + f" of {domain}" * bool(domain)
        _refuse_if(each.version not in OPSETS[domain], f"{title}; {_allowed(OPSETS[domain])}")
        opsets[domain] = each.version
    return opsets


def _constants(node: Any, opsets: dict[str, int]) -> list[Any]:  # noqa: ANN401 - protobuf makes the class
    """The tensors inside a node that is allowed. Raises _FaultError."""
    domain, operator = _text(node.domain), _text(node.op_type)
    _refuse_if(domain not in opsets, f"operator {operator} is of the set {domain!r}, which the file does not name")
    _refuse_if(
        operator not in OPERATORS[domain], f"operator {operator} is not among the allowed ones{why_not(operator)}"
    )
    tensors: list[Any] = []
    for attribute in node.attribute:
        place = f"operator {operator}, attribute {_text(attribute.name)}"
        _refuse_if(attribute.HasField("g") or bool(attribute.graphs), f"{place}: holds a graph of its own")
        _refuse_if(attribute.HasField("ref_attr_name"), f"{place}: refers to a function")
        _refuse_if(
            attribute.HasField("sparse_tensor") or bool(attribute.sparse_tensors),
            f"{place}: is sparse; export it dense",
        )
        tensors += attribute.tensors
        if attribute.HasField("t"):
            tensors.append(attribute.t)
    return tensors


def _size(tensor: Any) -> tuple[int, int]:  # noqa: ANN401 - protobuf makes the class
    """How many numbers, and bytes of each."""
    place = f"tensor {_text(tensor.name)!r}"
    _refuse_if(
        tensor.data_location != 0 or bool(tensor.external_data), f"{place} lies outside the bundle; save it inside"
    )
    _refuse_if(tensor.data_type not in _SIZES, f"{place} has the element type {tensor.data_type}; numbers are allowed")
    is_odd = len(tensor.dims) > MAX_RANK or any(size < 0 for size in tensor.dims)
    _refuse_if(is_odd, f"{place} has the shape {list(tensor.dims)[:8]}")
    return math.prod(tensor.dims), _SIZES[tensor.data_type]


def _ends(side: str, values: Any) -> Shapes:  # noqa: ANN401 - protobuf makes the class
    """Names and shapes of the graph's inputs or outputs, which are float32. Raises _FaultError."""
    ends: Shapes = {}
    for value in values:
        name, tensor = _text(value.name), value.type.tensor_type
        _refuse_if(name in ends, f"{side} {name!r} stands there twice")
        _refuse_if(
            tensor.elem_type != _FLOAT, f"{side} {name!r} has the element type {tensor.elem_type}, not 1 (float32)"
        )
        ends[name] = tuple(
            axis.dim_value if axis.HasField("dim_value") else _text(axis.dim_param) or "?" for axis in tensor.shape.dim
        )
    return ends


def _check_ends(side: str, found: Shapes, wanted: Shapes) -> None:
    _refuse_if(set(found) != set(wanted), f"its {side}s are {sorted(found)}, but the manifest has {sorted(wanted)}")
    for name, shape in wanted.items():
        is_right = len(found[name]) == len(shape) and isinstance(found[name][0], str) and found[name][1:] == shape[1:]
        _refuse_if(not is_right, f"{side} {name!r} has the shape {_shape(found[name])}, but must have {_shape(shape)}")


def _shape(axes: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, axes[:8]))}{', ...' * (len(axes) > 8)}]"


def _allowed(versions: range) -> str:
    return f"allowed: {versions[0]} to {versions[-1]}"


def _text(content: bytes) -> str:
    return content[:200].decode("utf-8", "backslashreplace")


def _refuse_if(is_wrong: bool, why: str) -> None:
    if is_wrong:
        raise _FaultError(why)
