"""Writer and publisher compute the same names of files in sinks, whatever a message says."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import GraphError
from headrace.graph.sinks import Sinks
from headrace.graph.topology import Topology
from headrace.ledger.placing import Placing
from headrace.sinks.naming import Names, names_of
from headrace.sinks.places import Named, Writer
from headrace_schemas import FunctionSpec, GraphSpec, SinkSpec, Written

NAMED = Named("k3v7", "march", "mean", {"param": "2t", "step": 6})
WRITER = Writer("k3v7", 4, 1, "alpha", "1795358400000.4242.7")


@pytest.mark.parametrize(
    ("sink", "encoding", "location"),
    [
        (SinkSpec(path="/out"), "npy", "/out/mean.npy"),
        (SinkSpec(path="/out"), "pickle", "/out/mean.pickle"),
        (SinkSpec(path="file:///out//./"), "npy", "/out/mean.npy"),
        (SinkSpec(path="/out/{param}-{step:03d}.nc"), "nc", "/out/2t-006.nc"),
        (SinkSpec(path="s3://means/{param}/{name}", encoding="npz"), "npz", "s3://means/2t/mean.npz"),
        (SinkSpec(path="/out", encoding="grib2", encoder=b"x"), "grib2", "/out/mean.grib2"),
        (SinkSpec(path="/out", encoder=b"x"), "other", "/out/mean"),
    ],
)
def test_names_follow_from_sink_output_and_write(sink: SinkSpec, encoding: str, location: str) -> None:
    folder, _, name = location.rpartition("/")
    part = f"{folder}/.{name}.k3v7-4-1-alpha-1795358400000.4242.7.part"
    assert names_of(sink, NAMED, encoding, WRITER) == Names(location, part)


@pytest.mark.parametrize(
    ("sink", "encoding"),
    [
        (SinkSpec(path="/out"), "../../etc/cron.d/x"),
        (SinkSpec(path="/out"), ""),
        (SinkSpec(path="/out/{param}.nc"), "npy"),
        (SinkSpec(path="/out", encoding="npz"), "npy"),
        (SinkSpec(path="/out", encoder=b"x"), "npy"),
    ],
)
def test_an_encoding_that_the_sink_does_not_have_is_refused(sink: SinkSpec, encoding: str) -> None:
    with pytest.raises(GraphError, match="has files of the encoding"):
        names_of(sink, NAMED, encoding, WRITER)


@pytest.mark.parametrize("write", ["", "..", "a/b", "1.2.3.4.5", "x" * 40, "1\n", "1.é"])
def test_a_write_that_is_none_is_refused(write: str) -> None:
    with pytest.raises(GraphError, match=r"sent .* as the write of output"):
        names_of(SinkSpec(path="/out"), NAMED, "npy", WRITER._replace(write=write))


def written(**fields: Any) -> Written:
    known = {
        "dataset": 0,
        "write": "1.2.3",
        "part": "/etc/passwd",
        "location": "/etc/shadow",
        "bytes": 1,
        "checksum": "c",
        "encoding": "npy",
    }
    return Written(**{**known, **fields})


def placing() -> Placing:
    spec = GraphSpec(
        name="g", n_tasks=2, shape_hash="", content_hash="", function=[0, 0], outputs=[0], blocks=[b""], block_size=2,
        functions=[FunctionSpec(name="f", module="m", qualname="f")], annotated=[0], metadata=[{"step": 0}],
    )  # fmt: skip
    topology = Topology.from_spec(spec)
    return Placing("j", spec, topology, Sinks.of_job(spec, SinkSpec(path="/out/{step}")))


def test_what_a_message_says_of_names_is_not_read() -> None:
    placed = placing().placed(written(), "alpha", {"step": 6})
    assert (placed.location, placed.part) == ("/out/6/f-0.npy", "/out/6/.f-0.npy.j-0-0-alpha-1.2.3.part")
    assert placing().placed(written(part="a", location="b"), "alpha", {"step": 6}) == placed
    assert placing().placed(written(), "alpha", {}).location == "/out/0/f-0.npy", "the metadata of the graph"


def test_metadata_leads_nowhere_else() -> None:
    for step in ("../..", "/etc/passwd", "..", "a/../../b", "\0", ".", ""):
        location = placing().placed(written(), "alpha", {"step": step}).location
        assert location.startswith("/out/")
        assert ".." not in location.split("/")
        assert len(location.split("/")) == 4


@pytest.mark.parametrize("dataset", [-1, 1, 2, 10**6])
def test_what_is_no_output_in_a_sink_has_no_place(dataset: int) -> None:
    assert placing().sink_of(dataset) is None
    with pytest.raises(KeyError):
        placing().placed(written(dataset=dataset), "alpha", {})


def test_metadata_that_is_not_there_is_named() -> None:
    with pytest.raises(GraphError, match="has no metadata 'step'"):
        Placing("j", spec := GraphSpec(
            name="g", n_tasks=1, shape_hash="", content_hash="", function=[0], outputs=[0], blocks=[b""], block_size=1,
            functions=[FunctionSpec(name="f", module="m", qualname="f")],
        ), Topology.from_spec(spec), Sinks.of_job(spec, SinkSpec(path="/out/{step}"))).placed(written(), "alpha", {})  # fmt: skip
