"""The worker: processes, sockets, files and shared memory of a host. The decisions are made by the agent in `agent/`."""
