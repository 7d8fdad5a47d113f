"""Accepts and opens links over TCP."""

import asyncio
import weakref

from headrace.link.admission import Admission
from headrace.link.errors import LinkRefused
from headrace.link.handshake import Identity, Initiator, Responder
from headrace.link.link import Handler, Link
from headrace.link.settings import CONNECT_DEADLINE_S


class Server:
    """A listener for links. `serve` creates it."""

    def __init__(self, listener: asyncio.Server, links: "weakref.WeakSet[Link]", admission: Admission[Link]) -> None:
        self._listener = listener
        self._links = links
        host, port = listener.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        """The address that it listens on: the given host, and the actual port."""
        self.refused = admission.refused
        """Links that were ended because there were too many, by reason: "unproved", or "peer" if one peer has too many."""

    def close(self, reason: str = "this side stops") -> None:
        """Accept no more links, and end all accepted links."""
        self._listener.close()
        for link in list(self._links):
            link.close(reason)


async def serve(host: str, port: int, identity: Identity, cluster_key: bytes, handler: Handler) -> Server:
    """Accept links at the IP address `host` and `port` (0: a free one) from peers that prove that they have the cluster's key, or a job's.

    Raises `OSError` if it cannot listen there, `ValueError` for a key that is too short or a name that is too long.
    """
    Responder(identity, cluster_key)  # raises an error for invalid arguments here, not when the first peer connects
    links: weakref.WeakSet[Link] = weakref.WeakSet()

    admission: Admission[Link] = Admission()

    def accept() -> Link:
        link = Link(handler, Responder(identity, cluster_key), admission)
        links.add(link)
        return link

    listener = await asyncio.get_running_loop().create_server(accept, host, port)
    return Server(listener, links, admission)


async def connect(address: tuple[str, int], identity: Identity, key: bytes, handler: Handler, job: str | None = None) -> Link:
    """Open a link to the server at `address`: both sides have proved that they have `key`.

    A client passes its `job` and that job's key; a host passes the cluster's key. Raises `LinkRefused` with the reason if there is no link
    within the deadlines, `ValueError` for arguments that can never work (a short key, a client without a job).
    """
    link = Link(handler, Initiator(identity, key, job))
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            await asyncio.get_running_loop().create_connection(lambda: link, *address)
    except (OSError, TimeoutError) as error:
        why = f"no answer within {CONNECT_DEADLINE_S:g} s" if isinstance(error, TimeoutError) else str(error)
        raise LinkRefused(f"no link to {address[0]}:{address[1]}: {why}") from error
    try:
        await link.opened()
    except asyncio.CancelledError:
        link.close("nobody waits for it")
        raise
    return link
