"""Parses addresses of data planes."""

LAST_PORT = 65_535
"""The largest TCP port. Event loops accept larger numbers, and listen on another port."""


def split_address(address: str) -> tuple[str, int]:
    """Split "1.2.3.4:5" or "[::1]:5" into host and port. Raises ValueError for anything else.

    >>> split_address("[::1]:5")
    ('::1', 5)
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > LAST_PORT:
        raise ValueError(f"{address!r} is not an address with a port, like 10.0.0.1:7000")
    return host.strip("[]"), int(port)
