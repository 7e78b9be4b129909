"""Groups laid out in packed rows, and groups sorted into rows of a token budget.

A group is laid out as `prompt ++ response_1[:-1] ++ response_2[:-1] …`. The first token of every
response is predicted from the last prompt token, every other from the token before it.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np
import torch

from luce.types import Group, Packed, Span


def pack(groups: Sequence[Group], keep_last: bool = False) -> Packed:
    """One packed row of these groups, on the CPU.

    Args:
        groups: at least one.
        keep_last: keep each response's last token among the inputs, where a reward model reads.

    >>> from luce.types import Branch, Place
    >>> ids = lambda *x: np.array(x, dtype=np.int32)
    >>> yes = np.ones(2, dtype=bool)
    >>> branches = (Branch(ids(3, 9), yes), Branch(ids(4, 9), yes))
    >>> row = pack([Group(ids(1, 2), branches, "a", Place("f", 1))])
    >>> row.input_ids.tolist(), row.position_ids.tolist(), row.predict.tolist()
    ([1, 2, 3, 4], [0, 1, 2, 2], [1, 2, 1, 3])
    """
    ids: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    predict: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    lengths: list[int] = []
    ends: list[int] = []
    spans: list[Span] = []
    start = 0
    for group in groups:
        size = len(group.prompt)
        ids.append(group.prompt)
        positions.append(np.arange(size))
        last_of_prompt = start + size - 1
        at, inputs = start + size, []
        for branch in group.branches:
            count = len(branch) if keep_last else len(branch) - 1
            ids.append(branch.ids[:count])
            positions.append(np.arange(size, size + count))
            before = at - 1 + np.arange(len(branch))
            before[0] = last_of_prompt
            predict.append(before[branch.scored])
            targets.append(branch.ids[branch.scored])
            lengths.append(int(branch.scored.sum()))
            ends.append(at + count - 1 if count else last_of_prompt)
            inputs.append(count)
            at += count
        spans.append(Span(start, size, tuple(inputs)))
        start = at
    return Packed(
        input_ids=_join(ids),
        position_ids=_join(positions),
        spans=tuple(spans),
        predict=_join(predict),
        targets=_join(targets),
        lengths=torch.tensor(lengths, dtype=torch.int64),
        ends=torch.tensor(ends, dtype=torch.int64),
        sizes=tuple(len(group.branches) for group in groups),
    )


def _join(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))


def bins(counts: Sequence[int], budget: int) -> list[list[int]]:
    """Numbers of items, sorted into bins whose counts sum to at most the budget.

    First-fit decreasing: the largest item first, each into the first bin with room; deterministic.
    An item larger than the budget gets a bin of its own. Items within a bin, and bins by their
    first item, are in ascending order.

    >>> bins([5, 3, 2, 9], budget=8)
    [[0, 1], [2], [3]]
    """
    found: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(counts)), key=lambda i: (-counts[i], i)):
        fit = next((b for b, left in enumerate(room) if counts[item] <= left), None)
        if fit is None:
            found.append([item])
            room.append(budget - counts[item])
        else:
            found[fit].append(item)
            room[fit] -= counts[item]
    return sorted(sorted(items) for items in found)


def balance(counts: Sequence[int], parts: int) -> list[list[int]]:
    """Numbers of items, dealt into this many parts whose counts sum to nearly the same.

    The largest item first, each to the part that has least so far; deterministic. Items within a
    part are in ascending order; with fewer items than parts some are empty.

    >>> balance([5, 3, 2, 9], parts=2)
    [[3], [0, 1, 2]]
    """
    found: list[list[int]] = [[] for _ in range(parts)]
    sums = [(0, part) for part in range(parts)]
    for item in sorted(range(len(counts)), key=lambda i: (-counts[i], i)):
        total, part = heappop(sums)
        found[part].append(item)
        heappush(sums, (total + counts[item], part))
    return [sorted(items) for items in found]


def micro_batches(groups: Sequence[Group], budget: int) -> list[list[int]]:
    """Numbers of groups, sorted into packed rows of at most `budget` tokens each; a group larger
    than that has a row of its own.

    There are as many rows as first-fit decreasing needs, and where dealing the groups out evenly
    makes the longest of them shorter, that is done: it takes less memory.
    """
    counts = [group.tokens for group in groups]

    def longest(rows: list[list[int]]) -> int:
        return max((sum(counts[i] for i in items) for items in rows), default=0)

    full = bins(counts, budget)
    even = sorted(balance(counts, len(full)))
    return even if longest(even) < longest(full) else full
