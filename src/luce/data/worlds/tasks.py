"""The built-in world `tasks`: small instructions whose answers a program can grade.

Sorting, copying in another case, reversing, picking, counting, small arithmetic, short polite
replies: 586 535 distinct prompts, a tenth of them held out. The gold reward has three parts
(`luce.data.worlds.gold`); imperfect demonstrators are in `luce.data.worlds.demonstrations`.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from luce.data.worlds.demonstrations import PERFECT, Habits, demonstrate
from luce.data.worlds.gold import Gold, gold, taste
from luce.data.worlds.kinds import KINDS, count_prompts, parse
from luce.errors import DataError

__all__ = [
    "KINDS",
    "PERFECT",
    "Gold",
    "Habits",
    "Tasks",
    "count_prompts",
    "demonstrate",
    "gold",
    "parse",
    "reference_answer",
    "split_of",
    "taste",
]

Split = Literal["train", "heldout"]

HELD_OUT_TENTHS = 1


def split_of(prompt: str) -> Split:
    """The split a prompt belongs to, whatever the seed: by its hash, a tenth is held out."""
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    held_out = int.from_bytes(digest[:8], "big") % 10 < HELD_OUT_TENTHS
    return "heldout" if held_out else "train"


def reference_answer(prompt: str) -> str:
    """A right and short response, neither courteous nor rude.

    >>> reference_answer("Sort from small to large: 30 4 12")
    '4 12 30'
    """
    return parse(prompt).reference


@dataclass(frozen=True)
class Tasks:
    """The world's prompts in the order of a seed.

    >>> Tasks(0).prompts(5) == Tasks(0).prompts(9)[:5]
    True
    """

    seed: int = 0

    def prompts(self, n: int, split: Split = "train") -> list[str]:
        """The first n prompts of the split, all different; every kind is equally likely at each
        place until it is used up. Fewer than n are an error."""
        found = list(islice(self._stream(split), n))
        if len(found) < n:
            raise DataError(
                f"The world `tasks` has {len(found)} prompts in its split {split!r}, "
                f"and {n} were asked for. Ask for at most {len(found)}."
            )
        return found

    def _stream(self, split: Split) -> Iterator[str]:
        choose = random.Random(f"{self.seed} {split}")
        waiting = [_shuffled(name, self.seed, split) for name in KINDS]
        while waiting:
            kind = choose.choice(waiting)
            prompt = next(kind, None)
            if prompt is None:
                waiting.remove(kind)
            else:
                yield prompt


def _shuffled(name: str, seed: int, split: Split) -> Iterator[str]:
    """A kind's prompts of a split, in a random order of their numbers."""
    kind = KINDS[name]
    order = np.random.default_rng([seed, list(KINDS).index(name)]).permutation(kind.size)
    prompts = (kind.prompt(int(number)) for number in order)
    return (prompt for prompt in prompts if split_of(prompt) == split)
