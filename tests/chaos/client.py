"""The process of a client: submits its jobs, waits for them, compares every value with its answer, and writes down what it learnt.

A client that was killed has a successor, which reads what was written down: it looks for the jobs whose `submit` had returned, and
submits the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.plan import JobPlan
from tests.chaos.tasks import number_in

AT_ONCE = 3
"""Jobs that a client has under way."""
RIGHT, WRONG, LOST, FAILED, HANGS = "right", "wrong", "lost", "failed", "hangs"


class Journal:
    """Lines of JSON, one per fact."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **fact: Any) -> None:
        """Add a fact. It survives a kill of this process."""
        with self._path.open("a") as file:
            file.write(json.dumps({"time": time.time(), **fact}) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All facts so far, without a last one that is cut."""
        if not self._path.exists():
            return []
        lines = self._path.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line]


def run_client(plans: Sequence[JobPlan], journal_path: Path, sinks: Path, seconds: float, stop: float = float("inf")) -> int:
    """Have all jobs done and their values compared. Returns the exit status.

    seconds: in which each job has to be done. stop: moment by the wall clock from which no more jobs are submitted, as in a soak.
    """
    import headrace as hr

    journal = Journal(journal_path)
    facts = journal.read()
    known = {fact["job"]: fact["id"] for fact in facts if fact["fact"] == "submitted"}
    over = {fact["job"] for fact in facts if fact["fact"] == "ended"}
    jobs: dict[int, Any] = {}
    with hr.Cluster.connect() as cluster:
        for index, plan in enumerate(plans):
            for ahead in range(index, min(index + AT_ONCE, len(plans))):
                if ahead not in known and time.time() < stop:
                    jobs[ahead] = _submit(cluster, plans[ahead], sinks)
                    known[ahead] = jobs[ahead].id
                    journal.write(fact="submitted", job=ahead, id=known[ahead], name=plans[ahead].graph.name)
            if index in known and index not in over:
                verdict, detail = _verdict(cluster, jobs.get(index), known[index], plan, time.monotonic() + seconds)
                journal.write(fact="ended", job=index, verdict=verdict, detail=detail)
                if verdict == RIGHT:
                    _release(cluster, jobs.get(index), known[index])
                jobs.pop(index, None)
    return 0


def _submit(cluster: Any, plan: JobPlan, sinks: Path) -> Any:
    return cluster.submit(plan.graph.build(), sink=str(sinks / plan.graph.name) if plan.sink else None)


def _verdict(cluster: Any, job: Any, job_id: str, plan: JobPlan, end: float) -> tuple[str, str]:
    """What became of a job, and what to say of it."""
    import headrace as hr

    try:
        job = job or cluster.job(job_id)
        values = job.results(max(0.1, end - time.monotonic()), keep=True)
    except hr.JobTimeout as error:
        return HANGS, f"{error}; {_state(job)}"
    except hr.OutputsLost as error:
        return LOST, str(error)
    except hr.HeadraceError as error:
        return FAILED, f"{type(error).__name__}: {error}"
    return compare(values, plan.graph.answers())


def compare(values: dict[str, Any], answers: dict[str, tuple[int, int]]) -> tuple[str, str]:
    """Whether the values are the answers, and what is wrong if not."""
    if set(values) != set(answers):
        return WRONG, f"missing: {sorted(set(answers) - set(values))}, too many: {sorted(set(values) - set(answers))}"
    wrong = []
    for name, (number, nbytes) in answers.items():
        try:
            found = number_in(values[name], nbytes)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
        else:
            if found != number:
                wrong.append(f"{name}: {found} instead of {number}")
    return (WRONG, "; ".join(wrong)) if wrong else (RIGHT, "")


def _state(job: Any) -> str:
    try:
        return str(job.status())
    except Exception as error:  # what it says is only shown
        return repr(error)


def _release(cluster: Any, job: Any, job_id: str) -> None:
    (job or cluster.job(job_id)).release()
