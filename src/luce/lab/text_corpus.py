"""Sentences of the user's files or of a small grammar, cut into the tokens that models learn."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from luce.data.opening import read_text
from luce.data.rows import SUFFIXES, read
from luce.errors import LuceError
from luce.lab.text_model import Texts
from luce.models.tiny import new_tokenizer

LONGEST = 32
"""Tokens of a sentence, the end among them."""
SHORT, LONG = 16, 24
"""S has this many tokens or fewer, L this many or more; M lies between."""
MOST = 800
"""Sentences of one length."""
LEAST = 300
"""Sentences of S, M and L that there must be."""
VOCABULARY, UNUSED = 768, 202
"""Tokens to be learnt; of the 256 bytes and three special ones of a tokenizer so many never occur
in sentences, and are not counted."""
MADE = 40_000
"""Sentences that the grammar makes, before those that are too many of a length are left out."""

_SENTENCE = re.compile(r"[A-Z][a-z]*(?: [A-Za-z',-]+)+[.!?]")

NOUNS = tuple(
    "actor baker bird boat bridge captain castle child city cloud cook dancer doctor dog door "
    "farmer field fisher forest friend garden gate guest harbor hill horse house hunter island "
    "judge king lake lamp letter library market meadow miller mountain neighbor painter palace "
    "path pilot poet prince queen river road sailor school servant ship singer soldier stranger "
    "student tailor teacher temple tower town traveler tree valley village wall widow window "
    "writer".split()
)
ADJECTIVES = tuple(
    "ancient blue bright busy calm clever cold dark distant empty famous gentle golden green "
    "happy hidden honest large lonely lovely narrow noble old patient poor proud quiet rich "
    "silent simple small strange tall tired warm wise young".split()
)
VERBS = tuple(
    "admired answered carried called drew feared followed forgot found heard helped left liked "
    "loved met missed passed praised reached remembered saw sought visited warned watched".split()
)
SPEECH = ("believed", "dreamed", "said", "knew", "hoped", "thought", "wrote")
PLACES = ("near", "behind", "beside", "above", "beyond", "by", "in", "outside")
LINKS = ("and", "but", "because", "while", "until", "when", "although", "so")
MANNERS = ("slowly", "often", "never", "gladly", "soon", "secretly", "always", "quickly")
WHO = ("he", "she", "they", "it", "nobody", "everybody")
WHOSE = ("the", "a", "his", "her", "this", "every")
TIMES = ("Today", "Yesterday", "Once", "Later", "Then", "There", "Perhaps", "Long ago")
STYLES = (1.0, 1.5, 2.0, 3.0)
"""How plain a sentence is: 1 has every word alike."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentences as tokens.

    Attributes:
        texts: the sentences, each once, in no order.
        vocabulary: tokens that occur, the end among them.
        origin: where they are from, in words.
    """

    texts: Texts = field(repr=False)
    vocabulary: int
    origin: str

    def shares(self) -> tuple[float, float, float]:
        """Of S, M and L."""
        n = self.texts.lengths
        parts = (n <= SHORT, (n > SHORT) & (n < LONG), n >= LONG)
        small, middle, large = (part.double().mean().item() for part in parts)
        return small, middle, large


def corpus(sentences: Sequence[str], origin: str, seed: int = 0) -> Corpus:
    """Byte-pair tokens of the sentences, at most `MOST` of each length up to `LONGEST`.

    Raises:
        LuceError: too few sentences of 16 tokens or fewer, of 17 to 23, or of 24 to 32.
    """
    mixed = list(sentences)
    random.Random(seed).shuffle(mixed)
    tokenizer = new_tokenizer(mixed, VOCABULARY + UNUSED)
    rows, seen = [], [0] * (LONGEST + 1)
    for ids in tokenizer(mixed, add_special_tokens=False)["input_ids"] if mixed else []:
        size = len(ids) + 1
        if size <= LONGEST and seen[size] < MOST:
            seen[size] += 1
            rows.append(ids + [0] * (LONGEST - len(ids)))
    parts = (sum(seen[: SHORT + 1]), sum(seen[SHORT + 1 : LONG]), sum(seen[LONG:]))
    if min(parts) < LEAST:
        raise LuceError(
            f"{origin}: {parts[0]} sentences have {SHORT} tokens or fewer, {parts[1]} have "
            f"{SHORT + 1} to {LONG - 1}, {parts[2]} have {LONG} to {LONGEST}. It takes {LEAST} "
            "each: give more text."
        )
    # id 0 is <|begin|>, which occurs in no sentence: here it is the end
    used, ids = torch.tensor(rows).unique(return_inverse=True)
    lengths = (ids != 0).sum(1) + 1
    return Corpus(Texts(ids, lengths), len(used), origin)


def sentences_of(paths: Sequence[Path]) -> list[str]:
    """Each sentence of the files once, without its final mark: `Word word, word-word … word.`

    Of a table or a file of JSON every string is read, in all columns; of another file its text.

    Raises:
        DataError: a file cannot be read.
    """
    found: dict[str, None] = {}
    for path in paths:
        for text in _strings_of(path):
            found.update((match[:-1], None) for match in _SENTENCE.findall(text))
    return list(found)


def _strings_of(path: Path) -> Iterator[str]:
    if path.name.removesuffix(".gz").endswith(SUFFIXES):
        for _, record in read(str(path)):
            yield from _strings(record)
    else:
        yield read_text(path)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def made_sentences(count: int, seed: int) -> list[str]:
    """Sentences of the grammar, each once, of 3 to about 40 words; the same for the same seed.

    Some have many rare words and others few, so that sentences of one length differ in how likely
    they are, as those of people do.
    """
    draw = random.Random(seed)
    found: dict[str, None] = {}
    for _ in range(count):
        words = draw.randint(3, 36)
        writer = _Writer(draw, draw.choice(STYLES))
        text = writer.clause(words)
        if words > 6 and draw.random() < 0.3:
            text = f"{writer.one_of(TIMES)} {text}"
        found[text[0].upper() + text[1:]] = None
    return list(found)


@dataclass(frozen=True)
class _Writer:
    """Writes one sentence; the larger `plainness`, the fewer rare words."""

    draw: random.Random
    plainness: float

    def one_of(self, words: Sequence[str]) -> str:
        """The first words are the frequent ones."""
        return words[int(len(words) * self.draw.random() ** self.plainness)]

    def clause(self, words: int) -> str:
        """Who did what to whom, in about so many words: a long one has more clauses inside."""
        chance = self.draw.random()
        if words > 12 and chance < 0.25:
            return f"{self.thing(3)} {self.one_of(SPEECH)} that {self.clause(words - 5)}"
        if words > 12:
            first = self.draw.randint(6, words - 6)
            parts = self.clause(first), self.clause(words - first - 1)
            return f"{parts[0]}{self.draw.choice(('', ','))} {self.one_of(LINKS)} {parts[1]}"
        if words > 7 and chance < 0.6:
            return f"{self.clause(words - 4)} {self.one_of(PLACES)} {self.thing(3)}"
        if words <= 3:
            return f"{self.one_of(WHO)} {self.one_of(VERBS)} {self.one_of(NOUNS)}s"
        manner = f"{self.one_of(MANNERS)} " if words > 6 and chance < 0.76 else ""
        left = self.draw.randint(1, words - 3)
        return f"{self.thing(left)} {manner}{self.one_of(VERBS)} {self.thing(words - left - 1)}"

    def thing(self, words: int) -> str:
        """A noun in about so many words."""
        if words <= 1:
            return self.one_of(WHO)
        described = (self.one_of(ADJECTIVES) for _ in range(min(words - 2, 2)))
        return " ".join((self.one_of(WHOSE), *described, self.one_of(NOUNS)))
