"""What can be wrong with the bytes of a value; a value that has none is `headrace.errors.NotPicklable`."""

from headrace.errors import HeadraceError


class CorruptValue(HeadraceError, ValueError):
    """Bytes that are no encoded value; names what is wrong and at which byte."""
