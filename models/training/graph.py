"""Writes ONNX graphs by hand: a list of nodes in reading order, float32 throughout."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8  # the one that belongs to OPSET; every ONNX Runtime since 1.12 loads it


class Graph:
    """Collects nodes; each method that adds one returns the name of its result."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """A number or array in the graph."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:  # noqa: ANN401 - what ONNX takes
        """One node; `to` names its result where the name is part of the contract."""
        name = to or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def model(
        self,
        name: str,
        given: tuple[str, Sequence[int | str]],
        results: Mapping[str, Sequence[int | str]],
        also_given: Mapping[str, Sequence[int | str]] = MappingProxyType({}),
    ) -> Any:  # noqa: ANN401 - onnx has no types
        """The checked ModelProto; shapes name their free axes. `also_given`: inputs after the first."""
        graph = helper.make_graph(
            self._nodes,
            name,
            _ends({given[0]: given[1], **also_given}),
            _ends(results),
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="tocsin")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model


def _ends(shapes: Mapping[str, Sequence[int | str]]) -> list[Any]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()]


def to_bytes(model: Any) -> bytes:  # noqa: ANN401 - onnx has no types
    """The same model gives the same bytes."""
    content: bytes = model.SerializeToString(deterministic=True)
    return content
