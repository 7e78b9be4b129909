"""Groups held out by prompt, and groups with somebody else's response beside their own."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from luce.data.dataset import Dataset
from luce.errors import DataError
from luce.types import Group


def split_by_prompt(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """(train, held out): about this fraction of the groups is held out, whole prompts at a time.

    Which prompts depends on the seed and on their tokens alone, so that rows added later do not
    move the others across. The ledger stays with the training part.

    Raises:
        DataError: the fraction is not within (0, 1), or there is only one prompt.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(f"data.eval: {fraction} is not a fraction between 0 and 1.")
    of: dict[bytes, list[int]] = {}
    for i, group in enumerate(dataset.groups):
        of.setdefault(_asked(group), []).append(i)
    if len(of) < 2:
        raise DataError(
            f"{dataset.source}: all groups have the same prompt, so none can be held out. "
            "Set data.eval to a file, or to null."
        )
    order = sorted(of, key=lambda p: hashlib.sha256(b"%d:" % seed + p).digest())
    wanted = max(1, math.floor(fraction * len(dataset.groups) + 0.5))
    held: set[int] = set()
    for prompt in order[:-1]:
        if len(held) >= wanted:
            break
        held.update(of[prompt])
    parts = [
        tuple(g for i, g in enumerate(dataset.groups) if (i in held) == inside)
        for inside in (False, True)
    ]
    return (
        replace(dataset, groups=parts[0]),
        replace(dataset, groups=parts[1], ledger=()),
    )


def _asked(group: Group) -> bytes:
    """What makes two groups the same question: their prompt. Running text has none but a BOS, and
    is its own."""
    if len(group.prompt) == 1 and len(group.branches) == 1:
        return group.prompt.tobytes() + group.branches[0].ids.tobytes()
    return group.prompt.tobytes()


def overlap(train: Sequence[Group], held_out: Sequence[Group]) -> int:
    """How many held-out groups have a prompt that is trained on."""
    seen = {_asked(group) for group in train}
    return sum(_asked(group) in seen for group in held_out)


def with_mismatched(groups: Sequence[Group], seed: int) -> tuple[Group, ...]:
    """Each group with a second branch: a response that belongs to another prompt.

    The prompts are put in a ring in random order, and each group takes a random response of the
    next prompt's; so it is never its own, unless there is one prompt only.
    """
    of: dict[bytes, list[int]] = {}
    for i, group in enumerate(groups):
        of.setdefault(group.prompt.tobytes(), []).append(i)
    draw = np.random.default_rng(seed)
    ring = [list(of)[i] for i in draw.permutation(len(of))]
    following = {prompt: ring[(at + 1) % len(ring)] for at, prompt in enumerate(ring)}
    found = []
    for i, group in enumerate(groups):
        others = of[following[group.prompt.tobytes()]]
        if len(of) == 1 and len(others) > 1:
            others = [other for other in others if other != i]
        other = groups[others[int(draw.integers(len(others)))]]
        found.append(replace(group, branches=(group.branches[0], other.branches[0])))
    return tuple(found)
