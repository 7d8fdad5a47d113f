"""What was measured, as a line for each instance and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import geometric_mean, median
from typing import Any


@dataclass(frozen=True)
class Measured:
    """The makespans of an instance in seconds. heft: with true costs, executed by the checker. headrace: of its runs in order, the first of
    which knows nothing. dask: of its runs; empty without Dask."""

    instance: str
    heft: float
    headrace: tuple[float, ...]
    dask: tuple[float, ...] = ()

    @property
    def first(self) -> float:
        """The first run, as a multiple of HEFT."""
        return self.headrace[0] / self.heft

    @property
    def second(self) -> float | None:
        """The median of all later runs, as a multiple of HEFT."""
        return median(self.headrace[1:]) / self.heft if len(self.headrace) > 1 else None

    @property
    def of_dask(self) -> float | None:
        """The first run, as a multiple of Dask's median."""
        return self.headrace[0] / median(self.dask) if self.dask else None

    def record(self) -> dict[str, Any]:
        """The line of the instance."""
        return {**asdict(self), "first / heft": self.first, "later / heft": self.second, "first / dask": self.of_dask}


HEAD = ("instance", "HEFT s", "first s", "later s", "Dask s", "first / HEFT", "later / HEFT", "first / Dask")


def markdown(found: Sequence[Measured]) -> str:
    """Return the table, with the geometric means and the worst ratios at its end."""
    rows = [_row(measured) for measured in found]
    columns = [[m.first for m in found], _present(m.second for m in found), _present(m.of_dask for m in found)]
    rows.append(["mean", "", "", "", "", *[f"{geometric_mean(column):.3f}" if column else "-" for column in columns]])
    rows.append(["worst", "", "", "", "", *[f"{max(column):.3f}" if column else "-" for column in columns]])
    return "\n".join("| " + " | ".join(line) + " |" for line in [HEAD, ["---"] * len(HEAD), *rows])


def _present(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _row(measured: Measured) -> list[str]:
    later = median(measured.headrace[1:]) if len(measured.headrace) > 1 else None
    theirs = median(measured.dask) if measured.dask else None
    seconds = [measured.heft, measured.headrace[0], later, theirs]
    ratios = [measured.first, measured.second, measured.of_dask]
    return [
        measured.instance,
        *["-" if value is None else f"{value:.2f}" for value in seconds],
        *["-" if value is None else f"{value:.3f}" for value in ratios],
    ]
