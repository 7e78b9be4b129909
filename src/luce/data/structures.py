"""Rows of one structure as rows of another, where an objective asks for it.

| from \\ to | pair | unpaired | list | demonstration |
|---|---|---|---|---|
| pair | – | preferred True, other False | scores (label, 1 − label) | the preferred response |
| list | best against worst, or all | best True, worst False | – | the best response |
| unpaired | no | – | no | the desirable ones |
| demonstration | no | no | no | – |
"""

from itertools import combinations
from typing import Any, Literal, TypeAlias

from luce.data.ledger import RowError
from luce.errors import DataError
from luce.types import Demonstration, Feedback, Preference, Ranking, Row, Structure, Text

PairPolicy: TypeAlias = Literal["best_vs_worst", "all"]

STRUCTURE_OF: dict[type[Row], Structure] = {
    Preference: "pair",
    Feedback: "unpaired",
    Ranking: "list",
    Demonstration: "demonstration",
}
CONVERTS: dict[Structure, tuple[Structure, ...]] = {
    "pair": ("pair", "list"),
    "unpaired": ("unpaired", "pair", "list"),
    "list": ("list", "pair"),
    "demonstration": ("demonstration", "pair", "list", "unpaired"),
}
"""What each structure can be made of."""


def check_convertible(have: Structure, want: Structure, format: str) -> None:
    """`DataError` where rows of one structure cannot be read as another."""
    if have not in CONVERTS[want]:
        raise DataError(
            f"The objective learns from {want} rows, but the data (format {format}) holds {have} "
            f"rows. It can be read from: {', '.join(CONVERTS[want])}."
        )


def as_structure(row: Row, want: Structure, pairs: PairPolicy = "best_vs_worst") -> list[Row]:
    """The rows of the wanted structure that this row amounts to.

    Raises:
        RowError: it amounts to none (a tie, an undesirable response to imitate).
    """
    have = STRUCTURE_OF[type(row)]
    if have == want:
        return [row]
    check_convertible(have, want, type(row).__name__)
    match want, row:
        case "pair", Ranking():
            return _pairs(row, pairs)
        case "unpaired", Preference() | Ranking():
            better, worse = _extremes(row)
            return [
                Feedback(**_shared(row, "#desirable"), completion=better, label=True),
                Feedback(**_shared(row, "#undesirable"), completion=worse, label=False),
            ]
        case "list", Preference():
            both = (row.chosen, row.rejected)
            return [Ranking(**_shared(row), responses=both, scores=(row.label, 1.0 - row.label))]
        case "demonstration", Feedback():
            if not row.label:
                raise _none(row, "undesirable", "an undesirable response is not imitated.")
            return [Demonstration(**_shared(row), completion=row.completion)]
        case "demonstration", Preference() | Ranking():
            return [Demonstration(**_shared(row), completion=_extremes(row, ties=True)[0])]
    raise DataError(f"{row.place}: a {have} row cannot be read as {want}.")


def _pairs(row: Ranking, policy: PairPolicy) -> list[Row]:
    order = sorted(range(len(row.scores)), key=lambda i: (-row.scores[i], i))
    chosen_pairs = [(order[0], order[-1])] if policy == "best_vs_worst" else (
        list(combinations(order, 2))
    )  # fmt: skip
    found: list[Row] = []
    for better, worse in chosen_pairs:
        gap = row.scores[better] - row.scores[worse]
        if gap > 0:
            suffix = f"#{better}>{worse}" if policy == "all" else ""
            found.append(
                Preference(
                    **_shared(row, suffix),
                    chosen=row.responses[better],
                    rejected=row.responses[worse],
                    margin=gap,
                    score_chosen=row.scores[better],
                    score_rejected=row.scores[worse],
                )
            )
    if not found:
        raise _none(row, "tie", "all responses have the same score: there is no better one.")
    return found


def _extremes(row: Row, ties: bool = False) -> tuple[Text, Text]:
    """The best and the worst response."""
    match row:
        case Preference():
            if row.label == 0.5 and not ties:
                raise _none(row, "tie", "the label is 0.5: neither response is better.")
            both = (row.chosen, row.rejected)
            return both if row.label >= 0.5 else (both[1], both[0])
        case Ranking():
            best = max(range(len(row.scores)), key=lambda i: (row.scores[i], -i))
            worst = min(range(len(row.scores)), key=lambda i: (row.scores[i], -i))
            if row.scores[best] == row.scores[worst] and not ties:
                raise _none(row, "tie", "all responses have the same score.")
            return row.responses[best], row.responses[worst]
    raise TypeError(f"{type(row).__name__} has no best and worst response.")


def _shared(row: Row, suffix: str = "") -> dict[str, Any]:
    return {
        "prompt": row.prompt,
        "place": row.place,
        "id": row.id + suffix,
        "weight": row.weight,
        "annotator": row.annotator,
        "source": row.source,
        "tools": row.tools,
        "chat_template_kwargs": row.chat_template_kwargs,
        "token_ids": row.token_ids,
        "extra": row.extra,
    }


def _none(row: Row, reason: str, detail: str) -> RowError:
    return RowError(row.place, "", reason, detail, row.id)
