"""Where two texts differ, word by word."""

import re
from difflib import SequenceMatcher
from typing import TypeAlias

Piece: TypeAlias = tuple[str, bool]
"""Some text, and whether the other text lacks it."""

MOST_WORDS = 3000
"""Of both texts together; longer ones are compared line by line."""


def differences(a: str, b: str) -> tuple[list[Piece], list[Piece]]:
    """The pieces of both texts, in order; put together again they are the texts.

    The common parts are those of `difflib.SequenceMatcher` (Ratcliff and Metzener, 1988).

    >>> differences("one two", "one 2")
    ([('one ', False), ('two', True)], [('one ', False), ('2', True)])
    """
    pattern = r"\S+\s*|\s+"
    ours, theirs = re.findall(pattern, a), re.findall(pattern, b)
    if len(ours) + len(theirs) > MOST_WORDS:
        ours, theirs = a.splitlines(keepends=True), b.splitlines(keepends=True)
    matcher = SequenceMatcher(None, [w.strip() for w in ours], [w.strip() for w in theirs])
    found: tuple[list[Piece], list[Piece]] = ([], [])
    for kind, i, j, k, m in matcher.get_opcodes():
        for pieces, words in ((found[0], ours[i:j]), (found[1], theirs[k:m])):
            if words:
                pieces.append(("".join(words), kind != "equal"))
    return found
