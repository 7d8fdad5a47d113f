"""Serialization of Python values. Encoding copies each array once, straight into place; decoding copies none."""

from headrace.errors import NotPicklable
from headrace.values.arrays import ArrayType, array_type
from headrace.values.decoding import decode, decode_many
from headrace.values.encoding import PLAIN_TYPES, Encoded, encode, encode_plain
from headrace.values.errors import CorruptValue
from headrace.values.passing import Passed, is_immutable, pass_on, read, renewable, settle

__all__ = [
    "PLAIN_TYPES",
    "ArrayType",
    "CorruptValue",
    "Encoded",
    "NotPicklable",
    "Passed",
    "array_type",
    "decode",
    "decode_many",
    "encode",
    "encode_plain",
    "is_immutable",
    "pass_on",
    "read",
    "renewable",
    "settle",
]
