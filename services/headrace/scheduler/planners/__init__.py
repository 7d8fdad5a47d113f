"""Planners: pure functions that turn a `Problem` (graph, hosts, costs) into a `Plan` (hosts, order, predicted times).

Everything here is pure: a planner that runs twice on one problem returns the same plan twice, and changes nothing.
"""
