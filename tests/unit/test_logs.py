"""A service's log as text and as JSON."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator

import pytest

from headrace.logs import Event, get_log, set_up_logging

log = get_log("headrace.worker.links")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., io.StringIO]]:
    """Sets up logging with these variables of the environment; returns what is written from then on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def set_up(**variables: str) -> io.StringIO:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stderr", out)
        for name in ("LEVEL", "FORMAT"):
            monkeypatch.delenv(f"HEADRACE_LOG_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"HEADRACE_LOG_{name.upper()}", value)
        root.handlers[:] = []  # pytest's own would be closed
        set_up_logging(lambda: {"service": "worker", "host": "a"})
        return out

    yield set_up
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_is_a_line_with_time_level_logger_sentence_and_keys(written: Callable[..., io.StringIO]) -> None:
    out = written()
    log.info("not shown by default", job="x")
    log.warning("no link to a host", peer="b c", error=OSError("refused"), job="j1", dataset=7)
    line = r"\d{4}-\d\d-\d\dT[\d:.]+Z WARNING headrace\.worker\.links: no link to a host service=worker host=a process=\d+ "
    assert re.fullmatch(line + r'peer="b c" error=refused job=j1 dataset=7\n', out.getvalue())


def test_json_is_an_object_a_line_also_with_a_traceback(written: Callable[..., io.StringIO]) -> None:
    out = written(format="json", level="info")
    log.info("a dataset will be relayed by another host", job="j1", dataset=7, through="c")
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        log.exception("could not carry out an action", error=error)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first.pop("timestamp")
    assert first.pop("process")
    assert first == {
        "event": "a dataset will be relayed by another host",
        "level": "info",
        "logger": "headrace.worker.links",
        "service": "worker",
        "host": "a",
        "job": "j1",
        "dataset": 7,
        "through": "c",
    }
    assert second["error"] == "two\nlines"
    assert second["exception"].endswith("ValueError: two\nlines")


@pytest.mark.parametrize("format", ["text", "json"])
def test_records_of_libraries_go_the_same_way(written: Callable[..., io.StringIO], format: str) -> None:
    out = written(format=format)
    logging.getLogger("some.library").error("%d of %s", 3, "them")
    if format == "json":
        found = json.loads(out.getvalue())
        assert (found["event"], found["logger"], found["host"]) == ("3 of them", "some.library", "a")
    else:
        assert "Z ERROR some.library: 3 of them service=worker host=a process=" in out.getvalue()


def test_a_setting_that_is_wrong_is_named(written: Callable[..., io.StringIO]) -> None:
    out = written(format="xml", level="loud")
    assert "HEADRACE_LOG_LEVEL is not a level; using WARNING" in out.getvalue()
    assert "value=LOUD" in out.getvalue()
    assert "HEADRACE_LOG_FORMAT is not a format; using text service=worker host=a" in out.getvalue()


def test_a_setting_that_is_wrong_is_named_once_though_a_process_sets_up_its_log_again(written: Callable[..., io.StringIO]) -> None:
    out = written(format="xml", level="loud")
    for service in ("worker", "runner"):
        set_up_logging(lambda service=service: {"service": service})  # type: ignore[misc]
    log.warning("now it is another")
    assert out.getvalue().count("HEADRACE_LOG_LEVEL") == out.getvalue().count("HEADRACE_LOG_FORMAT") == 1
    assert "now it is another service=runner" in out.getvalue()


def test_who_knows_nothing_of_keys_sees_them_in_the_text(caplog: pytest.LogCaptureFixture) -> None:
    log.error("it failed", job="j1", quoted='"', empty="", long="x" * 3000)
    (record,) = caplog.records
    assert isinstance(record.msg, Event)
    assert record.getMessage() == f'it failed job=j1 quoted="\\"" empty="" long={"x" * 2000}...'
    assert record.funcName == "test_who_knows_nothing_of_keys_sees_them_in_the_text"


@pytest.mark.parametrize("format", ["text", "json"])
def test_nothing_in_a_record_commands_the_terminal(written: Callable[..., io.StringIO], format: str) -> None:
    out = written(format=format)
    odd = "\x1b[2J\x9b\u202e\nlast"
    try:
        raise ValueError(odd)
    except ValueError:
        log.exception(f"said {odd}", error=odd)
    text = out.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    if format == "json":
        (line,) = text.splitlines()
        assert json.loads(line)["error"] == odd
    else:
        assert r"said \x1b[2J\x9b\u202e\nlast" in text.splitlines()[0]
