"""How functions, classes and objects that no importable module has reach another process, and what a traceback there shows of them."""
