"""The base class of the state machines of controller, scheduler and publisher."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.ledger.fold import Ledger
from headrace.ledger.snapshot import snapshot_of
from headrace_schemas import LedgerSnapshot


class LedgerMachine:
    """A state machine whose state follows from a ledger, so that it can start from a snapshot."""

    ledger: Ledger

    @property
    def last_seq(self) -> int:
        """The sequence of the last folded entry."""
        return self.ledger.last_seq

    def snapshot(self, service: str) -> LedgerSnapshot | None:
        """Describe the parts of the log that lead to the same state. None if nothing was read from the log yet."""
        return snapshot_of(service, self.ledger)

    def recognise(self, forgotten: Iterable[str]) -> None:
        """Ignore later submissions of these jobs, which are over."""
        self.ledger.remember_forgotten(forgotten)
