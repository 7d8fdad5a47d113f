"""Tables of many lines of results, in Markdown.

A ratio is a makespan divided by its lower bound; means are geometric. HEFT is SAGA's, or the reference where SAGA's made no plan: on hosts
of several runners, and where it took too long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median

from benchmarks.plans.clusters import Cluster
from benchmarks.plans.heft import NAME as REFERENCE
from benchmarks.plans.saga import HEFT as SAGA_HEFT
from benchmarks.plans.saga import PREFIX as SAGA_PREFIX
from benchmarks.plans.scoring import Line

PORTFOLIO = "portfolio"
SLACK = 1e-6
"""Relative difference of two makespans that is put down to rounding."""
FAR_FROM_BOUND = 1.33
"""A ratio of HEFT above which much can be gained."""
MUCH_BETTER = 0.85
"""Makespan of the portfolio, as a share of HEFT's, that is wanted there."""
MOST_LISTED = 20


@dataclass(frozen=True)
class Case:
    """One instance on one cluster: the line of each planner that made a plan."""

    instance: str
    cluster: Cluster
    lines: Mapping[str, Line]

    def ratio(self, planner: str) -> float:
        """Return the ratio of a planner that made a plan."""
        found = self.lines[planner]
        return float(found["makespan"] / found["lower_bound"])

    @property
    def heft(self) -> str | None:
        """The name of the HEFT plan to compare with: SAGA's if it exists, otherwise our reference; None if neither exists."""
        return next((name for name in (SAGA_PREFIX + SAGA_HEFT, REFERENCE) if name in self.lines), None)

    @property
    def label(self) -> str:
        """For lists."""
        return f"{self.instance} on {self.cluster.label}"


def cases(lines: Iterable[Line]) -> list[Case]:
    """Return the cases of all plans, by instance and cluster. An instance whose bound is 0 has no ratios, and is left out."""
    found: dict[tuple[str, int, int, float], dict[str, Line]] = defaultdict(dict)
    for line in lines:
        if line.get("lower_bound"):
            found[line["instance"], line["hosts"], line["runners"], line["bandwidth"]][line["planner"]] = line
    return [Case(name, Cluster(*cluster), plans) for (name, *cluster), plans in sorted(found.items())]


