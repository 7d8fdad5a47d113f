"""The rules for purges, said in the plainest way, to check the decisions of a controller."""

from __future__ import annotations

from headrace.ledger import ASKED, DONE, RELEASED, JobLedger
from headrace_schemas import Purge


def droppable(job: JobLedger) -> set[tuple[int, int]]:
    """Every (dataset, host) that the rules for purges allow to drop now, found by looking at everything."""
    found = set()
    for dataset in range(job.topology.n_datasets):
        holders = job.copies.hosts(dataset)
        users = {int(job.host[t]) for t in job.topology.consumers_of(dataset) if job.state[t] != DONE}
        home = int(job.copies.home[dataset])
        for host in holders:
            held = int(job.flags[dataset]) & (ASKED | RELEASED) == ASKED
            waiting = [user for user in users if user not in holders or user == home]
            if (dataset, host) not in job.kept and (host not in users if host != home else not waiting and not held):
                found.add((dataset, host))
    return found


def assert_harmless(job: JobLedger, purge: Purge) -> None:
    """Nobody who is not done loses a dataset by this purge that cannot be had elsewhere."""
    host = job.host_ids[purge.host]
    for dataset in purge.datasets:
        for task in job.topology.consumers_of(dataset).tolist():
            if job.state[task] != DONE:
                assert job.host[task] != host, f"dataset {dataset} is dropped on {purge.host}, where task {task} is not done"
                assert job.available(dataset), f"dataset {dataset} is dropped on {purge.host}, and task {task} cannot have it"
        held = int(job.flags[dataset]) & (ASKED | RELEASED) == ASKED
        assert not held or job.available(dataset), f"output {dataset} is dropped"
