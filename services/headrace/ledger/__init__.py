"""What is true so far: the one pure fold of the log, used by controller, scheduler, publisher, client and replay.

    entries of the LOG --Ledger.fold--> jobs: JobLedger (tasks, datasets, chains, copies), hosts: HostRecord

It never does I/O and never reads a clock: the same entries give the same ledger. Repeated entries change nothing, and anything of a host's
older epoch or of a service's older term is ignored. `Ledger.take_changed` and `JobLedger.take_changes` say where to look after a batch.
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
