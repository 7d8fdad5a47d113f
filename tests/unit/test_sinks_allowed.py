"""Sinks may write only below the folders that the operator names, without any way around."""

from __future__ import annotations

import pytest

from headrace.errors import GraphError, SettingsError, SinkRefused
from headrace.sinks.allowed import Allowed

ALLOWED = Allowed.from_env({"HEADRACE_SINKS": " /data/products/, s3://bucket/prefix,file:///scratch"})


def test_roots_are_read_from_the_environment() -> None:
    assert ALLOWED.roots == ("/data/products", "s3://bucket/prefix", "/scratch")
    assert Allowed.from_env({}) == Allowed.from_env({"HEADRACE_SINKS": ""}) == Allowed()


@pytest.mark.parametrize("text", ["products", "/data,../x", "/data/../etc", "/data/{job}", "zip::/data", "file://data"])
def test_roots_that_are_no_folders_are_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_SINKS"):
        Allowed.from_env({"HEADRACE_SINKS": text})


@pytest.mark.parametrize(
    "path",
    ["/data/products", "/data/products/", "/data/products/{job}/{param}.npy", "/data/products/a.npy", "file:///data/products/x/",
     "/data//products/./x/", "s3://bucket/prefix", "s3://bucket/prefix/{name}", "/scratch/{{x}}/{name}.npy", "local:///scratch/x"],
)  # fmt: skip
def test_a_sink_below_a_root_is_allowed(path: str) -> None:
    ALLOWED.check_path(path)
    Allowed().check_path(path)


@pytest.mark.parametrize(
    "path",
    ["/data", "/data/{name}", "/data/{x}/products/a.npy", "/data/products{x}", "/data/products{x}/a.npy", "/data/productsx/a.npy", "/x/",
     "s3://bucket/prefix{x}/a", "s3://bucket", "s3://other/prefix/x", "s3a://bucket/prefix/x", "gs://bucket/prefix/x", "memory://scratch/x",
     "file:///etc/x/", "{x}/scratch/a.npy"],
)  # fmt: skip
def test_a_sink_elsewhere_is_refused_and_the_error_says_where_one_may_be(path: str) -> None:
    with pytest.raises(
        GraphError,
        match=r"choose a place below /data/products, s3://bucket/prefix, /scratch|relative path",
    ):
        ALLOWED.check_path(path)


@pytest.mark.parametrize(
    "path",
    ["/data/products/../../etc/x.npy", "/data/products/..", "s3://bucket/prefix/../other/{name}", "/data/products/{x}/../../y/",
     "zip://a::/data/products/x", "/data/products/\0/", "out/{name}", "../x/", "/scratch/..\\x/"],
)  # fmt: skip
@pytest.mark.parametrize("allowed", [ALLOWED, Allowed()])
def test_a_way_around_is_refused_whatever_is_allowed(path: str, allowed: Allowed) -> None:
    with pytest.raises(SinkRefused):
        allowed.check_path(path)


def test_files_are_below_a_root() -> None:
    assert ALLOWED.check_file("/data/products/a/.b.npy.part") == "/data/products"
    assert ALLOWED.check_file("s3://bucket/prefix/x.npy") == "s3://bucket/prefix"
    assert Allowed().check_file("/anywhere/x.npy") == ""
    for location in ("/data/products", "/data/productsx", "/etc/passwd", "s3://bucket/prefixed", "relative"):
        with pytest.raises(SinkRefused):
            ALLOWED.check_file(location)
    for location in ("/data/products/../x", "/a/zip::/b", "relative/x", "s3://bucket/../x"):
        for allowed in (ALLOWED, Allowed()):
            with pytest.raises(SinkRefused):
                allowed.check_file(location)
