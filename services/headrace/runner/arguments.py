"""The arguments of a job's tasks, at one runner.

They travel in blocks of many tasks, in which equal objects are stored once. An argument that a task could change is made anew for each
attempt, so that no attempt sees what another one did to it. Numbers, texts and tuples of them are shared, and so are arrays, read-only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from headrace.graph.naming import task_name
from headrace.graph.templates import Filler, Nested, Template, load_block
from headrace.runner.failures import loading_failure
from headrace.values import Passed, is_immutable, renewable
from headrace.values.passing import SHARED_CODE
from headrace_schemas import GraphSpec

_LEAVES = frozenset({int, float, str, bytes, bool, type(None)})
"""Types of the most common arguments. Their values cannot be changed."""

_COPIED = frozenset({list, dict})
"""Types of containers that are copied if their items cannot be changed."""


class Arguments:
    """The templates of a job's tasks. A block is unpickled when one of its tasks is executed first."""

    def __init__(self, spec: GraphSpec) -> None:
        self._spec = spec
        self._block_size = spec.block_size
        self._blocks: dict[int, list[Template | Renewed | Copied]] = {}

    def template(self, task: int) -> Template:
        """Return the task's arguments with holes for its inputs, safe to change. Raises TaskFailure if they cannot be unpickled."""
        number, place = divmod(task, self._block_size)
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = [given if _is_static(given) else _renewed(given) for given in self._load(number)]
        template = block[place]
        kind = type(template)
        if kind is Copied:
            return template.copy()  # type: ignore[union-attr]
        return self._renew(task, template) if kind is Renewed else template  # type: ignore[arg-type, return-value]

    def _renew(self, task: int, renewed: Renewed) -> Template:
        passed = renewed.passed
        if passed is None:
            return self._load(task // self._block_size)[task % self._block_size]
        try:
            template: Template = passed.fresh()
        except BaseException as error:
            raise loading_failure(error, f"while the arguments of {task_name(self._spec, task)!r} were unpickled in the runner") from None
        return template

    def _load(self, number: int) -> list[Template]:
        try:
            return load_block(self._spec.blocks[number])
        except BaseException as error:
            first = number * self._block_size
            last = min(first + self._block_size, self._spec.n_tasks) - 1
            names = " to ".join(repr(task_name(self._spec, task)) for task in sorted({first, last}))
            raise loading_failure(error, f"while the arguments of {names} were unpickled in the runner") from None


class Copied:
    """Positional arguments with lists and dicts whose items cannot be changed: shallow copies of these are enough."""

    __slots__ = ("_arguments",)

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments

    def copy(self) -> Template:
        """Return a template that is safe to change."""
        return (tuple([given.copy() if type(given) in _COPIED else given for given in self._arguments]),)


class Renewed:
    """A template that is made anew for each attempt."""

    __slots__ = ("_passed", "_template")

    def __init__(self, template: Template) -> None:
        self._template: Template = template
        self._passed: Passed | None = None

    @property
    def passed(self) -> Passed | None:
        """The pickle of which it is made; None if the template cannot be pickled again, so that each attempt unpickles the whole block."""
        if self._template is not None:
            self._passed = renewable(self._template)
            self._template = None
        return self._passed


def _renewed(template: Template) -> Renewed | Copied:
    """Return what makes a new template for each attempt, for a template in which something can be changed."""
    if template is None or len(template) != 1:
        return Renewed(template)
    arguments: tuple[Any, ...] = template[0]
    copied = [given for given in arguments if type(given) in _COPIED and _is_flat(given)]
    alone = len({id(given) for given in copied}) == len(copied)  # two arguments that are one object stay one
    others = [given for given in arguments if type(given) not in _COPIED]
    return Copied(arguments) if alone and len(copied) + len(others) == len(arguments) and _are_static(others) else Renewed(template)


def _is_flat(container: Any) -> bool:
    items = (*container, *container.values()) if type(container) is dict else container
    return all(map(is_immutable, items))


def renewed_partial(function: Any) -> Passed | None:
    """Return a pickle of a partial whose arguments can be changed, to make it anew for each task. None for any other function."""
    if type(function) is not partial or _are_static((*function.args, *function.keywords.values())):
        return None
    return renewable(function)


def _is_static(template: Template) -> bool:
    """Return whether nothing in a template can be changed. Called for every task, so the most common cases come first."""
    if template is None:
        return True
    for argument in template[0]:
        if type(argument) not in _LEAVES and not _cannot_change(argument):
            return False
    if len(template) == 1:
        return True
    for patches in template[2:]:
        for _, filler in patches:
            if type(filler) is Nested and not _cannot_change(filler):
                return False
    return not template[1] or _are_static(template[1].values())


def _are_static(arguments: Iterable[Any], *patches: Iterable[tuple[Any, Filler]]) -> bool:
    return all(map(_cannot_change, arguments)) and all(_cannot_change(filler) for each in patches for _, filler in each)


def _cannot_change(argument: Any) -> bool:
    """Return whether an argument can be shared: a value that cannot be changed, or code."""
    if type(argument) is Nested:  # each call fills it into a new container
        items = argument.items
        return _are_static((*items, *items.values()) if type(items) is dict else items, argument.patches)
    return is_immutable(argument) or issubclass(type(argument), SHARED_CODE)
