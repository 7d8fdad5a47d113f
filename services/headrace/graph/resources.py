"""The resources that tasks need and hosts have: names with amounts, such as {"gpu": 1}. Only the host's users know what a name means.

A task may run on a host that has every amount that it needs. Tasks that run on a host at the same time never need more together than it
has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from headrace.errors import GraphError, SettingsError

Resources = Mapping[str, float]
MAX_NAMES = 32
"""Most names in one declaration: the scheduler compares each one whenever it places a task."""
MAX_NAME = 100
"""Characters in a name."""
ROUNDING = 1e-9
"""Share of an amount by which sums of fractions may exceed it: three times 0.1 is slightly more than 0.3."""
_SETTING = "resources of a host (--resources or HEADRACE_RESOURCES)"


def check_resources(given: Any, what: str) -> dict[str, float]:
    """Check resources. Raises GraphError if they are invalid; `what` names their owner in errors: "function 'train'"."""
    if not isinstance(given, Mapping):
        raise GraphError(f'the resources of {what} are a dict of names and amounts, like {{"gpu": 1}}, not {given!r:.80}')
    if len(given) > MAX_NAMES:
        raise GraphError(f"the resources of {what} have {len(given)} names, more than {MAX_NAMES}")
    return {_checked_name(name, what): _checked_amount(name, amount, what) for name, amount in sorted(given.items(), key=str)}


def _checked_name(name: Any, what: str) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or not name.isprintable() or set(name) & set("=,"):
        raise GraphError(
            f"the resources of {what} have the name {name!r:.120}: give a str of 1 to {MAX_NAME} characters without '=' and ','"
        )
    return name


def _checked_amount(name: str, amount: Any, what: str) -> float:
    try:
        value = float(amount) if isinstance(amount, Real) and not isinstance(amount, bool) else math.nan
    except OverflowError:
        value = math.inf
    if not (math.isfinite(value) and value > 0):
        raise GraphError(f"the resource {name!r} of {what} has the amount {amount!r:.80}: give a number above 0, or omit it")
    return value


def parse_resources(text: str) -> dict[str, float]:
    """Parse resources as people write them: names and amounts, where an amount of 1 may be omitted. Raises SettingsError.

    >>> parse_resources("gpu=2, highmem")
    {'gpu': 2.0, 'highmem': 1.0}
    """
    found: dict[str, float] = {}
    for part in text.split(",") if text.strip() else []:
        name, equals, amount = (piece.strip() for piece in part.partition("="))
        try:
            (checked,) = check_resources({name: float(amount) if equals else 1.0}, "a host").items()
        except ValueError:
            raise SettingsError(
                f"{_SETTING}: {part.strip()!r} is not a resource: give names and amounts above 0, like gpu=1,highmem=2"
            ) from None
        if name in found:
            raise SettingsError(f"{_SETTING}: {name!r} occurs twice: give each resource once, like gpu=1,highmem=2")
        found[name] = checked[1]
    return found


def in_words(resources: Resources) -> str:
    """Write resources as `parse_resources` reads them.

    >>> in_words({"gpu": 2.0, "highmem": 0.5})
    'gpu=2,highmem=0.5'
    """
    return ",".join(f"{name}={amount:.12g}" for name, amount in resources.items())


def fits(need: Resources, has: Resources) -> bool:
    """Return whether a host has every amount that a task needs."""
    return all(amount <= has.get(name, 0.0) * (1 + ROUNDING) for name, amount in need.items())
