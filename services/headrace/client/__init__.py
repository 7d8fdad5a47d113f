"""The user's side of a cluster: `Cluster`, `Job`, and the processes of a local cluster.

    Cluster --submit--> Job                  blocking calls, from any thread
       |                 |
    Connection <---- Following               one background thread: event loop, bus, one fold per job, links for values
       |
    LocalServices --pipe--> Supervisor --fork--> nats-server, controller, scheduler, publisher, workers

`headrace` itself exports what users need; nothing here is imported before it is used.
"""
