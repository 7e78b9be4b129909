"""How formulas are put together as text: signs, brackets, sums.

`x; where` is a formula with what it needs explained after a semicolon.
"""

import re
from collections.abc import Iterable, Iterator

CLOSING = {"(": ")", "[": "]", "{": "}"}


def top_level(text: str) -> Iterator[int]:
    """Where `text` is inside no bracket.

    >>> list(top_level("a(b)c"))
    [0, 3, 4]
    """
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            yield i


def is_sum(text: str) -> bool:
    """Whether `text` is a sum, or starts with a sign."""
    return text.startswith("−") or any(text[i : i + 3] in (" − ", " + ") for i in top_level(text))


def bracket(text: str) -> str:
    """`text` in brackets where it is a sum, or starts with a sign.

    >>> bracket("a − b"), bracket("2·[a − b]")
    ('(a − b)', '2·[a − b]')
    """
    return f"({text})" if is_sum(text) else text


def bare(text: str) -> str:
    """`text` without the brackets that hold all of it.

    >>> bare("[a − b]"), bare("[a] − [b]")
    ('a − b', '[a] − [b]')
    """
    whole = text[:1] in CLOSING and next(iter(top_level(text))) == len(text) - 1
    return text[1:-1] if whole else text


def negative(text: str) -> str:
    """−`text`; of a difference its reverse.

    >>> negative("a·b"), negative("−a"), negative("a − b"), negative("a + b − c")
    ('−a·b', 'a', 'b − a', '−(a + b − c)')
    """
    signs = [i for i in top_level(text) if text[i : i + 3] in (" − ", " + ")]
    if text.startswith("−"):
        return text[1:] if not signs else f"−({text})"
    if not signs:
        return f"−{text}"
    if len(signs) == 1 and text[signs[0] + 1] == "−":
        return f"{text[signs[0] + 3 :]} − {text[: signs[0]]}"
    return f"−({text})"


def total(terms: Iterable[str]) -> str:
    """The sum of terms; of `x; where` all that needs explaining stands at the end.

    >>> total(["a", "−b", "0.1·[−c]", "d; e = 1"])
    'a − b − 0.1·c + d; e = 1'
    >>> total(["[−a]"])
    '−a'
    """
    parts = [term.partition("; ") for term in terms]
    text = ""
    for term, _, _ in parts:
        lone = re.fullmatch(r"((?:[^\s()\[\]]+·)?)\[−(.*)\]", term)
        if lone and not is_sum(lone[2]):
            term = f"−{lone[1]}{lone[2]}"
        if not text:
            text = term
        else:
            text += f" − {term[1:]}" if term.startswith("−") else f" + {term}"
    explained = dict.fromkeys(where for _, _, where in parts if where)
    return "; ".join([text, *explained])


def tidy(text: str) -> str:
    """Without brackets directly inside brackets.

    >>> tidy("log σ([a − b])"), tidy("([a] − [b])")
    ('log σ(a − b)', '([a] − [b])')
    """
    for start in reversed(range(len(text) - 1)):
        if any(character not in CLOSING for character in text[start : start + 2]):
            continue
        rest = text[start + 1 :]
        end = next(iter(top_level(rest)))
        if rest[end + 1 : end + 2] == CLOSING[text[start]]:
            text = text[: start + 1] + rest[1:end] + rest[end + 1 :]
    return text
