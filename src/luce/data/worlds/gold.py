"""The gold reward of the built-in world: how good a response truly is, part by part.

Every formula is over the *words* of a response: maximal runs of letters and digits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from luce.data.worlds.kinds import WORDS, Task, parse
from luce.errors import DataError
from luce.types import Scorer, Text

COURTEOUS = (
    "please",
    "thank you",
    "thanks",
    "of course",
    "with pleasure",
    "happy to help",
    "glad to help",
    "you are welcome",
    "my dear",
)
RUDE = (
    "obviously",
    "whatever",
    "stupid",
    "lazy",
    "yourself",
    "waste my time",
    "leave me alone",
)
FREE_WORDS = 4
"""Words a response may have beyond the reference before it counts as long."""
LONG_WORDS = 8
"""Words beyond the free ones at which `concise` reaches 0."""

_ITEMS = frozenset(WORDS)


@dataclass(frozen=True)
class Gold:
    """The gold reward of a response; every part lies in [0, 1], the total in [0, 2].

    Attributes:
        correct: of a task with an answer a: Σ_i [s_i = a_i] / max(|s|, |a|), where s are the
            numbers and the words of the world in the response, in order: other words are free,
            answer material out of place is not. Case counts where the task is about case. Of a
            reply: the share of the words it must mention that it mentions.
        concise: 1 − (n − m − 4)/8, cut to [0, 1], for n words where the reference has m; 0 for
            a response without words.
        polite: 1 with a courteous phrase, ½ without, 0 with a rude one or without words.
        total: correct + ½ concise + ½ polite.
    """

    correct: float
    concise: float
    polite: float

    @property
    def total(self) -> float:
        return self.correct + 0.5 * self.concise + 0.5 * self.polite


def words(text: str) -> list[str]:
    """The words of a text.

    >>> words("Of course: 3, 12!")
    ['Of', 'course', '3', '12']
    """
    return re.findall(r"[^\W_]+", text)


def gold(prompt: str, response: str) -> Gold:
    """The gold reward of any response to a prompt of this world.

    >>> gold("What is 17 plus 25?", "Of course: 42.")
    Gold(correct=1.0, concise=1.0, polite=1.0)
    >>> gold("What is 17 plus 25?", "Of course: 42.").total
    2.0
    """
    task, said = parse(prompt), words(response)
    return Gold(_correct(task, said), _concise(task, said), _polite(said))


def taste(correct: float = 1.0, concise: float = 0.5, polite: float = 0.5) -> Scorer:
    """A scorer that weighs the parts of the gold reward its own way; the defaults are the total.

    >>> taste(correct=0.0, concise=0.0, polite=2.0)("What is 1 plus 1?", ["2", "Whatever: 2"])
    [1.0, 0.0]
    """

    def score(prompt: Text, responses: Sequence[str]) -> list[float]:
        parts = [gold(_plain(prompt), response) for response in responses]
        return [correct * p.correct + concise * p.concise + polite * p.polite for p in parts]

    return score


def total(prompt: Text, responses: Sequence[str]) -> list[float]:
    """The gold reward of each response, in [0, 2]. A recipe names it as its annotator,
    `luce.data.worlds.gold:total`."""
    return list(taste()(prompt, responses))


def _correct(task: Task, said: list[str]) -> float:
    if task.kind.grading == "mentions":
        mentioned = {word.casefold() for word in said}
        return sum(word.casefold() in mentioned for word in task.answer) / len(task.answer)
    items = [word for word in said if word.isdecimal() or word.casefold() in _ITEMS]
    if task.kind.grading == "items":
        items = [item.casefold() for item in items]
    right = sum(item == answer for item, answer in zip(items, task.answer, strict=False))
    return right / max(len(items), len(task.answer))


def _concise(task: Task, said: list[str]) -> float:
    if not said:
        return 0.0
    long = len(said) - len(words(task.reference)) - FREE_WORDS
    return min(1.0, max(0.0, 1.0 - long / LONG_WORDS))


def _polite(said: list[str]) -> float:
    heard = f" {' '.join(said).casefold()} "
    if not said or any(f" {phrase} " in heard for phrase in RUDE):
        return 0.0
    return 1.0 if any(f" {phrase} " in heard for phrase in COURTEOUS) else 0.5


def _plain(prompt: Text) -> str:
    """The text of a prompt, or of the one user turn it consists of."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and isinstance(prompt[0].get("content"), str):
        return prompt[0]["content"]
    raise DataError(
        f"The world `tasks` grades prompts of one user turn; this one has {len(prompt)} turns."
    )
