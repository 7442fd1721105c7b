"""A graph is judged before it is run: what is allowed computes numbers from its window, the same each time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import BundleError, Channel, Threshold, pack_bundle
from models.graph_check import check_graph
from models.onnx_format import Model
from models.onnx_operators import OPERATORS, OPSETS
from tests.bundles import graph, manifest

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

FLOAT = 1
Change = Callable[[Any], None]


def model(**attributes: Any) -> Any:
    """A sound graph: the mean of a window [batch, 4, 2], over weights [2]."""
    weights = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["window", "w"], ["x"]),
            helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0),
            helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([-1, 1]), "s")),
            helper.make_node("Reshape", ["y", "shape"], ["anomaly_score"]),
        ],
        "g",
        [helper.make_tensor_value_info("window", FLOAT, ["batch", 4, 2])],
        [helper.make_tensor_value_info("anomaly_score", FLOAT, ["batch", 1])],
        [weights],
    )
    return helper.make_model(body, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], **attributes)


SOUND = manifest(window=4, channels=(Channel(name="a"), Channel(name="b")))


def changed(change: Change) -> bytes:
    made = model()
    change(made)
    content: bytes = made.SerializeToString()
    return content


def test_the_facts_of_a_sound_graph_are_told() -> None:
    facts = check_graph(model().SerializeToString(), SOUND, "m")
    assert facts.operators == {"Mul": 1, "ReduceMean": 1, "Constant": 1, "Reshape": 1}
    assert (facts.ir_version, facts.opsets) == (8, {"": 17})
    assert (facts.weights, facts.weight_bytes) == (4, 2 * 4 + 2 * 8)
    assert (facts.inputs, facts.outputs) == ({"window": ("batch", 4, 2)}, {"anomaly_score": ("batch", 1)})


def sub_graph() -> Any:
    """An attribute that is a graph, whose weights lie outside."""
    inner = helper.make_graph([], "inner", [], [], [_outside("v")])
    return helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)


def _outside(name: str) -> Any:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def _node(operator: str, domain: str = "", **attributes: Any) -> Change:
    return lambda made: made.graph.node.append(helper.make_node(operator, ["x"], ["z"], domain=domain, **attributes))


def _retyped(element_type: int) -> Change:
    return lambda made: setattr(made.graph.input[0].type.tensor_type, "elem_type", element_type)


def _reshaped(end: str, axis: int, size: int | str) -> Change:
    def change(made: Any) -> None:
        dimension = getattr(made.graph, end)[0].type.tensor_type.shape.dim[axis]
        setattr(dimension, "dim_value" if isinstance(size, int) else "dim_param", size)

    return change


def _renamed(end: str, name: str) -> Change:
    return lambda made: setattr(getattr(made.graph, end)[0], "name", name)


def _custom(made: Any) -> None:
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _function(made: Any) -> None:
    made.functions.add(name="f", domain="")


def _twice(made: Any) -> None:
    made.graph.input.append(made.graph.input[0])


def _fixed(made: Any) -> None:
    made.graph.initializer[0].name = "window"


def _many_nodes(made: Any) -> None:
    made.graph.node.extend(helper.make_node("Neg", ["x"], ["z"]) for _ in range(10_001))


def _huge(made: Any) -> None:
    made.graph.initializer[0].dims[:] = [2**40, 2**40]


def _negative(made: Any) -> None:
    made.graph.initializer[0].dims[:] = [-1]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda made: setattr(made, "ir_version", 11), r"IR version 11; allowed: 4 to 10"),
        (lambda made: setattr(made.opset_import[0], "version", 23), r"opset 23; allowed: 7 to 22"),
        (lambda made: made.opset_import.append(made.opset_import[0]), "the operator set '' twice"),
        (lambda made: made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 6)), "opset 6 of ai.onnx.ml; allowed"),
        (lambda made: made.ClearField("opset_import"), "of the set '', which the file does not name"),
        (_custom, "the operator set 'com.microsoft'; allowed are the standard one and ai.onnx.ml"),
        (_node("FusedMatMul", "com.microsoft"), "FusedMatMul is of the set 'com.microsoft'"),
        (_node("NoSuchOperator"), "operator NoSuchOperator is not among the allowed ones"),
        (_node("Loop"), "operator Loop is not among the allowed ones: .*how long it runs"),
        (_node("RandomNormalLike"), "RandomNormalLike .* would not give the same score again"),
        (_node("DynamicQuantizeLinear"), "DynamicQuantizeLinear .* quantise with fixed scales"),
        (lambda made: made.graph.node.append(sub_graph()), "operator If is not among"),
        (_node("Neg", hidden=helper.make_graph([], "g", [], [])), "Neg, attribute hidden: holds a graph of its own"),
        (_function, "functions of its own"),
        (lambda made: made.training_info.add(), "a graph for training"),
        (lambda made: made.graph.sparse_initializer.add(), "sparse weights"),
        (lambda made: made.graph.initializer.append(_outside("v")), "'v' lies outside the bundle; save it inside"),
        (_node("Constant", value=_outside("v")), "'v' lies outside the bundle"),
        (lambda made: made.graph.initializer.add(name="v", data_type=8), "'v' has the element type 8; numbers"),
        (_many_nodes, r"10005 nodes; at most 10000"),
        (_huge, r"bytes of weights; at most 67108864"),
        (_negative, r"'w' has the shape \[-1\]"),
        (_twice, "input 'window' stands there twice"),
        (_fixed, "input .*'window'.* has a value in the graph"),
        (_retyped(11), r"input 'window' has the element type 11, not 1 \(float32\)"),
        (_renamed("input", "frames"), r"its inputs are \['frames'\], but the manifest has \['window'\]"),
        (_renamed("output", "score"), r"its outputs are \['score'\], but the manifest has \['anomaly_score'\]"),
        (_reshaped("input", 1, 5), r"input 'window' has the shape \[batch, 5, 2\], but must have \[batch, 4, 2\]"),
        (_reshaped("input", 2, "any"), r"\[batch, 4, any\], but must have \[batch, 4, 2\]"),
        (_reshaped("input", 0, 1), r"\[1, 4, 2\], but must have \[batch, 4, 2\]"),
        (_reshaped("output", 1, 2), r"output 'anomaly_score' has the shape \[batch, 2\], but must have \[batch, 1\]"),
    ],
)
def test_what_may_not_be_run_is_refused_with_the_reason(change: Change, fault: str) -> None:
    with pytest.raises(BundleError, match=rf"^m: model\.onnx: .*{fault}"):
        check_graph(changed(change), SOUND, "m")


def test_a_bundle_with_such_a_graph_can_neither_be_written_nor_read() -> None:
    with pytest.raises(BundleError, match="Loop"):
        pack_bundle(manifest(), graph(manifest(), Loop=""))


@pytest.mark.parametrize("state", [0, 3])
def test_every_output_and_the_state_have_the_shape_that_the_manifest_says(state: int) -> None:
    limit = Threshold(output="quality_score", open_at=50, close_at=60, above=False)
    outputs = ("quality_score", "rul_low_h", "rul_high_h", "contribution", "direction")
    channels = tuple(Channel(name=name) for name in "abc")
    of = manifest(channels=channels, outputs=outputs, threshold=limit, state=state, missing="mask", window=2)
    facts = check_graph(graph(of), of, "m")
    assert facts.inputs == {"window": ("batch", 2, 6)} | ({"state": ("batch", 3)} if state else {})
    assert facts.outputs["direction"] == facts.outputs["contribution"] == ("batch", 3)
    assert facts.outputs["rul_low_h"] == ("batch", 1)
    assert facts.outputs.get("state_next") == (("batch", 3) if state else None)
    other = manifest(**{**dict(of), "state": 3 - state})
    with pytest.raises(BundleError, match="its inputs are"):
        check_graph(graph(of), other, "m")


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_bundle_error(garbage: bytes) -> None:
    with pytest.raises(BundleError):
        check_graph(garbage, SOUND, "m")


@settings(max_examples=300)
@given(st.data())
def test_changed_bytes_are_judged_or_refused(data: st.DataObject) -> None:
    content = bytearray(model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        check_graph(bytes(content), SOUND, "m")
    except BundleError:
        return


def _fields(message: Any, onnx_message: Any) -> None:
    """Each field of ours has the number, the wire type and the repetition that ONNX gives it."""
    for field in message.fields:
        theirs = onnx_message.fields_by_name[field.name]
        assert (field.number, field.is_repeated) == (theirs.number, theirs.is_repeated), field.full_name
        if field.message_type is not None:
            _fields(field.message_type, theirs.message_type)
        elif field.type != field.TYPE_BYTES:
            assert field.type == theirs.type or (field.type, theirs.type) == (field.TYPE_INT32, theirs.TYPE_ENUM)
        else:
            assert theirs.type in {theirs.TYPE_STRING, theirs.TYPE_BYTES, theirs.TYPE_MESSAGE}


def test_the_format_is_read_as_onnx_writes_it() -> None:
    _fields(Model.DESCRIPTOR, onnx.ModelProto.DESCRIPTOR)


@pytest.mark.parametrize("domain", OPERATORS)
def test_every_allowed_operator_is_one_of_onnx(domain: str) -> None:
    newest = OPSETS[domain][-1]
    for operator in OPERATORS[domain]:
        schema = onnx.defs.get_schema(operator, newest, domain)
        assert schema.since_version <= newest, operator


def test_onnx_runtime_loads_the_oldest_and_the_newest_files_that_are_allowed() -> None:
    ort = pytest.importorskip("onnxruntime")
    for ir_version, opset in ((4, 9), (8, 17), (10, 17)):
        made = model()
        made.ir_version, made.opset_import[0].version = ir_version, opset
        check_graph(made.SerializeToString(), SOUND, "m")
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        window = np.ones((3, 4, 2), np.float32)
        np.testing.assert_allclose(session.run(None, {"window": window})[0], np.full((3, 1), 1.5))
