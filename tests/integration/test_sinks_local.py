"""Files of sinks on a local disk where sinks may write below a root only: no symbolic link leads out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headrace.errors import SinkFailed, SinkRefused
from headrace.sinks import files, local
from headrace.sinks.allowed import Allowed
from headrace.sinks.places import Named, Writer
from headrace.sinks.writing import OpenSink
from headrace_schemas import SinkSpec

RECEIPT = files.Receipt(4, "sha256:3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7")  # of b"data"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that is reached by a symbolic link, with a folder in it; and a folder outside."""
    (tmp_path / "real" / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    return tmp_path / "root"


def put(folder: Path, name: str = ".a.npy.j-0-0-h-1.part") -> str:
    (folder / name).write_text("data")
    return str(folder / name)


def test_a_part_below_the_root_is_committed_also_by_a_link_that_stays_inside(root: Path) -> None:
    (root / "link").symlink_to(root / "inside")
    for folder in (root, root / "inside", root / "link"):
        files.commit(put(folder), str(folder / "a.npy"), {}, RECEIPT, str(root))
        assert (folder / "a.npy").read_text() == "data"
        files.commit(str(folder / ".gone.part"), str(folder / "a.npy"), {}, RECEIPT, str(root))


@pytest.mark.parametrize(
    "act",
    [
        lambda folder, root: files.commit(f"{folder}/.a.npy.j-0-0-h-1.part", f"{folder}/a.npy", {}, RECEIPT, root),
        lambda folder, root: files.remove(f"{folder}/.a.npy.j-0-0-h-1.part", {}, root),
        lambda folder, root: files.sweep(folder, "j", {}, root),
    ],
)
def test_a_link_that_leads_out_is_not_followed(root: Path, act: Callable[[str, str], None]) -> None:
    outside = root.parent / "outside"
    part = put(outside)
    (root / "link").symlink_to(outside)
    with pytest.raises(SinkRefused, match=r"leads through a symbolic link to .*outside, outside of"):
        act(str(root / "link"), str(root))
    assert os.listdir(outside) == [os.path.basename(part)]
    act(str(root / "link"), "")
    assert os.listdir(outside) != [os.path.basename(part)], "without a root, links are followed as anywhere"


def test_a_folder_that_becomes_a_link_while_it_is_opened_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "inside").rmdir()
    (root / "inside").symlink_to(root.parent / "outside")
    monkeypatch.setattr(local, "below", lambda path, root: "/inside")  # what was true a moment ago
    with pytest.raises(OSError), local.opened_folder(str(root / "inside"), str(root)):
        pass


def test_a_part_or_a_file_that_is_a_link_is_neither_committed_nor_read(root: Path) -> None:
    secret = root.parent / "outside" / "secret"
    secret.write_text("data")
    folder = root / "inside"
    (folder / ".a.part").symlink_to(secret)
    (folder / "a.npy").symlink_to(secret)
    with pytest.raises(files.NotThere):
        files.commit(str(folder / ".a.part"), str(folder / "a.npy"), {}, RECEIPT, str(root))
    files.commit(put(folder), str(folder / "a.npy"), {}, RECEIPT, str(root))
    assert not (folder / "a.npy").is_symlink()
    assert secret.read_text() == "data"


def test_a_runner_writes_nothing_out_of_the_root(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    named, writer = Named("j", "g", "mean", {}), Writer("j", 0, 0, "h", "1")
    for path in (root / "link", root.parent / "outside"):
        sink = OpenSink(SinkSpec(path=str(path)), Allowed((str(root),)))
        with pytest.raises(SinkFailed, match=r"symbolic link|is outside the places where sinks may write"):
            sink.write(np.zeros(3), named, writer)
    assert os.listdir(root.parent / "outside") == []
    written = OpenSink(SinkSpec(path=str(root / "new")), Allowed((str(root),))).write(np.zeros(3), named, writer)
    assert os.path.exists(written.part)
