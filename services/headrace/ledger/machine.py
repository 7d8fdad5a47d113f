"""What the state machines of controller, scheduler and publisher have in common."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.ledger.fold import Ledger
from headrace.ledger.snapshot import snapshot_of
from headrace_schemas import LedgerSnapshot


class LedgerMachine:
    """A machine whose state follows from a ledger. It can begin from a snapshot. ledger: everything folded so far."""

    ledger: Ledger

    @property
    def last_seq(self) -> int:
        """Sequence of the last folded entry."""
        return self.ledger.last_seq

    def snapshot(self, service: str) -> LedgerSnapshot | None:
        """Return the parts of the log that lead to the same state. None if they cannot be determined at the moment."""
        return snapshot_of(service, self.ledger)

    def recognise(self, forgotten: Iterable[str]) -> None:
        """Ignore these jobs, which are over, if they are submitted again."""
        self.ledger.remember_forgotten(forgotten)
