"""Build, validate, freeze to arrays, hash.

The user's half (`builder`, `task`, `node`) imports neither numpy nor anything of the bus, so that `import headrace` stays quick. The
frozen half (`freezing`, `topology`, `validation`, `hashing`) works on numpy columns; services and clients import it when they have a
graph in hand. What a runner needs is in `functions` (load a callable) and `templates` (load and bind arguments).

    builder.Graph --add--> columns + templates --freezing.freeze--> GraphSpec --validation.validate--> topology.Topology
"""
