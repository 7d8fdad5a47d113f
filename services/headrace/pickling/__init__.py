"""How functions, classes and objects that no importable module has reach another process, and what a traceback there shows of them.

cloudpickle does most of it; `by_value` calls it, and adds what it leaves out or gets wrong:

=============  ===============================================================================================
`callables`    `functools.lru_cache`, `cache`, `singledispatch` and `cached_property`, which pickle as references to `__main__`, or not
               at all; the same for `typing.NewType` and its like
`classes`      classes with `__slots__`, and enumerations with aliases, or with `__init__` or `__new__` of their own
`exceptions`   exceptions whose `__init__` takes other arguments than they keep
`sources`      files and source lines of code objects
=============  ===============================================================================================

A class that comes back to the process that defined it is that class again, and stays as it is there.
"""
