"""Every subject, as a function, and the patterns that services subscribe to.

Job ids and host names are single tokens: letters, digits, '-' and '_' (see `token`).
"""

from __future__ import annotations

import re
from functools import lru_cache

ROOT = "headrace"
SUBMITTED = ".submitted"
"""Suffix of the subject of a submission, and of no other subject: a client wrote the message."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@lru_cache(maxsize=8192)
def token(text: str) -> str:
    """Return the text if it is a valid token of a subject. Raises ValueError otherwise."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} cannot be part of a subject: use 1 to 64 letters, digits, '-' or '_'")
    return text


def request(job: str) -> str:
    """Requests of clients: Cancel, Release. They are in the stream REQUESTS, and all other messages in LOG."""
    return f"{ROOT}.request.{token(job)}"


def submitted(job: str) -> str:
    """Submitted, with the graph if it is small. The client writes it."""
    return f"{ROOT}.job.{token(job)}{SUBMITTED}"


def state(job: str) -> str:
    """Ended, CancelAsked, Released, Refused, Stranded, NoRoom: decisions about a whole job that hosts and clients need to know."""
    return f"{ROOT}.job.{token(job)}.state"


def needed(job: str) -> str:
    """Needed, Due."""
    return f"{ROOT}.job.{token(job)}.needed"


def plan(job: str) -> str:
    """Plan."""
    return f"{ROOT}.plan.{token(job)}"


def assign(job: str, host: str) -> str:
    """Assign, Revoke and Reroute for one host."""
    return f"{ROOT}.assign.{token(job)}.{token(host)}"


def event(job: str, host: str) -> str:
    """Events of one host."""
    return f"{ROOT}.event.{token(job)}.{token(host)}"


def purge(job: str, host: str) -> str:
    """Purge for one host."""
    return f"{ROOT}.purge.{token(job)}.{token(host)}"


def host(name: str) -> str:
    """HostJoined and HostLost."""
    return f"{ROOT}.host.{token(name)}"


def term(service: str) -> str:
    """TermBegan of one service. Every reader of decisions reads it."""
    return f"{ROOT}.term.{token(service)}"


def output(job: str) -> str:
    """Published, of outputs that hosts hold for the client. LOG has it, and OUTPUTS copies it."""
    return f"{ROOT}.output.{token(job)}"


def committed(job: str) -> str:
    """Published, of outputs in a sink, which are available by it.

    The subject is separate because the controller reads only these announcements.
    """
    return f"{ROOT}.output.{token(job)}.committed"


_LEADERS = {
    **dict.fromkeys(("job", "purge", "host"), "controller"),
    **dict.fromkeys(("plan", "assign"), "scheduler"),
    "output": "publisher",
}


def leader(subject: str) -> str:
    """Return the service whose leader alone writes on a subject of the log; empty for the subjects of clients and hosts.

    >>> leader("headrace.purge.j.h"), leader("headrace.job.j.submitted"), leader("headrace.event.j.h"), leader("headrace.term.scheduler")
    ('controller', '', '', 'scheduler')
    """
    family, _, rest = subject[len(ROOT) + 1 :].partition(".")
    if family == "term":
        return rest
    return "" if subject.endswith(SUBMITTED) else _LEADERS.get(family, "")


def families(*names: str) -> list[str]:
    """Return patterns for all subjects of some families, the token after the root."""
    return [f"{ROOT}.{name}.>" for name in names]


ALL_REQUESTS = f"{ROOT}.request.*"
LOG_SUBJECTS = families("job", "plan", "assign", "event", "purge", "host", "term", "output")
RESERVE = f"{ROOT}.reserve"
"""Subject of a message of zeros in LOG, which no service reads. The controller purges it when the log is full, to make room for the ends of
jobs."""
ALL_OUTPUTS = f"{ROOT}.output.>"
ALL_HELD, ALL_COMMITTED = f"{ROOT}.output.*", f"{ROOT}.output.*.committed"
ALL_HOSTS = f"{ROOT}.host.*"
ALL_TERMS = f"{ROOT}.term.*"


def for_host(name: str) -> list[str]:
    """Return what a host reads from the LOG: its assignments, its purges, the ends of jobs, hosts that come and go, and new terms."""
    return [f"{ROOT}.assign.*.{token(name)}", f"{ROOT}.purge.*.{token(name)}", f"{ROOT}.job.*.state", ALL_HOSTS, ALL_TERMS]


def for_client(job: str = "") -> list[str]:
    """Return what a client reads of a job that it submitted, or of all jobs: progress, outputs, end, hosts that come and go, new terms.

    It does not read the graph, which it has, nor assignments and purges. It reads all of it in one feed, since a report of a host counts
    only in its place between the host's joins and losses.
    """
    t = token(job) if job else "*"
    deeper = [f"{ROOT}.{rest}" for rest in (f"job.{t}.state", f"job.{t}.needed", f"plan.{t}", f"event.{t}.*", f"output.{t}.committed")]
    return [*deeper, ALL_HOSTS, ALL_TERMS]


def outputs_of(job: str) -> list[str]:
    """Return the subjects of the announcements of one job."""
    return [output(job), committed(job)]


def decided_of(job: str) -> list[str]:
    """Return the subjects of the decisions about one job as a whole, and of its announcements.

    No reader can interpret the job's other messages without them.
    """
    return [state(job), needed(job), plan(job), *outputs_of(job)]


def bulk_of(job: str) -> list[str]:
    """Return the subjects that hold most of a job's messages: its plan, assignments, events and purges."""
    t = token(job)
    return [f"{ROOT}.event.{t}.*", f"{ROOT}.assign.{t}.*", f"{ROOT}.purge.{t}.*", plan(job)]


def for_job(job: str) -> list[str]:
    """Return all subjects of one job, of hosts that joined and left, and of terms that began: enough to replay it."""
    t = token(job)
    deeper = [f"{ROOT}.{family}.{t}.>" for family in ("job", "assign", "event", "purge")]
    return [*deeper, plan(job), *outputs_of(job), ALL_HOSTS, ALL_TERMS]
