"""What an audit looks at: judged pairs as plain texts, the better response first."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from luce.data.audit.estimates import numbered
from luce.data.ledger import RowError
from luce.data.structures import as_structure
from luce.errors import DataError
from luce.types import Place, Preference, Ranking, Row, Text

_NOT_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class JudgedPair:
    """One judgement as texts.

    Attributes:
        row: number of the row it comes from; a ranking gives several pairs.
        place, id: of that row.
        prompt: all turns of the prompt, one after the other; its last one is `asked`.
        chosen, rejected: the two responses (what the assistant says in them); the preferred one is
            first, whatever the file called it.
        p: P(chosen is preferred), at least ½; a tie is ½.
        annotator, source, split: who judged, and which data set or split it is of, where said.
    """

    row: int
    place: Place
    id: str
    prompt: str
    asked: str
    chosen: str
    rejected: str
    p: float
    annotator: str | None
    source: str | None
    split: str | None

    @property
    def tie(self) -> bool:
        """Whether neither response is preferred."""
        return self.p == 0.5


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of a file, with what every part of the audit asks of them."""

    items: tuple[JudgedPair, ...]

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def prompts(self) -> np.ndarray:
        """For each pair the number of its prompt: the unit of every interval."""
        return numbered([normal(pair.prompt) or pair.prompt for pair in self.items])

    @property
    def prompt_count(self) -> int:
        """How many different prompts there are."""
        return int(self.prompts.max()) + 1 if len(self.items) else 0

    @cached_property
    def p(self) -> np.ndarray:
        """P(chosen is preferred) of each pair."""
        return np.array([pair.p for pair in self.items], dtype=float)

    @cached_property
    def decided(self) -> np.ndarray:
        """1 for each pair in which a response is preferred, 0 for a tie."""
        return (self.p > 0.5).astype(float)

    @cached_property
    def _answers(self) -> dict[Callable[[str], Any], dict[str, Any]]:
        return {}

    def asked(self, question: Callable[[str], Any]) -> tuple[list[Any], list[Any]]:
        """What a function says of the chosen and of the rejected responses; each text is asked
        once, however many pairs it stands in."""
        known = self._answers.setdefault(question, {})
        found: tuple[list[Any], list[Any]] = ([], [])
        for pair in self.items:
            for side, text in zip(found, (pair.chosen, pair.rejected), strict=True):
                if text not in known:
                    known[text] = question(text)
                side.append(known[text])
        return found

    def take(self, which: Sequence[int] | np.ndarray) -> "Pairs":
        """Some of the pairs."""
        return Pairs(tuple(self.items[int(i)] for i in which))


def pairs_of(rows: Sequence[Row]) -> Pairs:
    """The pairs of judged rows; of a ranking every pair with different scores.

    Raises:
        DataError: a row is neither a pair nor a ranking.
    """
    found: list[JudgedPair] = []
    for number, row in enumerate(rows):
        if not isinstance(row, Preference | Ranking):
            raise DataError(
                f"{row.place}: a {type(row).__name__}. The audit is of preferences: pairs, or "
                "rankings of several responses. For a file to compare with, use --against."
            )
        try:
            parts = as_structure(row, "pair", "all")
        except RowError:  # a ranking of equal scores has no pair
            continue
        found += [_pair(number, part) for part in parts if isinstance(part, Preference)]
    return Pairs(tuple(found))


def _pair(number: int, row: Preference) -> JudgedPair:
    sides = (response_text(row.chosen), response_text(row.rejected))
    chosen, rejected = sides if row.label >= 0.5 else (sides[1], sides[0])
    split = row.extra.get("split")
    return JudgedPair(
        row=number,
        place=row.place,
        id=row.id,
        prompt=prompt_text(row.prompt),
        asked=row.prompt if isinstance(row.prompt, str) else row.prompt[-1]["content"],
        chosen=chosen,
        rejected=rejected,
        p=max(row.label, 1 - row.label),
        annotator=row.annotator,
        source=row.source,
        split=split if isinstance(split, str) else None,
    )


def prompt_text(prompt: Text) -> str:
    """A prompt's turns, one after the other."""
    return prompt if isinstance(prompt, str) else "\n".join(turn["content"] for turn in prompt)


def response_text(response: Text) -> str:
    """What the assistant says in a response."""
    if isinstance(response, str):
        return response
    return "\n".join(turn["content"] for turn in response if turn["role"] == "assistant")


@lru_cache(maxsize=65_536)
def normal(text: str) -> str:
    """A text without its case, its punctuation and its white space but for single spaces.

    >>> normal("  Name a PRIME, please! ")
    'name a prime please'
    """
    return _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
