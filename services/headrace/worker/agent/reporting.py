"""Facts on their way to the log: which jobs have some, when they are published, and which are repeated."""

from __future__ import annotations

from headrace.worker.agent.actions import Action, Report
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.memory import Memory
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.settings import Settings
from headrace_schemas import Events

FEW_JOBS = 4
"""The largest number of jobs whose facts are published together, even if only one of them is in a hurry."""
LEFT_OUT = 8
"""The number of reports that may leave out a job's facts before the next report includes them. Reports come a millisecond apart."""


class Reporting:
    """The facts of all jobs. memory and slots: show whether memory is short, and whether runners are busy."""

    def __init__(self, jobs: dict[str, HostJob], memory: Memory, slots: list[RunnerSlot], settings: Settings) -> None:
        self.news: dict[str, None] = {}
        """The jobs with facts to publish."""
        self._jobs = jobs
        self._memory = memory
        self._slots = slots
        self._settings = settings
        self._left_out = 0
        """The number of reports in succession that left jobs out."""
        self._unreported: list[Report] = []
        """Facts that the log did not take, until the next tick."""

    @property
    def has_some(self) -> bool:
        """Whether there are facts to publish."""
        return bool(self.news)

    @property
    def seconds(self) -> float:
        """Seconds from the last report until the pending facts are published.

        The delay is shortest if a client, the controller or this host (for memory) waits for the facts. It is a little longer if the job
        has more to do here, and so is not over.
        """
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
        """Return the facts to publish now: all facts, or, if many jobs have some, those of the jobs that have nothing left to do here."""
        names, used = self._due_reports(), self._memory.store.used
        for name in names:
            del self.news[name]
        jobs = [self._jobs[name] for name in names]
        reports = [Report(job.worded(events)) for job in jobs for events in job.report.take(used)]
        return [*(self._behind_unreported(reports) if self._unreported else reports)]

    def _due_reports(self) -> list[str]:
        """Return the jobs whose facts are published now.

        A client waits for the facts of a job that is over here. Each other job would cost one more message every time, so its facts wait
        for more, but only for `LEFT_OUT` reports.
        """
        names = list(self.news)
        ended = [name for name in names if not self._jobs[name].n_live] if len(names) > FEW_JOBS else []
        if not ended or self._memory.pressed or self._left_out >= LEFT_OUT:
            self._left_out = 0
            return names
        self._left_out += 1
        return ended

    def _behind_unreported(self, reports: list[Report]) -> list[Report]:
        """Return the reports to publish now. Facts of a job that has older unreported facts wait behind those."""
        waiting = {report.events.job for report in self._unreported}
        self._unreported += [report for report in reports if report.events.job in waiting]
        return [report for report in reports if report.events.job not in waiting]

    def everything(self, decided: list[Action]) -> list[Events]:
        """Return all facts that were not published, whether they are due or not. decided: actions that have not been carried out."""
        jobs, used = [self._jobs[name] for name in self.news], self._memory.store.used
        self.news.clear()
        reported = [action.events for action in [*decided, *self._unreported] if isinstance(action, Report)]
        self._unreported.clear()
        return [*reported, *(events for job in jobs for events in job.report.take(used))]

    def again(self, report: Report) -> None:
        """Keep facts that the log did not take, for the next tick."""
        self._unreported.append(report)

    def at_tick(self) -> list[Report]:
        """Return the reports to repeat."""
        reports, self._unreported = self._unreported, []
        return reports

    def begin_again(self) -> None:
        """Drop the facts of the last epoch, which are void."""
        self.news.clear()
        self._left_out = 0
