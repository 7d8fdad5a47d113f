"""Another language's client follows a job, with nothing but asyncapi.json to go by."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace as hr
import headrace_schemas

FILES = Path(__file__).resolve().parents[1] / "javascript"
DOCUMENT = Path(headrace_schemas.__file__).parent / "asyncapi.json"


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, in a folder with the packages that it imports."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no Node.js: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "follow.mjs"):
        shutil.copy(FILES / name, folder)
    install = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    if subprocess.run(install, cwd=folder, timeout=100).returncode != 0:
        pytest.skip("the npm packages cannot be installed here")
    return folder / "follow.mjs"


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, object]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def double(value: int) -> int:
    return 2 * value


def test_a_job_is_followed_by_the_document_alone(follower: Path) -> None:
    graph = hr.Graph("followed")
    nodes = [graph.add(double, k, name=f"double {k}", metadata={"k": k}) for k in range(20)]
    graph.add(sum, nodes, name="Σ")
    graph.output(nodes[3], graph.add(double, nodes[0], name="last"))
    with hr.Cluster.local(hosts=2) as cluster:
        command = ["node", str(follower), str(DOCUMENT), cluster.url, cluster.token]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                said = lines(process)
                assert next(said) == {"ready": True}
                job = cluster.submit(graph)
                job.results(timeout=30)
                *messages, end = said
            finally:
                process.kill()
    assert [message for message in messages if message["errors"]] == []
    assert {"Submitted", "Assign", "Events", "Published", "Ended"} <= {message["message"] for message in messages}
    assert end["job"] == job.id
    assert (end["state"], end["tasks"]) == ("done", 22)
    assert set(end["outputs"]) == {"double 3", "last"}  # type: ignore[call-overload]
