"""What can go wrong between a Python value and its bytes."""

from headrace.errors import HeadraceError


class NotPicklable(HeadraceError, TypeError):
    """A value that neither pickle nor cloudpickle can turn into bytes; names its type and the reason."""


class CorruptValue(HeadraceError, ValueError):
    """Bytes that are no encoded value; names what is wrong and at which byte."""
