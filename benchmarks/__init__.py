"""Headrace timed beside serial Python and other engines, on the same graphs. `python -m benchmarks --help` says how."""
