"""The arguments of a job's tasks, at one runner.

They travel in blocks, in which tasks share what they were given in common. What can be changed of them is made anew for each attempt, so
that none sees what another one did to it; arrays are read-only. Numbers, texts and tuples of them are shared.
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
"""Types of the commonest arguments, which nothing can change."""

_COPIED = frozenset({list, dict})
"""Types of containers that are copied where nothing in them can be changed."""


class Arguments:
    """The templates of a job's tasks, unpickled at first use, a block at a time."""

    def __init__(self, spec: GraphSpec) -> None:
        self._spec = spec
        self._block_size = spec.block_size
        self._blocks: dict[int, list[Template | Renewed | Copied]] = {}

    def template(self, task: int) -> Template:
        """The task's arguments with holes for its inputs; what can be changed in it is the caller's own. Raises TaskFailure."""
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
    """Positional arguments among which are lists and dicts of what nothing can change: copies of these are as good as new ones."""

    __slots__ = ("_arguments",)

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments

    def copy(self) -> Template:
        """A template of the caller's own."""
        return (tuple([given.copy() if type(given) in _COPIED else given for given in self._arguments]),)


class Renewed:
    """A template that is made anew for each attempt.

    passed: what it is made of; None if what was unpickled cannot be pickled again: then the whole block is unpickled for each attempt.
    """

    __slots__ = ("_passed", "_template")

    def __init__(self, template: Template) -> None:
        self._template: Template = template
        self._passed: Passed | None = None

    @property
    def passed(self) -> Passed | None:
        """Pickled when it is needed first, and the template is dropped."""
        if self._template is not None:
            self._passed = renewable(self._template)
            self._template = None
        return self._passed


def _renewed(template: Template) -> Renewed | Copied:
    """What to make a template of for each attempt, of which something can be changed."""
    if template is None or len(template) != 1:
        return Renewed(template)
    arguments: tuple[Any, ...] = template[0]
    copied = [given for given in arguments if type(given) in _COPIED and _is_flat(given)]
    alone = len({id(given) for given in copied}) == len(copied)  # one object in two arguments is to stay one
    others = [given for given in arguments if type(given) not in _COPIED]
    return Copied(arguments) if alone and len(copied) + len(others) == len(arguments) and _are_static(others) else Renewed(template)


def _is_flat(container: Any) -> bool:
    items = (*container, *container.values()) if type(container) is dict else container
    return all(map(is_immutable, items))


def renewed_partial(function: Any) -> Passed | None:
    """A partial whose own arguments can be changed, to be made anew for each task; None for every other function."""
    if type(function) is not partial or _are_static((*function.args, *function.keywords.values())):
        return None
    return renewable(function)


def _is_static(template: Template) -> bool:
    """Whether nothing can be changed of a template: most of them. Asked for every task, so the commonest cases come first."""
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
    """Whether an argument is the same for whoever gets it: a value that nothing changes, or code."""
    if type(argument) is Nested:  # is filled into a new container for each call
        items = argument.items
        return _are_static((*items, *items.values()) if type(items) is dict else items, argument.patches)
    return is_immutable(argument) or issubclass(type(argument), SHARED_CODE)
