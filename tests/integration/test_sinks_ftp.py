"""A sink that is not a folder: a real FTP server, as fsspec opens it, from runners, publisher and client."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

import headrace as hr

WAIT = 60.0


def field() -> xr.DataArray:
    return xr.DataArray(np.ones((3, 4)), dims=("y", "x"), name="2t")


def array(n: int) -> np.ndarray:
    return np.arange(float(n))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server on a free port, whose files are in `tmp_path`."""
    logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
    authorizer = DummyAuthorizer()
    authorizer.add_user("anna", "secret", str(tmp_path), perm="elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer})
    ftp = FTPServer(("127.0.0.1", 0), handler)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            ftp.serve_forever(timeout=0.05, blocking=False)
        ftp.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"ftp://anna:secret@127.0.0.1:{ftp.address[1]}"
    over.set()
    thread.join()


def test_outputs_go_to_a_server_and_come_back(server: str, tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        for size in (1000, 2_000_000):
            g = hr.Graph("remote")
            g.add(array, size, name="array")
            g.add(field, name="field")
            g.add(str, 5, name="five")
            results = cluster.submit(g, sink=f"{server}/out/{{graph}}").results(WAIT)
            np.testing.assert_array_equal(results["array"], array(size))
            xr.testing.assert_identical(results["field"], field())
            assert results["five"] == "5"
            found = sorted(path.name for path in (tmp_path / "out" / "remote").iterdir())
            assert found == ["array.npy", "field.nc", "five.pickle"]
