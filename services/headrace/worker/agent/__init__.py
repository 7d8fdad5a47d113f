"""The agent: the state machine of a host, without I/O. It takes events and returns actions, which the rest of `worker` carries out."""
