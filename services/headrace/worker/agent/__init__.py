"""The agent: all that a host decides, without I/O. Events go in, actions come out; the rest of `worker` carries them out."""
