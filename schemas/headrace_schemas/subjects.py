"""Every subject, as a function; and the patterns that services subscribe to.

Job ids and host names are single tokens: letters, digits, '-' and '_' (see `token`)."""

from __future__ import annotations

import re
from functools import lru_cache

ROOT = "headrace"
SUBMITTED = ".submitted"
"""How the subject of a submission ends, and no other: what it says was written by a client."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@lru_cache(maxsize=8192)
def token(text: str) -> str:
    """The text, if it can stand as one token of a subject. Raises ValueError otherwise."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} cannot be part of a subject: use 1 to 64 letters, digits, '-' or '_'")
    return text


def request(job: str) -> str:
    """Requests of clients: Cancel, Release. In stream REQUESTS, all others are in LOG."""
    return f"{ROOT}.request.{token(job)}"


def submitted(job: str) -> str:
    """Submitted, with the graph if it is small. Written by the client."""
    return f"{ROOT}.job.{token(job)}{SUBMITTED}"


def state(job: str) -> str:
    """Ended, CancelAsked, Released, Refused, Stranded, NoRoom: what hosts and clients must hear of a job."""
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


def output(job: str) -> str:
    """Published, of outputs that are held for the client. In LOG, and sourced by OUTPUTS."""
    return f"{ROOT}.output.{token(job)}"


def committed(job: str) -> str:
    """Published, of outputs in a sink, which exist by it: apart from the others, from which nothing follows for the controller."""
    return f"{ROOT}.output.{token(job)}.committed"


_LEADERS = {
    **dict.fromkeys(("job", "purge", "host"), "controller"),
    **dict.fromkeys(("plan", "assign"), "scheduler"),
    "output": "publisher",
}


def leader(subject: str) -> str:
    """Which of the services that lead writes on a subject of the log, it alone; empty for the subjects of clients and hosts.

    >>> leader("headrace.purge.j.h"), leader("headrace.job.j.submitted"), leader("headrace.event.j.h")
    ('controller', '', '')
    """
    family = subject[len(ROOT) + 1 :].partition(".")[0]
    return "" if subject.endswith(SUBMITTED) else _LEADERS.get(family, "")


def families(*names: str) -> list[str]:
    """Everything of some families of subjects, the token after the root."""
    return [f"{ROOT}.{name}.>" for name in names]


ALL_REQUESTS = f"{ROOT}.request.*"
LOG_SUBJECTS = families("job", "plan", "assign", "event", "purge", "host", "output")
RESERVE = f"{ROOT}.reserve"
"""A message of zeros in LOG, which nobody reads. The controller purges it when the log is full, to have room for the ends of jobs."""
ALL_OUTPUTS = f"{ROOT}.output.>"
ALL_HELD, ALL_COMMITTED = f"{ROOT}.output.*", f"{ROOT}.output.*.committed"
ALL_HOSTS = f"{ROOT}.host.*"


def for_host(name: str) -> list[str]:
    """What a host reads from the LOG: its assignments, its purges, the ends of jobs, and which hosts come and go."""
    return [f"{ROOT}.assign.*.{token(name)}", f"{ROOT}.purge.*.{token(name)}", f"{ROOT}.job.*.state", ALL_HOSTS]


def for_client(job: str = "") -> list[str]:
    """What the client that submitted a job reads of it, or of all, and what hosts came and went: not the graph, which it has, nor
    assignments and purges. It is one feed, for what is said of a host counts only in its place between the hosts that come and go."""
    t = token(job) if job else "*"
    deeper = [f"{ROOT}.{rest}" for rest in (f"job.{t}.state", f"job.{t}.needed", f"plan.{t}", f"event.{t}.*", f"output.{t}.committed")]
    return [*deeper, ALL_HOSTS]


def outputs_of(job: str) -> list[str]:
    """Everything that is announced of one job."""
    return [output(job), committed(job)]


def decided_of(job: str) -> list[str]:
    """What is decided of one job as a whole and announced of it: without these nothing follows from anything else of it."""
    return [state(job), needed(job), plan(job), *outputs_of(job)]


def bulk_of(job: str) -> list[str]:
    """What is written of a job while it is under way, and most of what it takes in the log: all but its submission, its end, and what was
    asked for and announced."""
    t = token(job)
    return [f"{ROOT}.event.{t}.*", f"{ROOT}.assign.{t}.*", f"{ROOT}.purge.{t}.*", plan(job)]


def for_job(job: str) -> list[str]:
    """Everything of one job, and what hosts came and went: enough to replay it."""
    t = token(job)
    deeper = [f"{ROOT}.{family}.{t}.>" for family in ("job", "assign", "event", "purge")]
    return [*deeper, plan(job), *outputs_of(job), ALL_HOSTS]
