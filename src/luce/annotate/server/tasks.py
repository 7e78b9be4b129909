"""What people are asked, and what they say: tasks, settings, the order shown, and verdicts."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from luce.errors import LuceError
from luce.files import fingerprint
from luce.types import Text

Kind: TypeAlias = Literal["ranked", "tie", "bad", "skip"]
"""Some response is better than another; all are equally good; all are bad; no answer."""

STRENGTHS = {1: "slightly", 2: "clearly", 3: "much"}
"""How much better the best response is."""

MOST_RESPONSES = 26
"""Responses are called A, B, … on the page."""

MOST_CHARACTERS = 200_000
"""Of a prompt or a response: more cannot be read by a person, or laid out by a browser."""

GRADES = (1, 2, 3, 4, 5)
"""Of a rating by dimension; 5 is best."""


@dataclass(frozen=True)
class Task:
    """A prompt and the responses that people compare.

    Attributes:
        prompt: text or turns.
        responses: two or more, in the order of the source, which no annotator sees.
        models: who wrote each; None where that is not known. Never sent to the page.
        id: of the source's row, or made of the content.
        best: of an attention check: the number of the response that any attentive reader prefers;
            None of an ordinary task.

    Raises:
        LuceError: there are too few or too many responses, a text is too long, or the models or
            the best one do not fit.
    """

    prompt: Text
    responses: tuple[str, ...]
    models: tuple[str, ...] | None = None
    id: str = ""
    best: int | None = None

    def __post_init__(self) -> None:
        n = len(self.responses)
        if not 2 <= n <= MOST_RESPONSES:
            raise LuceError(
                f"A task with {n} responses. People compare from 2 to {MOST_RESPONSES} of them."
            )
        if self.models is not None and len(self.models) != n:
            raise LuceError(f"{len(self.models)} models for {n} responses. Name one for each.")
        if self.best is not None and not 0 <= self.best < n:
            raise LuceError(f"The best response is number {self.best} of {n}, counted from 0.")
        for text in (*self.responses, *_contents(self.prompt)):
            if len(text) > MOST_CHARACTERS:
                raise LuceError(
                    f"A text of {len(text):,} characters; a page shows {MOST_CHARACTERS:,}. "
                    "Leave the row out, or cut the text."
                )
        if not self.id:
            content = [plain_prompt(self.prompt), list(self.responses), list(self.models or ())]
            object.__setattr__(self, "id", fingerprint(content)[:16])


@dataclass(frozen=True)
class Settings:
    """How a set of tasks is given out. Kept in the store: a later start has the same.

    Attributes:
        seed: of the order of tasks and responses.
        overlap: so many people judge each task.
        dimensions: each response is rated from 1 to 5 in each of them; none: only compared.
        check_every: after so many tasks a person gets an attention check, as long as there are any.
    """

    seed: int = 0
    overlap: int = 1
    dimensions: tuple[str, ...] = ()
    check_every: int = 10

    def __post_init__(self) -> None:
        if self.overlap < 1 or self.check_every < 1:
            raise LuceError("overlap and check_every are numbers from 1 up.")
        if len(set(self.dimensions)) < len(self.dimensions) or len(self.dimensions) > 8:
            raise LuceError("Dimensions have names of their own, and are 8 at most.")

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seed": self.seed,
            "overlap": self.overlap,
            "dimensions": list(self.dimensions),
            "check_every": self.check_every,
        }


@dataclass(frozen=True)
class Verdict:
    """What a person says of a task.

    Attributes:
        kind: see `Kind`.
        ranks: of each response, 1 is best, equal ranks tie; all 1 for "tie" and "bad"; () for
            "skip".
        strength: how much better the best is, 1 to 3; None where nothing is better, or not said.
        ratings: dimension → the grade of each response, None where not given.
        comment: free text.
    """

    kind: Kind
    ranks: tuple[int, ...] = ()
    strength: int | None = None
    ratings: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    comment: str = ""

    def checked(self, responses: int, dimensions: Sequence[str]) -> "Verdict":
        """The verdict itself, if it is one on so many responses.

        Raises:
            LuceError: it is not: what is wrong.
        """
        equal = (1,) * responses
        if self.kind == "skip":
            if self.ranks or self.strength is not None:
                raise LuceError("A task that is skipped has no ranks and no strength.")
        elif self.kind in ("tie", "bad"):
            if self.ranks != equal or self.strength is not None:
                raise LuceError(
                    "Where nothing is better, all ranks are 1 and there is no strength."
                )
        elif len(self.ranks) != responses or not is_ranking(self.ranks) or self.ranks == equal:
            raise LuceError(
                f"The ranks {list(self.ranks)} order no {responses} responses: give each its "
                "rank, 1 for the best, and not the same to all."
            )
        if self.strength is not None and self.strength not in STRENGTHS:
            raise LuceError(f"The strength is {self.strength}; give 1, 2 or 3.")
        for name, grades in self.ratings.items():
            if name not in dimensions:
                raise LuceError(f"Nothing is rated by {name!r} here.")
            if len(grades) != responses or any(g not in (None, *GRADES) for g in grades):
                raise LuceError(f"The ratings by {name!r} are not one grade of 1 to 5 each.")
        return self

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind,
            "ranks": list(self.ranks),
            "strength": self.strength,
            "ratings": {name: list(grades) for name, grades in self.ratings.items()},
            "comment": self.comment,
        }

    def placed(self, order: Sequence[int], back: bool = False) -> "Verdict":
        """The verdict on responses in the order of the source, from one on responses in the order
        shown; `back`: the other way about.

        >>> Verdict("ranked", (1, 3, 2)).placed((2, 0, 1)).ranks
        (3, 2, 1)
        """

        def moved(values: Sequence[Any]) -> tuple[Any, ...]:
            if back:
                return tuple(values[number] for number in order)
            found: list[Any] = [None] * len(order)
            for place, number in enumerate(order):
                found[number] = values[place]
            return tuple(found)

        ratings = {name: moved(grades) for name, grades in self.ratings.items()}
        ranks = moved(self.ranks) if self.ranks else ()
        return Verdict(self.kind, ranks, self.strength, ratings, self.comment)


def order_shown(seed: int, task: str, annotator: str, responses: int) -> tuple[int, ...]:
    """The numbers of the responses in the order in which a person sees them: drawn anew for each
    task and person, the same in each run of one seed.

    >>> order_shown(0, "t1", "anna", 3) == order_shown(0, "t1", "anna", 3)
    True
    """
    numbers = list(range(responses))
    random.Random(fingerprint(["responses", seed, task, annotator])).shuffle(numbers)
    return tuple(numbers)


def is_ranking(ranks: Sequence[int]) -> bool:
    """Whether each rank is 1 + the number of better ones: (1, 2, 2, 4) is, (1, 3) is not.

    >>> is_ranking((1, 2, 2, 4)), is_ranking((1, 3))
    (True, False)
    """
    return all(rank == 1 + sum(other < rank for other in ranks) for rank in ranks)


def plain_prompt(prompt: Text) -> Any:
    """The prompt as JSON has it."""
    return prompt if isinstance(prompt, str) else [dict(turn) for turn in prompt]


def _contents(prompt: Text) -> list[str]:
    return [prompt] if isinstance(prompt, str) else [str(t.get("content")) for t in prompt]
