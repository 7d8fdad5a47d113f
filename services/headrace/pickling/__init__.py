"""Serialization of functions, classes and objects that no importable module has, and of what a traceback in another process shows of them.

cloudpickle does most of it. `by_value` calls it, and the other modules add what it lacks or does wrong:

=============  ===============================================================================================
`callables`    `functools.lru_cache`, `cache`, `singledispatch` and `cached_property`, which otherwise pickle as references to
               `__main__`, or not at all; the same for `typing.NewType` and similar names
`classes`      classes with `__slots__`, and enumerations with aliases, or with their own `__init__` or `__new__`
`exceptions`   exceptions whose `__init__` takes other arguments than they keep
`sources`      files and source lines of code objects
=============  ===============================================================================================

A class that comes back to the process that defined it is the same class again, and does not change there.
"""
