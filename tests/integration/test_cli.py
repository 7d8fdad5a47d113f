"""The command line, as a shell starts it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace as hr
from headrace.bus import Bus, EmbeddedServer
from headrace_schemas import HostEntry, decoder, streams
from tests.command_line import said
from tests.waiting import eventually, wait_for

WAIT = 60.0
GRAPHS = """
import operator
import headrace as hr

def broken(value):
    raise ValueError("on purpose")

good = hr.Graph("good")
good.add(operator.add, 20, 3, name="sum")
bad = hr.Graph("bad")
bad.add(broken, 1, name="breaks")
"""


def headrace(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments],
        env={**_clean_env(), **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )


def _clean_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "graphs_for_cli.py"
    path.write_text(GRAPHS)
    return path


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster by `headrace up`, and the variables that it printed."""
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "up",
        "--hosts",
        "1",
        "--log-file",
        str(tmp_path_factory.mktemp("up") / "services.log"),
    ]
    env = _clean_env() | {"HEADRACE_METRICS": "127.0.0.1:0"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        exports = [process.stdout.readline().split()[1].split("=", 1) for _ in range(2)]
        yield dict(exports)
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=WAIT)[1]
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert re.findall(r"^# metrics of (\S+): http://127\.0\.0\.1:\d+/metrics$", errors, re.MULTILINE) == [
            "controller",
            "scheduler",
            "publisher",
            "host-0",
        ]
        assert Path(command[-1]).is_file()
    finally:
        process.kill()
        process.communicate()


def test_help_names_every_command() -> None:
    shown = headrace("--help").stdout
    commands = [
        "demo",
        "up",
        "run",
        "jobs",
        "status",
        "watch",
        "outputs",
        "get",
        "cancel",
        "tail",
        "replay",
        "controller",
        "scheduler",
        "worker",
        "publisher",
        "version",
    ]
    assert [command for command in commands if not re.search(rf"^\W*{command}\b", shown, re.MULTILINE)] == []


def test_the_version_is_told_without_heavy_imports() -> None:
    done = headrace("version")
    assert re.fullmatch(r"headrace \d+\.\d+\.\d+\S*\n", done.stdout)
    code = "import headrace.cli.app, sys; print(sorted(m for m in ('numpy', 'nats', 'asyncio', 'rich.table') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_version_and_help_are_flags_too() -> None:
    assert headrace("--version").stdout == headrace("version").stdout
    assert headrace("-h").stdout == headrace("--help").stdout
    assert "--sink" in headrace("run", "-h").stdout


def test_outputs_of_a_run_are_kept_for_get_or_written_to_a_sink(up: dict[str, str], graphs: Path, tmp_path: Path) -> None:
    kept = headrace("run", f"{graphs}:good", "--keep", env=up)
    assert kept.returncode == 0
    job = re.search(r"# kept: headrace get (\w+)/NAME", kept.stderr)
    assert job is not None
    assert headrace("get", f"{job[1]}/sum", "-o", str(tmp_path / "sum.pickle"), env=up).returncode == 0
    assert pickle.loads((tmp_path / "sum.pickle").read_bytes()) == 23
    for env in (up, {}):
        place = tmp_path / f"products-{len(env)}"
        done = headrace("run", f"{graphs}:good", "--sink", str(place), "--hosts", "1", env=env)
        assert (done.returncode, done.stderr) == (0, "")
        assert "good: 1 task in" in done.stdout
        assert str(place / "sum.pickle") in done.stdout
        assert pickle.loads((place / "sum.pickle").read_bytes()) == 23
    alone = headrace("run", f"{graphs}:good", "--keep")
    assert alone.returncode == 2
    assert "--keep needs a cluster that keeps running: start one with `headrace up`" in alone.stderr


