"""The arguments of a task, with holes for its inputs: a graph stores them, and a runner fills them.

A template has one of four forms; the most common is the cheapest to pickle and to bind:

| form | the call |
|---|---|
| `None` | the positional arguments are the task's inputs, in order |
| `(args,)` | positional arguments without holes |
| `(args, kwargs)` | positional and keyword arguments without holes |
| `(args, kwargs, patches, keyword_patches)` | arguments with holes: each patch has the place of a hole and its filler |

A filler is an int (the index of one of the task's distinct inputs), a slice (the list of several consecutive inputs), or a `Nested`
container with holes of its own. Binding does not walk parts of the arguments without holes: it passes them as they were unpickled. Tasks of
one block that were given the same object share it; a runner copies mutable objects for each attempt.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, TypeAlias, Union

Filler: TypeAlias = Union[int, slice, "Nested"]
Patches: TypeAlias = tuple[tuple[Any, Filler], ...]
Template: TypeAlias = tuple[Any, ...] | None

NO_KEYWORDS: dict[str, Any] = {}
"""The dict of all calls without keyword arguments, which is never modified. It saves one dict per task."""


class Nested:
    """A list, tuple, named tuple or dict with holes inside the arguments, created anew for each call.

    make: the container's type. items: its contents, with None in the holes. patches: what fills the holes.
    """

    __slots__ = ("items", "make", "patches")

    def __init__(self, make: Any, items: Any, patches: Patches) -> None:
        self.make = make
        self.items = items
        self.patches = patches

    def __reduce__(self) -> tuple[Any, ...]:
        return Nested, (self.make, self.items, self.patches)

    def fill(self, inputs: Sequence[Any]) -> Any:
        """Create the container with the inputs in the holes."""
        if self.make is dict:
            return _patch(dict(self.items), self.patches, inputs)
        filled = _patch(list(self.items), self.patches, inputs)
        if self.make is list:
            return filled
        return getattr(self.make, "_make", tuple)(filled)


def _patch(holder: Any, patches: Patches, inputs: Sequence[Any]) -> Any:
    for where, filler in patches:
        holder[where] = filler.fill(inputs) if isinstance(filler, Nested) else inputs[filler]
    return holder


def bind(template: Template, inputs: list[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Return the positional and keyword arguments of a call, from a template and the values of the task's distinct inputs.

    Do not modify them: they may be `inputs` itself, or shared between calls. They are meant for `function(*args, **kwargs)`.

    >>> bind(None, [1, 2])
    ([1, 2], {})
    >>> bind((("a", None), {"k": None}, ((1, 0),), (("k", slice(0, 2)),)), [1, 2])
    (['a', 1], {'k': [1, 2]})
    """
    if template is None:
        return inputs, NO_KEYWORDS
    forms = len(template)
    if forms == 1:
        return template[0], NO_KEYWORDS
    if forms == 2:
        return template
    args, kwargs, patches, keyword_patches = template
    if patches:
        args = _patch(list(args), patches, inputs)
    if keyword_patches:
        kwargs = _patch(dict(kwargs), keyword_patches, inputs)
    return args, kwargs


def load_block(block: bytes) -> list[Template]:
    """Unpickle the templates of one block of consecutive tasks. Only runners may call this, and only on an authenticated job's graph."""
    templates: list[Template] = pickle.loads(block)
    return templates
