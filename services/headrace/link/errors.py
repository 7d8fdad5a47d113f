"""Errors of links."""

from headrace.errors import HeadraceError


class LinkError(HeadraceError):
    """Base class of the errors of this package."""


class MalformedFrame(LinkError, ValueError):
    """The bytes are not a frame, or the frame is not allowed at this point. The link that it came from ends."""


class LinkRefused(LinkError, ConnectionError):
    """The link could not be made: the peer cannot be reached, has another key or version, or did not prove its identity in time."""


class LinkClosed(LinkError, ConnectionError):
    """The link has ended, so the operation that waited for it failed."""
