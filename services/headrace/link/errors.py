"""What can go wrong on a link."""

from headrace.errors import HeadraceError


class LinkError(HeadraceError):
    """Base of the errors of this package."""


class MalformedFrame(LinkError, ValueError):
    """Bytes that are no frame, or a frame that may not come now; ends the link it came from."""


class LinkRefused(LinkError, ConnectionError):
    """No link was made: the other side cannot be reached, has another key or version, or did not prove itself in time."""


class LinkClosed(LinkError, ConnectionError):
    """The link has ended; what was waited for will not happen."""
