"""Chaos: graphs with known answers on real processes, while a seeded plan of faults breaks what they run on.

    python -m tests.chaos --seeds 1-20 --faults kill-worker,stop-nats
    python -m tests.chaos report

| module | what it holds |
|---|---|
| `tasks`, `graphs` | tasks with known answers, and graphs of them made from a seed |
| `faults`, `plan` | the kinds of faults; the cluster, jobs and faults of a seed |
| `deployment`, `proxy` | the processes of a cluster, and the links between them |
| `injecting` | how each fault is done to a deployment, and undone |
| `client` | the process that submits jobs and compares their values with the answers |
| `driver` | one seed from its first process to its last |
| `audit`, `outcome`, `checks` | what was left in log, sinks, shared memory and processes; whether all of it is right |
| `recovery`, `results`, `report` | times of recovery; the numbers of all runs; the table of docs/reliability.md |

`graphs`, `plan`, `checks`, `recovery` and `report` are pure, and tested as such in tests/unit/test_chaos_*.py.
"""