def markdown(lines: Sequence[Line]) -> str:
    """Return all tables."""
    found = cases(lines)
    parts = [
        _table(PLANNER_HEAD, [planner_row(name, found, lines) for name in planners(lines)]),
        _table(GAP_HEAD, gap_rows(found)),
        far_from_bound(found),
        beaten(found),
    ]
    parts += [_cluster_table(bandwidth, found) for bandwidth in sorted({case.cluster.bandwidth for case in found})]
    parts.append(without_plan(lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def planners(lines: Iterable[Line]) -> list[str]:
    """Return the planners: the portfolio, Headrace's others, the reference, SAGA's."""
    names = {line["planner"] for line in lines}
    return sorted(names, key=lambda name: (name.startswith(SAGA_PREFIX), name == REFERENCE, name != PORTFOLIO, name))


# ---------------------------------------------------------------- per planner

PLANNER_HEAD = (
    "planner",
    "plans",
    "none",
    "mean ratio",
    "worst ratio",
    "worst case",
    "makespan / portfolio's",
    "planning s, median",
    "max",
)


def planner_row(name: str, found: Sequence[Case], lines: Iterable[Line]) -> list[str]:
    """Return the row of a planner. The comparison with the portfolio is over the cases that both have."""
    own = [case for case in found if name in case.lines]
    none = sum(line["planner"] == name and "error" in line for line in lines)
    if not own:
        return [name, "0", str(none), *["-"] * 6]
    worst = max(own, key=lambda case: case.ratio(name))
    shared = [case.lines[name]["makespan"] / case.lines[PORTFOLIO]["makespan"] for case in own if PORTFOLIO in case.lines]
    took = [case.lines[name]["planning_s"] for case in own]
    return [
        name,
        str(len(own)),
        str(none),
        _mean(case.ratio(name) for case in own),
        f"{worst.ratio(name):.3f}",
        worst.label,
        _mean(shared),
        f"{median(took):.3f}",
        f"{max(took):.3f}",
    ]


def _cluster_table(bandwidth: float, found: Sequence[Case]) -> str:
    """Return mean and worst ratio of each planner on each cluster of a bandwidth."""
    here = [case for case in found if case.cluster.bandwidth == bandwidth]
    clusters = sorted({case.cluster for case in here}, key=lambda cluster: (cluster.hosts, cluster.runners))
    names = planners(line for case in here for line in case.lines.values())
    rows = [[name, *[_cell(name, [case for case in here if case.cluster == cluster]) for cluster in clusters]] for name in names]
    return "Mean and worst ratio by cluster:\n\n" + _table(("planner", *[cluster.label for cluster in clusters]), rows)


def _cell(name: str, here: Iterable[Case]) -> str:
    ratios = [case.ratio(name) for case in here if name in case.lines]
    return f"{geometric_mean(ratios):.3f} ({max(ratios):.2f})" if ratios else ""


# ---------------------------------------------------------------- the gap between HEFT and the bound

GAP_HEAD = ("cluster", "cases", "HEFT, mean ratio", "portfolio, mean ratio", "share of the gap closed")


def gap_rows(found: Sequence[Case]) -> list[list[str]]:
    """Return a row for each cluster and one for all: how much of the gap between HEFT and the lower bound the portfolio closes."""
    both = _with_both(found)
    clusters = sorted({case.cluster for case in both}, key=lambda cluster: (cluster.bandwidth, cluster.hosts, cluster.runners))
    rows = [_gap_row(cluster.label, [case for case in both if case.cluster == cluster]) for cluster in clusters]
    return [*rows, _gap_row("all", both)] if both else []


def _gap_row(label: str, here: Sequence[Case]) -> list[str]:
    heft = geometric_mean([case.ratio(case.heft or "") for case in here])
    portfolio = geometric_mean([case.ratio(PORTFOLIO) for case in here])
    closed = f"{closed_share(heft, portfolio):.0%}" if heft > 1 + SLACK else "no gap"
    return [label, str(len(here)), f"{heft:.3f}", f"{portfolio:.3f}", closed]


def closed_share(heft: float, portfolio: float) -> float:
    """Return the share of the gap between HEFT's ratio and 1 that the portfolio closes."""
    return (heft - portfolio) / (heft - 1)


def far_from_bound(found: Sequence[Case]) -> str:
    """Say how much better the portfolio is where HEFT is far from the bound."""
    far = [case for case in _with_both(found) if case.ratio(case.heft or "") > FAR_FROM_BOUND]
    if not far:
        return f"HEFT is nowhere above {FAR_FROM_BOUND} x the bound."
    shares = {case.label: case.ratio(PORTFOLIO) / case.ratio(case.heft or "") for case in far}
    reached = sum(share <= MUCH_BETTER * (1 + SLACK) for share in shares.values())
    worst = max(shares, key=lambda label: shares[label])
    mean, much = _mean(shares.values()), f"{1 - MUCH_BETTER:.0%}"
    return (
        f"HEFT is above {FAR_FROM_BOUND} x the bound in {len(far)} cases. There the portfolio's makespan is {mean} x HEFT's in the mean "
        f"and {shares[worst]:.3f} x at worst ({worst}); it is at least {much} better in {reached} of them."
    )


def _with_both(found: Iterable[Case]) -> list[Case]:
    return [case for case in found if PORTFOLIO in case.lines and case.heft]


# ---------------------------------------------------------------- where the portfolio loses


def beaten(found: Iterable[Case]) -> str:
    """List the cases in which another planner's plan is better than the portfolio's."""
    compared = [case for case in found if PORTFOLIO in case.lines]
    lost = [(case, best) for case in compared if (best := _better(case))]
    if not lost:
        return f"No plan is better than the portfolio's. Cases: {len(compared)}."
    lost.sort(key=lambda item: item[0].lines[item[1]]["makespan"] / item[0].lines[PORTFOLIO]["makespan"])
    names = [f"- {case.label}: {best}, {case.ratio(best):.4f} instead of {case.ratio(PORTFOLIO):.4f}" for case, best in lost[:MOST_LISTED]]
    more = [f"- and {len(lost) - MOST_LISTED} more"] if len(lost) > MOST_LISTED else []
    return "\n".join([f"Another planner's plan is better than the portfolio's in {len(lost)} of {len(compared)} cases:", "", *names, *more])


def _better(case: Case) -> str | None:
    """Return the planner with the best plan, if it is better than the portfolio's."""
    best = min(case.lines, key=lambda name: case.lines[name]["makespan"])
    limit = case.lines[PORTFOLIO]["makespan"] * (1 - SLACK)
    return best if case.lines[best]["makespan"] < limit else None


def without_plan(lines: Iterable[Line]) -> str:
    """List the planners that made no plan, by reason."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in lines:
        if "error" in line:
            label = Cluster(line["hosts"], line["runners"], line["bandwidth"]).label
            reasons[line["planner"], _kind(line["error"])].append(f"{line['instance']} on {label}")
    if not reasons:
        return ""
    rows = [[name, reason, str(len(where)), ", ".join(where[:3])] for (name, reason), where in sorted(reasons.items())]
    return "Without a plan:\n\n" + _table(("planner", "reason", "cases", "such as"), rows)


def _kind(error: str) -> str:
    """Return the part of an error that is the same for many cases."""
    return error.split(":")[0]


# ---------------------------------------------------------------- Markdown


def _mean(values: Iterable[float]) -> str:
    found = list(values)
    return f"{geometric_mean(found):.3f}" if found else "-"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
