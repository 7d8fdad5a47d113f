"""A runner: the process that executes the segments its agent sends. `state.py` decides what is next, and `loop.py` does it."""
