"""A dataset that exists on one host only, which others cannot reach: its consumers run there, or it is made again elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.network import Network
from tests.integration.test_transfer_namespaces import hosts_apart
from tests.waiting import eventually

LONGEST_SECONDS = 60.0
"""From the cut to the end of the job. A host that is out of reach is given up after 5 to 12 s; the rest is a busy machine."""
USERS = 9
CLIENT = f"""
import json, os, subprocess, sys, time
import numpy as np
import headrace as hr

def make(folder):
    shown = subprocess.check_output(["ip", "-4", "-oneline", "addr", "show", "eth0"], text=True)
    with open(folder + "/began", "w") as file:
        file.write(shown.split()[3].split("/")[0])
    os.rename(folder + "/began", folder + "/where")
    while not os.path.exists(folder + "/gate"):
        time.sleep(0.01)
    return np.full(500_000, 7)

def use(number, field):
    time.sleep(0.3)
    return int(field[0]) + number

with hr.Cluster.connect(sys.argv[1]) as cluster:
    graph = hr.Graph("only copy")
    field = graph.add(make, sys.argv[2], name="make")
    graph.output([graph.add(use, number, field) for number in range({USERS})])
    print(json.dumps(list(cluster.submit(graph).results(150).values())), flush=True)
"""


def cut(net: Network, one: str, other: str) -> None:
    """Lose what two hosts send to each other; both reach everybody else."""
    for name, peer in ((one, other), (other, one)):
        wrong = f"neigh replace {net.address(peer)} lladdr 02:00:00:00:00:99 dev eth0 nud permanent"
        subprocess.run(net.inside(name, ["ip", *wrong.split()]), check=True, capture_output=True)


@pytest.mark.netns
@pytest.mark.parametrize("peers", [2, 1], ids=["from both others", "from one"])
def test_a_dataset_that_only_a_host_has_that_others_cannot_reach(tmp_path: Path, peers: int) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    with hosts_apart(3) as (net, spread):
        command = net.inside(net.hub, [sys.executable, str(script), spread.url, str(tmp_path)])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            where = tmp_path / "where"
            eventually(where.exists, told=spread.log.read_text)
            maker = next(name for name in net.hosts if net.address(name) == where.read_text())
            for other in [name for name in net.hosts if name != maker][:peers]:
                cut(net, maker, other)
            began = time.monotonic()
            (tmp_path / "gate").touch()
            assert json.loads(client.stdout.readline() or "null") == [7 + number for number in range(USERS)], spread.log.read_text()
            assert time.monotonic() - began < LONGEST_SECONDS
