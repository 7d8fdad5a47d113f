"""Facts on their way to the log: which jobs have some, when they are due, and what is told again."""

from __future__ import annotations

from headrace.worker.agent.actions import Action, Report
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.memory import Memory
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.settings import Settings
from headrace_schemas import Events

FEW_JOBS = 4
"""Jobs whose facts go out together, whoever of them is in a hurry."""
LEFT_OUT = 8
"""Reports that may leave a job out before its facts go out with the next one: they come a millisecond apart."""


class Reporting:
    """The facts of all jobs. memory and slots say whether somebody on this host waits for them."""

    def __init__(self, jobs: dict[str, HostJob], memory: Memory, slots: list[RunnerSlot], settings: Settings) -> None:
        self.news: dict[str, None] = {}
        """Jobs of which facts wait to be published."""
        self._jobs = jobs
        self._memory = memory
        self._slots = slots
        self._settings = settings
        self._left_out = 0
        """Reports in succession that left jobs out."""
        self._unreported: list[Report] = []
        """Facts that the log did not take, until the next tick."""

    @property
    def has_some(self) -> bool:
        """Whether facts wait to be published."""
        return bool(self.news)

    @property
    def seconds(self) -> float:
        """How long after the last facts those go out that wait now. The least where somebody waits for them: the client, whoever decides
        about failures, or this host for memory; and a little more where the job has more to do here, and so is not over."""
        urgent = soon = False
        for name in self.news:
            job = self._jobs[name]
            report = job.report
            if report.at_once or (report.urgent and not job.n_live):
                return self._settings.report_seconds
            urgent = urgent or report.urgent
            soon = soon or report.soon
        if self._memory.pressed:
            return self._settings.report_seconds
        if urgent:
            return self._settings.busy_report_seconds
        if soon or not any(runner.outstanding for runner in self._slots):
            return self._settings.quiet_report_seconds
        return self._settings.idle_report_seconds

    def due(self) -> list[Action]:
        """The facts to publish now: all that were collected, or, of many jobs, those of the jobs that have nothing left to do here."""
        names, used = self._due_reports(), self._memory.store.used
        for name in names:
            del self.news[name]
        jobs = [self._jobs[name] for name in names]
        reports = [Report(job.worded(events)) for job in jobs for events in job.report.take(used)]
        return [*(self._behind_unreported(reports) if self._unreported else reports)]

    def _due_reports(self) -> list[str]:
        """Somebody waits for the facts of jobs that are over here, and each other job would cost a message of its own with each of them:
        those wait for more, but only so many times."""
        names = list(self.news)
        ended = [name for name in names if not self._jobs[name].n_live] if len(names) > FEW_JOBS else []
        if not ended or self._memory.pressed or self._left_out >= LEFT_OUT:
            self._left_out = 0
            return names
        self._left_out += 1
        return ended

    def _behind_unreported(self, reports: list[Report]) -> list[Report]:
        """What is to be published now: facts of jobs of which older facts wait go out behind these."""
        waiting = {report.events.job for report in self._unreported}
        self._unreported += [report for report in reports if report.events.job in waiting]
        return [report for report in reports if report.events.job not in waiting]

    def everything(self, decided: list[Action]) -> list[Events]:
        """Return all facts that were not published, also those that would wait for more. decided: actions not carried out yet."""
        jobs, used = [self._jobs[name] for name in self.news], self._memory.store.used
        self.news.clear()
        reported = [action.events for action in [*decided, *self._unreported] if isinstance(action, Report)]
        self._unreported.clear()
        return [*reported, *(events for job in jobs for events in job.report.take(used))]

    def again(self, report: Report) -> None:
        """The log did not take facts: report them again at the next tick."""
        self._unreported.append(report)

    def at_tick(self) -> list[Report]:
        """Return the reports to make again."""
        reports, self._unreported = self._unreported, []
        return reports

    def begin_again(self) -> None:
        """A new epoch begins: the facts of the one before are void."""
        self.news.clear()
        self._left_out = 0
