"""Every error that Headrace raises on purpose. Catch `HeadraceError` for all of them."""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors of Headrace."""


class GraphError(HeadraceError, ValueError):
    """The graph cannot be built, frozen or accepted as it is. The message names the task or column."""


class SinkRefused(GraphError):
    """A sink is where no file may be written: out of its folder, or not where the operator allows it (HEADRACE_SINKS)."""


class NotPicklable(HeadraceError, TypeError):
    """A function or an argument cannot be sent to a runner. The message names the task and the argument."""


class FunctionNotFound(HeadraceError, ImportError):
    """A runner cannot import what a task calls. The message names module and function, and what to do."""


class ClusterClosed(HeadraceError, RuntimeError):
    """The cluster was closed, or belongs to the process that this one was forked from."""


class ClusterFailed(HeadraceError, RuntimeError):
    """A local cluster did not start, or one of its services ended again and again. The message has the end of what it logged."""


class JobCancelled(HeadraceError):
    """The job was cancelled: by this client, another one or an operator. The message gives the reason, if one was given."""


class JobTimeout(HeadraceError, TimeoutError):
    """The job did not end within the given time. It goes on: wait again, or cancel it."""


class JobFailed(HeadraceError):
    """The job ended without its outputs."""


class TaskFailed(JobFailed):
    """A task failed, and its job with it. Where the original exception could be sent, it is the `__cause__`.

    task: the task's name. inputs: the names of its inputs. error: type and message of the exception, in one line.
    remote_traceback: the traceback as the runner printed it. reason: "raised", or how else an attempt failed ("runner_died", ...).
    """

    def __init__(self, task: str, error: str, inputs: tuple[str, ...] = (), remote_traceback: str = "", reason: str = "raised") -> None:
        super().__init__(task, error, inputs, remote_traceback, reason)
        self.task = task
        self.error = error
        self.inputs = inputs
        self.remote_traceback = remote_traceback
        self.reason = reason

    def __str__(self) -> str:
        how = "" if self.reason == "raised" else f" ({self.reason.replace('_', ' ')})"
        inputs = f"; its inputs: {', '.join(self.inputs)}" if self.inputs else ""
        return f"task {self.task!r} failed{how}: {self.error}{inputs}"


class SettingsError(HeadraceError, ValueError):
    """A setting that cannot be used. Says which, and what would be."""


class NatsUnreachable(HeadraceError, ConnectionError):
    """No NATS server answers at the URL. The message has the URL and the last error."""


class WrongCredentials(HeadraceError, PermissionError):
    """The NATS server does not take this token, user or credentials file."""


class NoJetStream(HeadraceError, RuntimeError):
    """The NATS server, or this account of it, has JetStream turned off, which everything here is kept in."""


class JetStreamRefused(HeadraceError, RuntimeError):
    """JetStream refused a request. `code` is its err_code (0 if there is none); the message says what was asked for."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


TOO_LARGE = frozenset({0, 10054})
"""Codes of a refusal for a message's size: the server's payload (found before sending, without a code), or the stream's largest message."""


class PublishRefused(JetStreamRefused):
    """A message was refused for good: too large, or its stream is full or missing. Sending it again would not help."""


class WrongRevision(PublishRefused):
    """Somebody else wrote to the subject (or key) since the revision that was expected."""


class RemoteError(HeadraceError, RuntimeError):
    """A service could not answer a request. The message has what it raised."""


class CannotWrite(HeadraceError, OSError):
    """A command cannot write a file, or to standard output. The message says which and why."""


class NewerSchema(HeadraceError, ValueError):
    """The log has a message of a newer release than this one can read. A client is told so by a ClusterFailed."""


class NoSuchJob(HeadraceError, KeyError):
    """The cluster knows no job of this id: it never had one, or the job has aged out of the log."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutputsLost(JobFailed):
    """The job was done, but its outputs are not held any more: their host was lost, or they were released, or nobody fetched them in time
    (HEADRACE_OUTPUT_EXPIRY). The message says which. Submit the graph again."""


class SinkFailed(HeadraceError, OSError):
    """An output could not be written to its sink. The message names the output and the place, the `__cause__` says why."""


class MissingLibrary(HeadraceError, ImportError):
    """What writes or reads a format, or opens a file system, is not installed. The message says what to install."""


class CorruptOutput(HeadraceError):
    """The file of an output is not the one that was written: it was changed since. The message names the file."""


class UnreadableResult(HeadraceError):
    """An output was made and fetched, and cannot be unpickled in this process. The message names the output; the `__cause__` says why."""
