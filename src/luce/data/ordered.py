"""Pairs as a pairwise model reads them: both responses in one text, in either order.

A network s(x; a, b) that reads two responses together is made a preference between them by its own
difference, z(a, b) = s(x; a, b) − s(x; b, a). So z(b, a) = −z(a, b) whatever the network does, and
no place is favoured; and z need not be a difference of rewards, so that it can go in circles (Tang
et al., 2024, arXiv:2402.05749, appendix C, eq. 9). As data it is a pair like any other: `chosen` is
the text with the preferred response first, `rejected` the same with it second.
"""

from dataclasses import replace

from luce.data.ledger import RowError
from luce.types import Preference, Row, Text

FIRST, SECOND = "First response:\n", "\n\nSecond response:\n"


def ordered_text(first: str, second: str) -> str:
    """Two responses as one.

    >>> ordered_text("yes", "no")
    'First response:\\nyes\\n\\nSecond response:\\nno'
    """
    return f"{FIRST}{first}{SECOND}{second}"


def ordered(row: Row) -> Preference:
    """The row with both orders in the place of its responses.

    Raises:
        RowError: it is no pair, or a response is more than one turn.
    """
    if not isinstance(row, Preference):
        raise RowError(row.place, "", "structure", "a pairwise model learns from pairs.", row.id)
    chosen, rejected = _plain(row, "chosen"), _plain(row, "rejected")
    return replace(
        row, chosen=ordered_text(chosen, rejected), rejected=ordered_text(rejected, chosen)
    )


def _plain(row: Preference, field: str) -> str:
    response: Text = getattr(row, field)
    if isinstance(response, str):
        text = response
    elif len(response) == 1 and isinstance(response[0].get("content"), str):
        text = str(response[0]["content"])
    else:
        raise RowError(
            row.place, field, "turns", "more than one turn of text, which a pairwise model cannot "
            "set beside another.", row.id,
        )  # fmt: skip
    if not text.strip():
        raise RowError(row.place, field, "empty", "the response is empty.", row.id)
    return text