def test_tasks_import_modules_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def number():\n    import beside_too\n    return beside_too.NUMBER\n")
    (tmp_path / "beside_too.py").write_text("NUMBER = 41\n")
    (tmp_path / "file.py").write_text("import beside, headrace as hr\ng = hr.Graph('g')\ng.add(beside.number, name='n')\n")
    script = [str(Path(sysconfig.get_path("scripts")) / "headrace")]
    alone = subprocess.run([*script, "run", str(tmp_path / "file.py")], env=_clean_env(), capture_output=True, text=True, timeout=WAIT)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert re.search(r"n\s+int\s+41", alone.stdout)
    process = subprocess.Popen([*script, "up", "--hosts", "1"], cwd=tmp_path, env=_clean_env(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        env = dict(process.stdout.readline().split()[1].split("=", 1) for _ in range(2))
        assert re.search(r"n\s+int\s+41", headrace("run", str(tmp_path / "file.py"), env=env).stdout)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT)


def test_what_others_wrote_does_not_command_the_terminal(up: dict[str, str], tmp_path: Path) -> None:
    odd = "\x1b[2J\x07\x9b2J\u202e"
    (tmp_path / "odd.py").write_text(
        f"import headrace as hr\nodd = {odd!r}\n"
        "def fails():\n    raise ValueError(odd)\n"
        "good = hr.Graph('good' + odd)\ngood.add(abs, -1, name='sum' + odd, metadata={odd: odd})\n"
        "bad = hr.Graph('bad' + odd)\nbad.add(fails, name='task' + odd)\n"
    )
    runs = [headrace("run", f"{tmp_path / 'odd.py'}:{name}", env=up) for name in ("good", "bad")]
    assert [run.returncode for run in runs] == [0, 1]
    ids = re.findall(r"^\s*(\w+)\s+(?:good|bad)\\x1b", said("jobs", env=up).stdout, re.MULTILINE)
    assert len(ids) == 2
    commands = [["jobs"], ["outputs"], ["outputs", "--json"]]
    commands += [[*command, job] for job in ids for command in (["status"], ["watch"], ["tail"], ["replay"], ["replay", "--json"])]
    for done in (*runs, *(said(*command, env=up) for command in commands)):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout + done.stderr), done.args


def test_a_graph_runs_on_a_cluster_of_its_own(graphs: Path) -> None:
    done = headrace("run", f"{graphs}:good", "--hosts", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "good: 1 task in" in done.stdout
    assert re.search(r"sum\s+int\s+23", done.stdout)


def test_wrong_use_is_status_2(graphs: Path) -> None:
    several = headrace("run", str(graphs))
    assert several.returncode == 2
    assert "several graphs" in several.stderr
    assert headrace("run").returncode == 2
    assert headrace("nonsense").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["up", "--hosts", "0"], {}),
        (["up", "--capacity", "100"], {}),
        (["up"], {"HEADRACE_CAPACITY": "4 elephants"}),
    ],
)
def test_settings_that_cannot_be_used_are_told_without_a_traceback(arguments: list[str], env: dict[str, str]) -> None:
    done = headrace(*arguments, env=env)
    assert done.returncode == 2
    assert "Invalid value" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("jobs", "HEADRACE_CONNECT_TIMEOUT", "soon"),
        ("jobs", "HEADRACE_CA", "/nowhere/ca.pem"),
        ("jobs", "HEADRACE_VIA", "pigeons"),
        ("scheduler", "HEADRACE_WINDOW_TASKS", "many"),
        ("controller", "HEADRACE_OUTPUT_EXPIRY", "soon"),
        ("worker", "HEADRACE_HOST", "a.b"),
        ("worker", "HEADRACE_LISTEN", "127.0.0.1:99999"),
        ("worker", "HEADRACE_ADVERTISE", "here:abc"),
        ("worker", "HEADRACE_SPILL_DIR", "/nowhere"),
        ("worker", "HEADRACE_RUNNER_THREADS", "many"),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_line_that_names_it(command: str, variable: str, value: str) -> None:
    done = headrace(command, env={variable: value})
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: ")
    assert done.stderr.count("\n") == 1
    assert variable in done.stderr


def test_a_flag_of_a_worker_comes_before_its_variable_also_where_it_says_nothing(
    nats_server: EmbeddedServer, tmp_path: Path, runner: asyncio.Runner, bus: Bus
) -> None:
    variables = {
        "HEADRACE_HOST": "of_the_variable",
        "HEADRACE_RUNNERS": "many",
        "HEADRACE_CAPACITY": "2Mi",
        "HEADRACE_RESOURCES": "gpu=1",
        "HEADRACE_LISTEN": "",
        "HEADRACE_SHM_DIR": str(tmp_path),
        "HEADRACE_SPILL_DIR": "/nowhere",
    }
    command = [sys.executable, "-m", "headrace.cli", "worker", "--host", "of_the_flag"]
    flags = ["--runners", "2", "--capacity", "0", "--resources", "", "--spill-dir", "none"]
    worker = subprocess.Popen([*command, *flags], env=_clean_env() | nats_server.settings.to_env() | variables, stderr=subprocess.PIPE)
    try:
        hosts = bus.kv(streams.HOSTS.name)
        entries = eventually(lambda: worker.poll() is None and runner.run(hosts.entries()), WAIT, told=lambda: worker.poll())
    finally:
        worker.terminate()
        said = worker.communicate(timeout=WAIT)[1]
    assert list(entries) == ["of_the_flag"], said
    entry = decoder(HostEntry).decode(entries["of_the_flag"].value)
    assert (entry.runners, entry.resources) == (2, {})
    assert entry.capacity > 2 << 20, "its share of the memory"


