"""Every error that Headrace raises on purpose. Catch `HeadraceError` to catch all of them."""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors of Headrace."""


class GraphError(HeadraceError, ValueError):
    """Headrace cannot build, freeze or accept the graph. The message names the task or column."""


class SinkRefused(GraphError):
    """A sink would write outside its folder, or outside the places that the operator allows (HEADRACE_SINKS)."""


class NotPicklable(HeadraceError, TypeError):
    """A function or an argument cannot be pickled, so it cannot be sent to a runner. The message names the task and the argument."""


class FunctionNotFound(HeadraceError, ImportError):
    """A runner cannot import the function of a task. The message names the module and the function, and says what to do."""


class ClusterClosed(HeadraceError, RuntimeError):
    """The cluster was closed, or belongs to the process that this one was forked from."""


class ClusterFailed(HeadraceError, RuntimeError):
    """A local cluster did not start, or one of its services ended again after every restart; the message has the end of its log.

    Or the cluster that a client connects to does not exist, or this release cannot read its messages.
    """


class JobCancelled(HeadraceError):
    """A client or an operator cancelled the job. The message has the reason, if one was given."""


class JobTimeout(HeadraceError, TimeoutError):
    """The job did not end within the given time.

    It continues: wait again, or cancel it. `Job.cancel` raises this error if the cluster did not confirm the request in time.
    """


class JobFailed(HeadraceError):
    """The job ended without its outputs."""


class TaskFailed(JobFailed):
    """A task failed, and its job with it. If the original exception could be pickled, it is the `__cause__`.

    task: the task's name. inputs: the names of its inputs. error: type and message of the exception, in one line.
    remote_traceback: the traceback as the runner printed it. reason: how the last attempt failed: "raised", "runner_died", ...
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
    """A setting has an invalid value. The message names the setting, and says which values are valid."""


class NatsUnreachable(HeadraceError, ConnectionError):
    """No NATS server answers at the address. The message has the address and the last error."""


class NatsStoresNothing(NatsUnreachable):
    """NATS answers, but does not store messages: its disk is full or not writable."""


class WrongCredentials(HeadraceError, PermissionError):
    """The NATS server rejects this token, user or credentials file."""


class NoJetStream(HeadraceError, RuntimeError):
    """JetStream, which stores all messages, is turned off in the NATS server or for this account."""


class JetStreamRefused(HeadraceError, RuntimeError):
    """JetStream refused a request. `code` is the server's err_code, or 0; the message describes the request."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


TOO_LARGE = frozenset({0, 10054})
"""Codes of `PublishRefused` for a message that is too large: 0 if the client found that before it sent the message, or else the code of the
stream."""


class PublishRefused(JetStreamRefused):
    """JetStream refused a message: it is too large, or its stream is full or missing. Sending it again would not help."""


class WrongRevision(PublishRefused):
    """Another client wrote to the subject (or key) since the expected revision."""


class RemoteError(HeadraceError, RuntimeError):
    """A service could not answer a request. The message has the exception that the service raised."""


class CannotWrite(HeadraceError, OSError):
    """A command cannot write a file, or to standard output. The message names the file and the reason."""


class LogRewound(HeadraceError):
    """NATS came back with an older log: its last messages are gone. The message says how the service or client noticed."""


class NewerSchema(HeadraceError, ValueError):
    """The log has a message of a newer release, which this release cannot read. A client raises ClusterFailed instead."""


class NoSuchJob(HeadraceError, KeyError):
    """The cluster has no job with this id: the id is wrong, or the job has aged out of the log."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutputsLost(JobFailed):
    """The job was done, but its outputs are gone. Submit the graph again.

    A client released them, or no client fetched them in time (HEADRACE_OUTPUT_EXPIRY), or they were lost with their host and cannot be
    computed again, or the client cannot reach their host. The message says which.
    """


class SinkFailed(HeadraceError, OSError):
    """Headrace cannot write an output to its sink, or read it from there.

    The message names the output and the place; the `__cause__` has the reason.
    """


class MissingLibrary(HeadraceError, ImportError):
    """A package that writes or reads a format, or opens a file system, is not installed. The message says what to install."""


class CorruptOutput(HeadraceError):
    """The file of an output was changed after Headrace wrote it. The message names the file."""


class UnreadableResult(HeadraceError):
    """The client fetched an output, but this process cannot unpickle it. The message names the output; the `__cause__` has the reason."""
