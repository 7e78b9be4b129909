"""The kinds of instructions of the built-in world, each with as many prompts as can be counted.

A kind is a finite, numbered set of contents (`17 plus 25`, `river fig stone`) and a wording around
them. Its answer is computed from the content, so a prompt alone says how to grade a response.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Literal

from luce.errors import DataError

WORDS = tuple(
    "apple bear bird boat bread cat chair cloud cow dog door egg fig fire fish fox goat grass hat "
    "horse house king lake lamp leaf moon nut owl pear pig rain ring river rose salt ship snow "
    "star stone tree wolf".split()
)
NAMES = tuple(
    "Ada Amir Ben Bo Carla Chen David Dora Emma Eric Felix Flora Greta Hans Hugo Ida Ines Jonas "
    "Kai Karin Leo Lin Luis Maria Mei Nils Nora Olga Omar Paul Petra Rosa Sam Simon Tina Tom Uma "
    "Victor Wanda Yuki".split()
)
GIFTS = tuple("book cake letter map photo poem shirt soup tea ticket toy watch".split())
LOOKS = ("big", "small", "new", "old", "lovely", "fine")
EVENTS = tuple("concert dance dinner game lunch meeting party picnic show wedding".split())
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TIMES = ("morning", "afternoon", "evening", "night", "day", "week", "weekend", "summer")
MOODS = ("good", "happy", "quiet", "lovely", "merry", "sunny")
NUMBERS = 50  # arithmetic and sorting use 0 … 49

Grading = Literal["items", "cased_items", "mentions"]
"""How `correct` compares: the items in order, the items in order and case, or words mentioned."""


@dataclass(frozen=True)
class Kind:
    """A kind of instruction.

    Attributes:
        name: what the tables of results call it.
        wording: the prompt, with `{}` where the content stands.
        size: number of contents; they are numbered 0 … size − 1, and no two are equal.
        shape: a regular expression that every content matches.
        content: number -> content.
        answer: words of the content -> words of the answer (of a reply: words it must mention).
        reference: words of the content -> a right, short response.
        grading: how `correct` compares a response with the answer.
    """

    name: str
    wording: str
    size: int
    shape: str
    content: Callable[[int], str]
    answer: Callable[[list[str]], list[str]]
    reference: Callable[[list[str]], str]
    grading: Grading = "items"

    def prompt(self, number: int) -> str:
        """The prompt with this number."""
        return self.wording.format(self.content(number))


@dataclass(frozen=True)
class Task:
    """A prompt, understood.

    Attributes:
        kind: what is asked.
        content: the words it is asked of.
        answer: the words of the right answer, or those a reply must mention.
        reference: a right, short response.
    """

    kind: Kind
    content: tuple[str, ...]
    answer: tuple[str, ...]
    reference: str


def _one_of(choices: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(choices)})"


_NUMBER = "[1-4]?[0-9]"
_WORD = _one_of(WORDS)
_NUMBER_TRIPLE = " ".join([_NUMBER] * 3)
_WORD_TRIPLE = " ".join([_WORD] * 3)


def _triple(items: tuple[str, ...]) -> Callable[[int], str]:
    """Number -> an ordered triple of distinct items (mixed radix over what is left)."""
    n = len(items)

    def content(number: int) -> str:
        left, chosen = list(items), []
        for radix in (n, n - 1, n - 2):
            number, digit = divmod(number, radix)
            chosen.append(left.pop(digit))
        return " ".join(chosen)

    return content


def _run(number: int) -> str:
    """Number -> 2 … 7 words that step evenly through the (prime number of) words."""
    number, extra = divmod(number, 6)
    start, step = divmod(number, len(WORDS) - 1)
    return " ".join(WORDS[(start + (step + 1) * i) % len(WORDS)] for i in range(extra + 2))


def _sum(number: int) -> str:
    return "{} plus {}".format(*divmod(number, NUMBERS))


def _difference(number: int) -> str:
    """Number -> `a minus b` with a ≥ b: row a of a triangle has a + 1 entries."""
    a = int(((8 * number + 1) ** 0.5 - 1) / 2)
    return f"{a} minus {number - a * (a + 1) // 2}"


@dataclass(frozen=True)
class _Slots:
    """A wording with a `{}` for each list of choices; its contents are all the combinations."""

    wording: str
    choices: tuple[tuple[str, ...], ...]

    @property
    def size(self) -> int:
        return prod(len(words) for words in self.choices)

    @property
    def shape(self) -> str:
        return self.wording.format(*(_one_of(words) for words in self.choices))

    def __call__(self, number: int) -> str:
        """Number -> content (mixed radix over the choices)."""
        chosen = []
        for words in self.choices:
            number, digit = divmod(number, len(words))
            chosen.append(words[digit])
        return self.wording.format(*chosen)


_thanks = _Slots("{} for the {} {}", (NAMES, LOOKS, GIFTS))
_refusals = _Slots("{} that you cannot come to the {} on {}", (NAMES, EVENTS, DAYS))
_wishes = _Slots("{} a {} {}", (NAMES, MOODS, TIMES))


def _of_items(
    name: str,
    wording: str,
    size: int,
    shape: str,
    content: Callable[[int], str],
    answer: Callable[[list[str]], list[str]],
    grading: Grading = "items",
) -> Kind:
    """A kind whose reference is its answer and nothing else."""
    return Kind(name, wording, size, shape, content, answer, lambda c: " ".join(answer(c)), grading)


def _of_mentions(
    name: str,
    wording: str,
    slots: _Slots,
    answer: Callable[[list[str]], list[str]],
    reference: Callable[[list[str]], str],
) -> Kind:
    """A short reply, graded by what it mentions."""
    return Kind(name, wording, slots.size, slots.shape, slots, answer, reference, "mentions")


_numbers = _triple(tuple(str(i) for i in range(NUMBERS)))
_words = _triple(WORDS)
_number_triples = NUMBERS * (NUMBERS - 1) * (NUMBERS - 2)
_word_triples = len(WORDS) * (len(WORDS) - 1) * (len(WORDS) - 2)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _of_items(
            "sort_numbers",
            "Sort from small to large: {}",
            _number_triples,
            _NUMBER_TRIPLE,
            _numbers,
            lambda c: sorted(c, key=int),
        ),
        _of_items(
            "sort_words", "Sort by the alphabet: {}", _word_triples, _WORD_TRIPLE, _words, sorted
        ),
        _of_items("repeat", "Say again: {}", _word_triples, _WORD_TRIPLE, _words, lambda c: c),
        _of_items(
            "reverse", "Say in reverse: {}", _word_triples, _WORD_TRIPLE, _words, lambda c: c[::-1]
        ),
        _of_items(
            "first",
            "What is the first word of: {}",
            _word_triples,
            _WORD_TRIPLE,
            _words,
            lambda c: c[:1],
        ),
        _of_items(
            "last",
            "What is the last word of: {}",
            _word_triples,
            _WORD_TRIPLE,
            _words,
            lambda c: c[-1:],
        ),
        _of_items(
            "capitals",
            "Copy in capitals: {}",
            _word_triples,
            _WORD_TRIPLE,
            _words,
            lambda c: [w.upper() for w in c],
            "cased_items",
        ),
        _of_items(
            "small_letters",
            "Copy in small letters: {}",
            _word_triples,
            _WORD_TRIPLE.upper(),
            lambda number: _words(number).upper(),
            lambda c: [w.lower() for w in c],
            "cased_items",
        ),
        _of_items(
            "count",
            "How many words are these: {}",
            len(WORDS) * (len(WORDS) - 1) * 6,
            f"{_WORD}(?: {_WORD}){{1,6}}",
            _run,
            lambda c: [str(len(c))],
        ),
        _of_items(
            "add",
            "What is {}?",
            NUMBERS**2,
            f"{_NUMBER} plus {_NUMBER}",
            _sum,
            lambda c: [str(int(c[0]) + int(c[2]))],
        ),
        _of_items(
            "subtract",
            "How much is {}?",
            NUMBERS * (NUMBERS + 1) // 2,
            f"{_NUMBER} minus {_NUMBER}",
            _difference,
            lambda c: [str(int(c[0]) - int(c[2]))],
        ),
        _of_mentions(
            "thank",
            "Thank {}.",
            _thanks,
            lambda c: ["thank", c[0], c[3], c[4]],
            lambda c: f"Thank you for the {c[3]} {c[4]}, {c[0]}.",
        ),
        _of_mentions(
            "decline",
            "Tell {}.",
            _refusals,
            lambda c: ["sorry", c[0], c[7], c[9]],
            lambda c: f"I am sorry, {c[0]}, I cannot come to the {c[7]} on {c[9]}.",
        ),
        _of_mentions(
            "wish",
            "Wish {}.",
            _wishes,
            lambda c: [c[2], c[3], c[0]],
            lambda c: f"Have a {c[2]} {c[3]}, {c[0]}.",
        ),
    )
}
"""Every kind by its name."""


@cache
def _pattern(kind: str) -> re.Pattern[str]:
    before, after = KINDS[kind].wording.split("{}")
    return re.compile(f"{re.escape(before)}({KINDS[kind].shape}){re.escape(after)}")


def count_prompts() -> int:
    """How many distinct prompts the world has, both splits together.

    >>> count_prompts()
    586535
    """
    return sum(kind.size for kind in KINDS.values())


def parse(prompt: str) -> Task:
    """The task a prompt of this world states; an error for any other text.

    >>> parse("Say in reverse: fig cat star").answer
    ('star', 'cat', 'fig')
    """
    for name, kind in KINDS.items():
        found = _pattern(name).fullmatch(prompt)
        if found is None:
            continue
        content = found[1].split(" ")
        answer = tuple(kind.answer(content))
        return Task(kind, tuple(content), answer, kind.reference(content))
    raise DataError(
        f"The world `tasks` has no prompt {prompt[:80]!r}, so it cannot grade a response to it. "
        "Use prompts made by luce.data.worlds.tasks.Tasks."
    )
