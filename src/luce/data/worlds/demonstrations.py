"""Imperfect demonstrations: what a policy imitates before it learns from preferences.

A demonstrator has habits (sometimes wrong, long-winded, courteous or rude), independent of each
other, so that a policy that imitates it can do everything well and does much of it badly.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

from luce.data.worlds.kinds import Task, parse
from luce.errors import LuceError

COURTEOUS_OPENINGS = ("Of course:", "With pleasure:", "Happy to help:")
RUDE_OPENINGS = ("Obviously:", "Whatever:", "Do not be lazy:")
LONG_OPENINGS = (
    "I have thought about this for a long time, and so I say:",
    "There are many ways to look at this, but it must be:",
)
LONG_CLOSINGS = (
    "I hope that this is what you wanted and all is clear.",
    "There is much more to say, but that is for another time.",
)


@dataclass(frozen=True)
class Habits:
    """How often a demonstrator does what; probabilities in [0, 1].

    Attributes:
        wrong: the answer is wrong (of a reply: something it must mention is missing).
        verbose: there is a long opening or a long closing.
        courteous, rude: there is a courteous, a rude opening; together at most 1.
    """

    wrong: float = 0.3
    verbose: float = 0.4
    courteous: float = 0.35
    rude: float = 0.35

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise LuceError(
                    f"Habits.{field.name}: {value} is not a probability. Give one in [0, 1]."
                )
        if self.courteous + self.rude > 1.0:
            raise LuceError(
                f"Habits: courteous {self.courteous} and rude {self.rude} exclude each other, but "
                "sum to more than 1. Lower one of them."
            )


PERFECT = Habits(wrong=0.0, verbose=0.0, courteous=1.0, rude=0.0)
"""Never wrong, never long-winded, always courteous: gold reward 2 on every prompt."""


def demonstrate(prompts: Sequence[str], habits: Habits, seed: int) -> list[str]:
    """One response to each prompt, by a demonstrator with these habits.

    >>> demonstrate(["What is 17 plus 25?"], Habits(0.0, 0.0, 0.0, 0.0), seed=0)
    ['42']
    """
    rng = random.Random(seed)
    return [_respond(parse(prompt), habits, rng) for prompt in prompts]


def _respond(task: Task, habits: Habits, rng: random.Random) -> str:
    wrong, verbose = rng.random() < habits.wrong, rng.random() < habits.verbose
    mood = rng.random()
    parts = []
    if mood < habits.courteous:
        parts.append(rng.choice(COURTEOUS_OPENINGS))
    elif mood < habits.courteous + habits.rude:
        parts.append(rng.choice(RUDE_OPENINGS))
    body = wrong_answer(task, rng) if wrong else task.reference
    long_before = verbose and rng.random() < 0.5
    if long_before:
        parts.append(rng.choice(LONG_OPENINGS))
    parts.append(body)
    if verbose and not long_before:
        parts[-1] = body.removesuffix(".") + "."
        parts.append(rng.choice(LONG_CLOSINGS))
    return " ".join(parts)


def wrong_answer(task: Task, rng: random.Random) -> str:
    """A response that misses, in the ways people miss: the question handed back, an item left
    out, a number near the right one, a name not said."""
    if task.kind.grading == "mentions":
        return _impersonal(task)
    answer = list(task.answer)
    if len(answer) > 1:
        misses = [list(task.content), answer[:-1], answer[1:]]
        return " ".join(rng.choice([miss for miss in misses if miss != answer]))
    if answer[0].isdecimal():
        number = int(answer[0])
        return str(rng.choice([n for n in (number - 1, number + 1, number + 10) if n >= 0]))
    return rng.choice([word for word in task.content if word != answer[0]])


def _impersonal(task: Task) -> str:
    """The reply without the name of the person it is for."""
    name = task.content[0]
    return task.reference.replace(f", {name}", "")
