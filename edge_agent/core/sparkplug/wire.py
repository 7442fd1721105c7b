"""The messages of Sparkplug B on the wire (specification 3.0, chapter 6): field numbers and types, as one table.

Fields that nothing here reads (metadata, the content of data sets, extensions) are left out: protobuf passes over
what it does not know.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "sparkplug_b"
# A message's fields as `number name type`; `*` after a type: repeated; `?`: one of several, of which one is set.
_MESSAGES = {
    "Payload": "1 timestamp uint64, 2 metrics Metric*, 3 seq uint64, 4 uuid string, 5 body bytes",
    "Metric": (
        "1 name string, 2 alias uint64, 3 timestamp uint64, 4 datatype uint32, 5 is_historical bool, "
        "6 is_transient bool, 7 is_null bool, 9 properties PropertySet, 10 int_value uint32?, 11 long_value uint64?, "
        "12 float_value float?, 13 double_value double?, 14 boolean_value bool?, 15 string_value string?, "
        "16 bytes_value bytes?, 17 dataset_value DataSet?, 18 template_value Template?"
    ),
    "PropertySet": "1 keys string*, 2 values PropertyValue*",
    "PropertyValue": (
        "1 type uint32, 2 is_null bool, 3 int_value uint32?, 4 long_value uint64?, 5 float_value float?, "
        "6 double_value double?, 7 boolean_value bool?, 8 string_value string?"
    ),
    "DataSet": "1 num_of_columns uint64",
    "Template": "1 version string, 2 metrics Metric*, 4 template_ref string, 5 is_definition bool",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if "?" in fields:
            message.oneof_decl.add(name="value")
        for text in fields.split(", "):
            number, field, kind = text.split(" ")
            base = kind.rstrip("*?")
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=int(number), label=label)
            if base in _MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{base}"
            else:
                added.type = kinds.Type.Value(f"TYPE_{base.upper()}")
            if kind.endswith("?"):
                added.oneof_index = 0
    return file


_pool = descriptor_pool.DescriptorPool()  # its own: another library may bring the same names
_pool.Add(_file())
# The class of a payload. Its instances have the fields above.
Payload: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))
