"""The error of invalid bytes. A value that cannot be encoded raises `headrace.errors.NotPicklable`."""

from headrace.errors import HeadraceError


class CorruptValue(HeadraceError, ValueError):
    """The bytes are not an encoded value. The message says what is wrong, and at which byte."""
