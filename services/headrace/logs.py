"""Logs. An event is a constant sentence that says what happened, with keys that say what it was about.

    log = get_log(__name__)
    log.warning("cannot open the link to a host", host="b", address="10.0.0.2:4711", error=error)

Records go through the standard library's `logging`, so in a user's process they look like those of any library. A service's process writes
all its records in one format (`set_up_logging`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from headrace.text import lines, one_line, plain_json

About = Callable[[], Mapping[str, Any]]
"""A function that returns the keys of every record: what the process is, and what it is working on."""
FORMATS = ("text", "json")
_CHARACTERS = 2000
"""Characters after which a value in a line of text is cut."""


class Event:
    """The message of a record: a sentence and keys. As text, for handlers that do not know keys, it is `sentence key=value ...`.

    >>> str(Event("a runner ended", {"runner": 3, "why": "out of memory"}))
    'a runner ended runner=3 why="out of memory"'
    """

    __slots__ = ("keys", "text")

    def __init__(self, text: str, keys: Mapping[str, Any]) -> None:
        self.text = text
        self.keys = keys

    def __str__(self) -> str:
        return f"{self.text} {render(self.keys)}" if self.keys else self.text


class Log:
    """A logger of events with keys.

    By convention, `error=` is the exception or reason, and `job`, `task` and `host` say what an event is about.
    """

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    def debug(self, text: str, **keys: Any) -> None:
        """Log a detail for developers of Headrace."""
        self._write(logging.DEBUG, text, keys)

    def info(self, text: str, **keys: Any) -> None:
        """Log an event that an operator may want to know."""
        self._write(logging.INFO, text, keys)

    def warning(self, text: str, **keys: Any) -> None:
        """Log an unexpected event that an operator should know, although the service continues."""
        self._write(logging.WARNING, text, keys)

    def error(self, text: str, *, exc_info: BaseException | bool | None = None, **keys: Any) -> None:
        """Log an operation that failed."""
        self._write(logging.ERROR, text, keys, exc_info)

    def exception(self, text: str, **keys: Any) -> None:
        """Log an operation that failed, with the traceback of the current exception."""
        self._write(logging.ERROR, text, keys, True)

    def _write(self, level: int, text: str, keys: dict[str, Any], exc_info: BaseException | bool | None = None) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, Event(text, keys), exc_info=exc_info, stacklevel=3)


def get_log(name: str) -> Log:
    """Return the log of a module; `name` is its `__name__`."""
    return Log(name)


def render(keys: Mapping[str, Any]) -> str:
    """Write keys as `key=value ...`; values with blanks, quotes or control characters are in double quotes."""
    return " ".join(f"{key}={_value(value)}" for key, value in keys.items())


def _value(value: Any) -> str:
    text = str(value)
    if len(text) > _CHARACTERS:
        text = text[:_CHARACTERS] + "..."
    plain = text.isprintable() and text and not any(character in text for character in ' "=')
    return text if plain else _json(text, ensure_ascii=False)


def _json(value: Any, **options: Any) -> str:
    """JSON without control characters for a terminal, because names and errors come from users who submit graphs."""
    return plain_json(json.dumps(value, **options))


class LogSettings(msgspec.Struct, kw_only=True, frozen=True):
    """What a service logs, and how."""

    VARIABLES: ClassVar[dict[str, str]] = {"level": "HEADRACE_LOG_LEVEL", "format": "HEADRACE_LOG_FORMAT"}

    level: str = "WARNING"
    """The lowest level that is logged: DEBUG, INFO, WARNING or ERROR. By default only what an operator should look at."""
    format: str = "text"
    """`text` for people, or `json` for programs that collect logs: one object per line."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> LogSettings:
        """Read the variables of `VARIABLES`, in any case."""
        env, default = os.environ if env is None else env, cls()
        level, form = (env.get(variable, "") for variable in cls.VARIABLES.values())
        return cls(level=level.upper() or default.level, format=form.lower() or default.format)


def set_up_logging(about: About) -> None:
    """Log to stderr, with the settings `LogSettings`.

    Call this again in a process that was forked from one that logs, or that takes another role; only the first call warns of wrong
    settings.
    """
    settings = LogSettings.from_env()
    level, form = settings.level, settings.format
    known = level in logging.getLevelNamesMapping()
    again = any(isinstance(handler.formatter, Formatter) for handler in logging.getLogger().handlers)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(form == "json", about))
    logging.basicConfig(level=level if known else "WARNING", handlers=[handler], force=True)
    if again:
        return
    log = get_log(__name__)
    if not known:
        log.warning("HEADRACE_LOG_LEVEL is not a level; using WARNING", value=level, levels=", ".join(logging.getLevelNamesMapping()))
    if form not in FORMATS:
        log.warning("HEADRACE_LOG_FORMAT is not a format; using text", value=form, formats=", ".join(FORMATS))


class Formatter(logging.Formatter):
    """A formatter for records with keys, and for records of libraries and of users' tasks."""

    def __init__(self, as_json: bool, about: About) -> None:
        super().__init__()
        self._as_json = as_json
        self._about = about

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as a line, in text format followed by the lines of the traceback, if it has one."""
        said = record.msg
        event = {
            "event": said.text if isinstance(said, Event) else record.getMessage(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._about(),
            "process": record.process,
            **(said.keys if isinstance(said, Event) else {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = self.formatException(record.exc_info)
        return _json(event, default=str, ensure_ascii=False) if self._as_json else _as_text(event)


def _as_text(event: dict[str, Any]) -> str:
    head = f"{event.pop('timestamp')} {event.pop('level').upper()} {event.pop('logger')}: {one_line(str(event.pop('event')))}"
    trace = lines(event.pop("exception", ""))
    line = f"{head} {render(event)}"
    return f"{line}\n{trace}" if trace else line