def test_of_a_file_that_raises_only_its_own_frames_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "raising.py"
    path.write_text("import headrace as hr\ndef make():\n    hr.Graph().add(len, '', metadata={1: 2})\ng = make()\n")
    done = headrace("run", str(path))
    assert done.returncode == 1
    assert re.findall(r'File "(.*)", line (\d+)', done.stderr) == [(str(path), "4"), (str(path), "3")]
    assert done.stderr.splitlines()[-1] == f"headrace: {path} raised GraphError"
    path.write_text("import nothing_of_this_name\n")
    done = headrace("run", str(path))
    assert re.findall(r'File "(.*)", line (\d+)', done.stderr) == [(str(path), "1")]


@pytest.mark.parametrize("name", ["my.graph.py", "json.py", "queue.py"])
def test_a_file_may_have_any_name_and_neighbours(tmp_path: Path, name: str) -> None:
    (tmp_path / "neighbour_of_graphs.py").write_text("def triple(x): return 3 * x\n")
    text = "import headrace as hr\nfrom neighbour_of_graphs import triple\ndef f(x): return triple(x) + 1\ng = hr.Graph('g')\ng.add(f, 2)\n"
    (tmp_path / name).write_text(text)
    done = headrace("run", str(tmp_path / name), "--hosts", "1", "--capacity", "64M")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"f-0\s+int\s+7", done.stdout)


def test_what_fails_is_one_line_and_status_1(tmp_path: Path) -> None:
    done = headrace("jobs", env={"HEADRACE_URL": "nats://127.0.0.1:9", "HEADRACE_CONNECT_TIMEOUT": "0.5"})
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: ")
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1:9" in done.stderr


def test_a_running_cluster_is_used_and_looked_at(up: dict[str, str], graphs: Path) -> None:
    assert headrace("run", f"{graphs}:good", env=up).returncode == 0
    bad = headrace("run", f"{graphs}:bad", env=up)
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[-1] == "headrace: task 'breaks' failed: ValueError: on purpose"
    assert 'raise ValueError("on purpose")' in bad.stderr

    listed = said("jobs", env=up).stdout
    good = re.search(r"^\s*(\w+)\s+good\s+done", listed, re.MULTILINE)
    assert good is not None
    assert re.search(r"bad\s+failed", listed)
    shown = said("status", good[1], env=up)
    assert re.search(r"state\s+done", shown.stdout)
    cluster = said("status", env=up).stdout
    assert re.search(r"leading\s+controller, scheduler, publisher", cluster)
    assert re.search(r"hosts\s+host-0", cluster)
    assert re.search(r"stream LOG\s+0\.\d MB, 0% of 4,295\.0 MB\s*$", cluster, re.MULTILINE)
    assert said("cancel", good[1], env=up).stdout == f"{good[1]} had already ended: done\n"
    for command in ("status", "cancel", "replay"):
        for job in ("nosuchjob", "", "no such job", "a.b", "x" * 200):
            missing = said(command, job, env=up)
            assert (missing.returncode, len(missing.stderr.splitlines())) == (1, 1), missing.stderr


@pytest.mark.parametrize("url", ["garbage::x", "nats://host:port", "http://127.0.0.1:4222", " "])
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    for command in ("jobs", "controller"):
        done = said(command, "--url", url, env={})
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert "is not an address of a NATS server" in done.stderr


@pytest.mark.parametrize(("variable", "value"), [("HEADRACE_METRICS", "nowhere"), ("HEADRACE_LISTEN", "192.0.2.1:0")])
def test_a_worker_that_cannot_listen_ends_and_says_where(up: dict[str, str], variable: str, value: str) -> None:
    done = headrace("worker", "--host", "deaf", env={**up, variable: value})
    assert done.returncode == 1
    assert variable in done.stderr
    assert value in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_is_replayed_and_checked(up: dict[str, str], graphs: Path) -> None:
    headrace("run", f"{graphs}:good", env=up)
    job = re.findall(r"^\s*(\w+)\s+good\s+done", said("jobs", env=up).stdout, re.MULTILINE)[-1]
    timeline = said("replay", job, env=up)
    assert timeline.returncode == 0
    assert "submitted" in timeline.stdout
    times = {line.split()[4]: float(line.split()[1]) for line in timeline.stdout.splitlines() if " s  " in line}
    assert times["host_joined"] < times["submitted"] == 0.0
    assert "done" in timeline.stdout
    assert said("replay", job, "--check", env=up).returncode == 0
    lines = [json.loads(line) for line in said("replay", job, "--json", env=up).stdout.splitlines()]
    assert len(lines) >= 4
    about = {line["message"]["kind"]: line["message"].get("about") for line in lines if "message" in line}
    assert about["assign"] == "sum"
    assert about["events"] == "made sum"


