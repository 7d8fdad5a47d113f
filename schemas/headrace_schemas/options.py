"""The options of a job: how the user wants it run, apart from its graph."""

from __future__ import annotations

from headrace_schemas.base import Record
from headrace_schemas.graph import GraphSource, SinkSpec


class JobOptions(Record, kw_only=True):
    """How a job runs. `Submitted` and the first `Assign` to each host carry it."""

    sink: SinkSpec | None = None
    """The job's sink for outputs that have none of their own. None: the hosts hold them for the client."""


DEFAULTS = JobOptions()
"""The options of a job that was submitted without any. Shared: never change it."""


def options_of(options: JobOptions | None, graph: GraphSource | None) -> JobOptions:
    """Return the options of a job from the fields of a `Submitted` or `Assign`.

    Older clients and schedulers put the sink into the graph's source, where it is used if the message has no options.
    """
    if options is not None:
        return options
    return DEFAULTS if graph is None or graph.sink is None else JobOptions(sink=graph.sink)
