"""A runner: one process that executes the segments its agent sends, and nothing else."""