def test_a_job_is_told_in_words_and_watched_to_its_end(up: dict[str, str], graphs: Path) -> None:
    assert headrace("run", f"{graphs}:bad", env=up).returncode == 1
    jobs = said("jobs", env=up).stdout
    job = re.findall(r"(\w{12})\s+bad", jobs)[-1]
    told = said("tail", job, env=up)
    assert told.returncode == 0
    assert re.search(r"client +submitted +'bad', 1 tasks", told.stdout)
    assert "breaks failed, attempt 0 (raised): ValueError: on purpose" in told.stdout
    watched = said("watch", job, env=up)
    assert watched.returncode == 1
    assert f"{job}  bad  failed" in watched.stdout
    assert "0 of 1 tasks" in watched.stdout
    for command in ("tail", "watch"):
        nothing = said(command, "nosuchjob", env=up)
        assert nothing.returncode == 1
        assert "job 'nosuchjob' is not in the log" in nothing.stderr


def test_a_job_whose_outputs_were_released_before_they_were_made_is_told_to_its_end(up: dict[str, str], tmp_path: Path) -> None:
    graph = hr.Graph("unwanted")
    graph.add(wait_for, str(tmp_path / "go"))
    with hr.Cluster.connect(up["HEADRACE_URL"], token=up["HEADRACE_TOKEN"]) as cluster:
        job = cluster.submit(graph)
        job.release()
        eventually(lambda: "released" in said("tail", job.id, "--no-follow", env=up).stdout)
        assert not job.done, "its task has not ended yet"
        (tmp_path / "go").touch()
        assert job.wait(WAIT) == "done"
    told = said("tail", job.id, env=up)
    assert told.returncode == 0
    assert re.search(r"controller +released +all outputs", told.stdout)
    assert re.search(r"controller +ended +done", told.stdout)


OF_A_JOB = ("status", "watch", "outputs", "tail", "replay", "cancel")
CANNOT_WRITE = "headrace: cannot write to standard output: No space left on device\n"


@pytest.fixture
def job_id(up: dict[str, str], graphs: Path) -> str:
    """A job that is done."""
    assert headrace("run", f"{graphs}:good", env=up).returncode == 0
    found: str = re.findall(r"^\s*(\w+)\s+good\s+done", said("jobs", env=up).stdout, re.MULTILINE)[-1]
    return found


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_one_line_and_status_1(up: dict[str, str], graphs: Path, job_id: str) -> None:
    """Found at the end, when what was printed is written; or at once."""
    at_once = [["demo", "--help"], ["run", f"{graphs}:good"]]
    at_the_end = [*at_once, ["--help"], ["version"], ["jobs"], ["tail", "--no-follow"], *([command, job_id] for command in OF_A_JOB)]
    for unbuffered, commands in (("1", at_once), ("", at_the_end)):
        env = {**_clean_env(), **up, "PYTHONUNBUFFERED": unbuffered}
        for command in commands:
            line = [sys.executable, "-m", "headrace.cli", *command]
            with open("/dev/full", "w") as full:
                done = subprocess.run(line, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False)
            assert (command, done.returncode, done.stderr) == (command, 1, CANNOT_WRITE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_one_line_also_when_it_is_found_at_once(up: dict[str, str], job_id: str) -> None:
    for command in (["--help"], ["version"], ["jobs"], ["tail", "--no-follow"], *([command, job_id] for command in OF_A_JOB)):
        with io.TextIOWrapper(open("/dev/full", "wb", buffering=0), write_through=True) as full:
            done = said(*command, env=up, stdout=full)
        assert (command, done.returncode, done.stderr) == (command, 1, CANNOT_WRITE)


def test_a_reader_that_has_gone_is_nothing_to_speak_of() -> None:
    read, write = os.pipe()
    os.close(read)
    for command in (["version"], ["demo", "--help"]):
        line = [sys.executable, "-m", "headrace.cli", *command]
        done = subprocess.run(line, env=_clean_env(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False)
        assert (done.returncode, done.stderr) == (1, "")
    os.close(write)


def test_a_log_file_that_cannot_be_opened_is_one_line_that_names_it(tmp_path: Path) -> None:
    done = headrace("up", "--log-file", str(tmp_path / "nowhere" / "log"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert str(tmp_path / "nowhere" / "log") in done.stderr


def test_the_demo_runs_and_writes_where_it_is_told(tmp_path: Path) -> None:
    done = headrace("demo", "--no-png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tasks/s" in done.stdout
    assert not list(tmp_path.iterdir())
