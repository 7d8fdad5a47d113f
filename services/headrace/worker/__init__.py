"""The host: the shell around its agent, which is in `agent/`: processes, sockets, files and shared memory."""
