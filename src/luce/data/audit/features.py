"""What a response looks like, one question at a time: its format, its first word, its language."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

Feature: TypeAlias = Callable[[str], bool]

LETTERS = 400
"""Letters of a text from which its script is told."""

STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "English": "the of and to is that it for you with this are not be have was they from or",
        "German": "der die das und ist nicht ein eine zu mit sich auf für von dem den auch sie wir",
        "French": "le la les des est une dans pour que qui sur pas avec vous nous ce cette sont et",
        "Spanish": "el los las una que por con para del está son como más pero sus ser muy usted y",
        "Italian": "il gli che di è una per non con sono della nel questo più anche come alla ma",
        "Portuguese": "os as uma não para com você são mais como mas seu sua está isso pelo dos ao",
        "Dutch": "het een van en niet dat op te zijn met voor aan ook maar deze naar wordt bij ik",
    }.items()
}
"""Frequent words that tell a language written in Latin letters."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_REFUSAL = re.compile(
    r"\b(i(?:'|’)?m (?:very |really |so )?sorry|i am (?:very )?sorry|i apologi[sz]e"
    r"|i (?:can(?:'|’)t|cannot|can not|won(?:'|’)t|will not|am unable to|(?:'|’)m unable to"
    r"|(?:'|’)m not able to|am not able to|would rather not|do not feel comfortable"
    r"|don(?:'|’)t feel comfortable|refuse to)"
    r"|i(?:'|’)m (?:unable|not able|not comfortable)"
    r"|as an ai\b|as a language model|against my (?:programming|guidelines))",
    re.IGNORECASE,
)
_ENDS = ".!?…:;)]}\"'”’»`*|。！？।"

_PATTERNS = {
    "has a bullet list": r"(?m)^\s*[-*•]\s+\S",
    "has a numbered list": r"(?m)^\s*\d{1,3}[.)]\s+\S",
    "has code": r"(?m)```|^(?: {4}|\t)\S.*[;{}()=]\s*$",
    "has a heading": r"(?m)^#{1,6}\s+\S",
    "has bold text": r"\*\*[^*\n]+\*\*",
    "has a table": r"(?m)^\s*\|.*\|.*\|\s*$",
    "has a link": r"https?:/|\bwww\.|\]\([^)\s]+\)",
    "has several paragraphs": r"\S\n\s*\n\s*\S",
}


def _finder(pattern: str) -> Feature:
    compiled = re.compile(pattern)
    return lambda text: compiled.search(text) is not None


def refuses(text: str) -> bool:
    """Whether a response holds a phrase of refusal, in English.

    >>> refuses("I’m sorry, but I can't help with that."), refuses("Of course!")
    (True, False)
    """
    return _REFUSAL.search(text) is not None


def cut_off(text: str) -> bool:
    """Whether a response does not end as sentences, lists or code end.

    >>> cut_off("It is the capital of"), cut_off("It is Paris.")
    (True, False)
    """
    shown = text.rstrip()
    return bool(shown) and shown[-1] not in _ENDS and not _is_symbol(shown[-1])


FEATURES: Mapping[str, Feature] = {
    **{name: _finder(pattern) for name, pattern in _PATTERNS.items()},
    "has a question": lambda text: "?" in text,
    "has an exclamation mark": lambda text: "!" in text,
    "refuses": refuses,
    "ends without a stop": cut_off,
}
"""Name → whether a response has it."""


def first_word(text: str) -> str:
    """The first word in small letters, or the first character where none comes before it.

    >>> first_word("  Sure, here it is"), first_word("- one"), first_word("")
    ('sure', '-', '')
    """
    shown = text.lstrip()
    found = _WORD.match(shown)
    return found[0].casefold().replace("’", "'") if found else shown[:1]


def script(text: str) -> str | None:
    """The script of most of the text's first letters, as `Latin`; None without letters.

    >>> script("Добрый день"), script("42")
    ('Cyrillic', None)
    """
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else None
    counts: dict[str, int] = {}
    seen = 0
    for letter in text:
        if letter.isalpha():
            name = _script_of(letter)
            counts[name] = counts.get(name, 0) + 1
            seen += 1
            if seen == LETTERS:
                break
    return max(counts, key=lambda name: counts[name]) if counts else None


def language(text: str) -> str | None:
    """The language, where frequent words tell it (two at least, and more than of any other); the
    script where it is not Latin; None where neither says.

    >>> language("Das ist nicht die Antwort"), language("Paris")
    ('German', None)
    """
    letters = script(text)
    if letters != "Latin":
        return letters
    spoken = _WORD.findall(text[:4000].casefold())
    counts = sorted(
        ((sum(word in known for word in spoken), name) for name, known in STOP_WORDS.items()),
        reverse=True,
    )
    (most, name), (second, _) = counts[:2]
    return name if most >= 2 and most > second else None


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    name = unicodedata.name(letter, "OTHER").split()[0]
    return {"CJK": "Han"}.get(name, name.capitalize())


@lru_cache(maxsize=1024)
def _is_symbol(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "SP"
