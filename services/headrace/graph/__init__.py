"""Graphs: build them, validate them, freeze them to columns, and hash them.

The user's half (`builder`, `task`, `node`) imports neither numpy nor the bus, so that `import headrace` stays fast. The frozen half
(`freezing`, `topology`, `validation`, `hashing`) works on numpy columns; services and clients import it when they need to handle a graph.
Runners use `functions` (load a callable) and `templates` (load and bind arguments). `sink_checks` checks the sinks of a graph.

    builder.Graph --add--> columns + templates --freezing.freeze--> GraphSpec --validation.validate--> topology.Topology
"""
