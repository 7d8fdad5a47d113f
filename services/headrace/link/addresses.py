"""Addresses of data planes, as text."""

LAST_PORT = 65_535
"""Of TCP. Event loops take larger numbers and listen elsewhere."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "1.2.3.4:5" or "[::1]:5". Raises ValueError for anything else.

    >>> split_address("[::1]:5")
    ('::1', 5)
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > LAST_PORT:
        raise ValueError(f"{address!r} is not an address with a port, like 10.0.0.1:7000")
    return host.strip("[]"), int(port)
