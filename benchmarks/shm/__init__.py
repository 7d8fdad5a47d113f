"""The shared-memory library beside others that do the like: `python -m benchmarks.shm`."""
