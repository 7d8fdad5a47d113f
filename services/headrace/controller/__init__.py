"""The life of jobs: progress, purges, recovery.

written.py    requests and hosts' leases -> what is written into the log before it is acted on
state.py      the log so far -> decisions, by recovery.py (what must run again), retries.py (when), purges.py (what can be dropped, from
              uses.py) and unschedulable.py (what no host can take)
service.py    the log in, decisions out; requests.py writes down what clients ask for; entries.py shows
              jobs in a bucket
replay.py     makes every decision again and compares
"""
