"""Python values as bytes and back, with arrays neither copied on the way out (once, into place) nor on the way in (never)."""

from headrace.errors import NotPicklable
from headrace.values.arrays import ArrayType, array_type
from headrace.values.decoding import decode, decode_many
from headrace.values.encoding import Encoded, encode
from headrace.values.errors import CorruptValue
from headrace.values.freezing import freeze

__all__ = ["ArrayType", "CorruptValue", "Encoded", "NotPicklable", "array_type", "decode", "decode_many", "encode", "freeze"]
