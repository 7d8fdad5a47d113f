"""The state of all jobs and hosts, folded from the log by controller, scheduler, publisher, client and replay alike.

    entries of the LOG --Ledger.fold--> jobs: JobLedger (tasks, datasets, chains, copies), hosts: HostRecord

The fold does no I/O and reads no clock: the same entries give the same ledger. An entry that is folded twice changes nothing, and the fold
ignores messages from an older epoch of a host or an older term of a service. After a batch, `Ledger.take_changed` returns the jobs that
changed, and `JobLedger.take_changes` returns what changed in one of them.
"""

from headrace.ledger.chains import ChainTable
from headrace.ledger.changes import Changes, Touched
from headrace.ledger.copies import NOWHERE, Copies
from headrace.ledger.fold import CONTROLLER, Ledger, LogEntry
from headrace.ledger.hardships import host_deaths, runs_alone, too_small_for
from headrace.ledger.hosts import HostRecord, Hosts
from headrace.ledger.job import (
    ASKED,
    ASSIGNED,
    DONE,
    FAILED,
    PUBLISHED,
    RELEASED,
    STARTED,
    STATE_NAMES,
    SUNK,
    UNPLACED,
    VALUE,
    WAITING,
    WRITTEN,
    JobLedger,
)

__all__ = [
    "ASKED",
    "ASSIGNED",
    "CONTROLLER",
    "DONE",
    "FAILED",
    "NOWHERE",
    "PUBLISHED",
    "RELEASED",
    "STARTED",
    "STATE_NAMES",
    "SUNK",
    "UNPLACED",
    "VALUE",
    "WAITING",
    "WRITTEN",
    "ChainTable",
    "Changes",
    "Copies",
    "HostRecord",
    "Hosts",
    "JobLedger",
    "Ledger",
    "LogEntry",
    "Touched",
    "host_deaths",
    "runs_alone",
    "too_small_for",
]
