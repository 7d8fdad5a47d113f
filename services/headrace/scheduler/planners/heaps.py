"""Heaps in columns, for compiled code: a binary heap of entries by key, and pairing heaps of which many share their columns."""

from __future__ import annotations

from headrace.scheduler.planners.compiled import Column, compiled

# --- binary: entries ordered by key, then by number; slots `base` and on of two columns -------------------------------


@compiled
def push(keys: Column, items: Column, base: int, size: int, key: float, item: int) -> int:
    """Add an entry to a heap of `size` entries. Returns the new size."""
    at = size
    while at > 0:
        above = (at - 1) >> 1
        other = keys[base + above]
        if other < key or (other == key and items[base + above] <= item):
            break
        keys[base + at] = other
        items[base + at] = items[base + above]
        at = above
    keys[base + at] = key
    items[base + at] = item
    return size + 1


@compiled
def pop(keys: Column, items: Column, base: int, size: int) -> int:
    """Remove the first entry, which stands at `base`, from a heap of `size` entries. Returns the new size."""
    size -= 1
    key, item = keys[base + size], items[base + size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size:
            left, right = keys[base + below], keys[base + below + 1]
            if right < left or (right == left and items[base + below + 1] < items[base + below]):
                below += 1
        other = keys[base + below]
        if key < other or (key == other and item <= items[base + below]):
            break
        keys[base + at] = other
        items[base + at] = items[base + below]
        at = below
    keys[base + at] = key
    items[base + at] = item
    return size


# --- pairing: nodes with a key, the first child and the next sibling; -1 for none -------------------------------------


@compiled
def meld(keys: Column, child: Column, sibling: Column, one: int, other: int) -> int:
    """Return the root of two heaps made one."""
    if one < 0:
        return other
    if other < 0:
        return one
    if keys[other] < keys[one] or (keys[other] == keys[one] and other < one):
        one, other = other, one
    sibling[other] = child[one]
    child[one] = other
    return one


@compiled
def drop(keys: Column, child: Column, sibling: Column, root: int) -> int:
    """Remove the root of a heap. Returns the new root."""
    node = child[root]
    pairs = -1
    while node >= 0:
        second = sibling[node]
        following = sibling[second] if second >= 0 else -1
        sibling[node] = -1
        if second >= 0:
            sibling[second] = -1
        pair = meld(keys, child, sibling, node, second)
        sibling[pair] = pairs
        pairs = pair
        node = following
    root = -1
    while pairs >= 0:
        following = sibling[pairs]
        sibling[pairs] = -1
        root = meld(keys, child, sibling, root, pairs)
        pairs = following
    return root
