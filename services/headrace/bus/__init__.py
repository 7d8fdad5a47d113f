"""The thin layer over nats-py: publish, follow, buckets, objects, leases, services; and a double without a server."""

from headrace.bus.bus import Bus, Consumption, Handler, OnRequest
from headrace.bus.cursor import NEW
from headrace.bus.feed import Feed, OnRecords, until_caught_up
from headrace.bus.frames import Record
from headrace.bus.kv import Bucket, KeyEntry, OnKey
from headrace.bus.leading import Ends, Leader, Machine, Role
from headrace.bus.lease import Lease
from headrace.bus.log import LogFeed, OnEntries, graph_key
from headrace.bus.memory import MemoryBus
from headrace.bus.objects import ObjectStore
from headrace.bus.process import new_loop, parent_death_signal, run_service
from headrace.bus.reading import Entry, read_value
from headrace.bus.secrets import ensure_data_key, read_data_key
from headrace.bus.server import EmbeddedServer
from headrace.bus.settings import BusSettings

__all__ = [
    "NEW",
    "Bucket",
    "Bus",
    "BusSettings",
    "Consumption",
    "EmbeddedServer",
    "Ends",
    "Entry",
    "Feed",
    "Handler",
    "KeyEntry",
    "Leader",
    "Lease",
    "LogFeed",
    "Machine",
    "MemoryBus",
    "ObjectStore",
    "OnEntries",
    "OnKey",
    "OnRecords",
    "OnRequest",
    "Record",
    "Role",
    "ensure_data_key",
    "graph_key",
    "new_loop",
    "parent_death_signal",
    "read_data_key",
    "read_value",
    "run_service",
    "until_caught_up",
]
