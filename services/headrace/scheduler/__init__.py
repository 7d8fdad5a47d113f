"""The scheduler: it plans jobs, releases chains to hosts in plan order, and places lost work anew. `state` decides, `service` publishes."""
