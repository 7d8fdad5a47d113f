"""The frozen graph, as a client submits it."""

from __future__ import annotations

from typing import Any

from headrace_schemas.base import Record, since


class FunctionSpec(Record, kw_only=True):
    """One distinct callable, either by name (module and qualname) or as a cloudpickle, never both.

    Controller, scheduler and publisher read the names and never unpickle anything.
    """

    name: str
    module: str = ""
    qualname: str = ""
    pickled: bytes = b""
    generator: bool = False
    retries: int = 0
    """Most retries of a task of this function that raised: at most `limits.MAX_RETRIES`."""
    gang: int = 0
    """Hosts that the task needs at once, all or nothing; 0 for an ordinary task. Reserved."""
    resources: dict[str, float] = {}
    """Resources that a task needs of a host, e.g. {"gpu": 1}: amounts above 0."""


class SourceSpec(Record, kw_only=True):
    """Lines of one file that defines code which travels as a cloudpickle. Tracebacks on a runner show them."""

    file: str
    """The name that the client's Python gives it: a path, or the name of a notebook's cell."""
    codes: list[str] = []
    """Fingerprints of the code objects that the file defines."""
    first: list[int] = []
    """Number of the first line of each run of consecutive lines."""
    texts: list[str] = []
    """The lines of each run."""


class SinkSpec(Record, kw_only=True):
    """The place where outputs are written, and their format."""

    path: str
    """A folder, or a pattern with `{job}`, `{graph}`, `{name}` and keys of the output's metadata, in any file system that fsspec opens."""
    encoding: str = ""
    """npy | npz | nc | parquet | arrow | pickle; empty: chosen by the value's type. With `encoder`: the extension of the file name."""
    options: dict[str, Any] = {}
    """Storage options for the file system."""
    encoder: bytes = b""
    """A user's pickled encoder, which takes the value and a binary file. Only runners unpickle it."""


class GraphSpec(Record, kw_only=True):
    """Tasks in topological order and the datasets between them, as columns of integers.

    Task t makes the datasets first[t] .. first[t] + n_outputs[t] - 1, where first is the running sum of n_outputs.
    `inputs` lists distinct dataset ids, concatenated in task order, n_inputs[t] of them for task t.
    """

    v: int = since(1)
    name: str
    n_tasks: int
    shape_hash: str
    """Hex SHA-256 of everything that a plan depends on: the topology, the functions' identities, and the resources that they need."""
    content_hash: str
    """Hex SHA-256 of the shape, the code and the arguments."""
    functions: list[FunctionSpec]
    function: list[int]
    """Per task: index into `functions`."""
    n_outputs: list[int] = []
    """Per task: number of datasets. Empty: one each."""
    n_inputs: list[int] = []
    """Per task: number of distinct inputs. Empty: none."""
    inputs: list[int] = []
    outputs: list[int] = []
    """Requested datasets."""
    block_size: int = 256
    """Number of consecutive tasks that share one block of arguments."""
    blocks: list[bytes] = []
    """Pickled argument templates, one list of `block_size` entries per block. Only runners unpickle them."""
    sources: list[SourceSpec] = []
    """Source lines of the code in `functions` and `blocks`. Not part of any hash."""
    named: list[int] = []
    """Tasks with a name of their own; the others are named "<function>-<task>"."""
    names: list[str] = []
    annotated: list[int] = []
    """Tasks with metadata."""
    metadata: list[dict[str, Any]] = []
    described: list[int] = []
    """Datasets with metadata of their own, besides their task's."""
    descriptions: list[dict[str, Any]] = []
    sinks: list[SinkSpec] = []
    sunk: list[int] = []
    """Outputs with a sink of their own."""
    sink: list[int] = []
    """Per such output: index into `sinks`."""


class GraphSource(Record, kw_only=True):
    """The place of a graph: in the message itself, or in the object store `graphs` under a key."""

    inline: GraphSpec | None = None
    key: str = ""
    sink: SinkSpec | None = None
    """The job's sink, where services of the release before look for it. `JobOptions.sink` replaces it, and counts if a message has both."""
