"""The controller: it starts and ends jobs, has lost work done again, and frees memory.

state.py      the log so far -> decisions, with recovery.py (which tasks must run again), pauses.py (when), purges.py and uses.py (which
              copies hosts may drop), unschedulable.py (jobs that no host can run) and cuts.py (hosts that peers cannot reach)
notes.py      requests of clients, and leases of hosts -> messages for the log
room.py       how full the log is -> jobs to refuse, to end and to remove
service.py    feeds the log to the state machine and publishes its decisions, with requests.py (the queue of requests), entries.py (the
              bucket of jobs) and roomkeeper.py (the space in the log)
replay.py     makes every decision again from a log, and compares
"""
