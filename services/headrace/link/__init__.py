"""The data plane between hosts: authenticated frames over TCP, whose payloads are received straight into their destination."""

from headrace.link.addresses import split_address
from headrace.link.errors import LinkClosed, LinkError, LinkRefused, MalformedFrame
from headrace.link.frames import Data, Frame, Gone, Grant, Offer, Relay, Unwant, Values, Want
from headrace.link.framing import Place
from headrace.link.handshake import CLIENT, Identity, job_key
from headrace.link.link import Handler, Link
from headrace.link.settings import MAX_HEADER_BYTES, MAX_VALUES_BYTES
from headrace.link.tcp import Server, connect, serve

__all__ = [
    "CLIENT",
    "MAX_HEADER_BYTES",
    "MAX_VALUES_BYTES",
    "Data",
    "Frame",
    "Gone",
    "Grant",
    "Handler",
    "Identity",
    "Link",
    "LinkClosed",
    "LinkError",
    "LinkRefused",
    "MalformedFrame",
    "Offer",
    "Place",
    "Relay",
    "Server",
    "Unwant",
    "Values",
    "Want",
    "connect",
    "job_key",
    "serve",
    "split_address",
]
