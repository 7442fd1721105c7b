"""As much of the ONNX file format as a check of a graph needs (onnx.proto 1.19), without the package `onnx`.

Texts are read as bytes: a file may hold anything. What is told apart only by being there is read as bytes too.
Fields that are not named here are skipped, as ONNX Runtime skips those that it does not know.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64, "bytes": _Field.TYPE_BYTES}
_PACKAGE = "tocsin_onnx"
# message -> its fields: name, number, type; * = repeated, ? = one of a group, of which only one is set
_MESSAGES = {
    "Model": "ir_version 1 int64, graph 7 Graph, opset_import 8 *Opset, training_info 20 *bytes, functions 25 *bytes",
    "Opset": "domain 1 bytes, version 2 int64",
    "Graph": "node 1 *Node, initializer 5 *Tensor, input 11 *Value, output 12 *Value, sparse_initializer 15 *bytes",
    "Node": "op_type 4 bytes, attribute 5 *Attribute, domain 7 bytes",
    "Attribute": "name 1 bytes, t 5 Tensor, g 6 bytes, tensors 10 *Tensor, graphs 11 *bytes, ref_attr_name 21 bytes,"
    " sparse_tensor 22 bytes, sparse_tensors 23 *bytes",
    "Tensor": "dims 1 *int64, data_type 2 int32, name 8 bytes, external_data 13 *bytes, data_location 14 int32",
    "Value": "name 1 bytes, type 2 Type",
    "Type": "tensor_type 1 TensorType",
    "TensorType": "elem_type 1 int32, shape 2 Shape",
    "Shape": "dim 1 *Dimension",
    "Dimension": "dim_value 1 ?int64, dim_param 2 ?bytes",
}


def _message_class(wanted: str) -> Any:  # noqa: ANN401 - protobuf makes the class
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(","):
            label, number, kind = field.split()
            added = message.field.add(
                name=label, number=int(number), label=_Field.LABEL_REPEATED if "*" in kind else _Field.LABEL_OPTIONAL
            )
            if "?" in kind:
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                added.oneof_index = 0
            kind = kind.strip("*?")
            added.type = _TYPES.get(kind, _Field.TYPE_MESSAGE)
            if kind not in _TYPES:
                added.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{wanted}"))


Model = _message_class("Model")
