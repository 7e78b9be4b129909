"""What a data set says of its judges: whether they agree, and whether a scalar can say it all."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luce.annotate import Agreement, agreement, ratings_of_preferences
from luce.annotate.ratings import Ratings
from luce.annotate.votes import Vote
from luce.data.audit import Finding
from luce.data.audit.estimates import numbered
from luce.data.audit.pairs import normal, prompt_text, response_text
from luce.diagnostics import Intransitivity, intransitivity
from luce.diagnostics.intransitivity import MOST_ITEMS
from luce.types import Preference, Row

MOST_ANNOTATORS = 12
"""Annotators compared with each other: those with the most judgements."""

RELIABLE = 0.667
"""Krippendorff's lowest α for even tentative conclusions (Content Analysis, 2004, ch. 11)."""

FEW_TEXTS = 100
"""Responses met under many prompts are items of their own if there are no more than these."""

RESAMPLES, SIMULATIONS = 500, 1000
"""Of the intervals, and of the null models, of intransitivity."""

_GENERATORS = ("model", "generator", "policy")


@dataclass(frozen=True)
class Transitivity:
    """What votes between items say of a scalar reward.

    Attributes:
        items: what the items are, in words.
        votes: how many votes there are between them.
        found: the verdict and its numbers.
    """

    items: str
    votes: int
    found: Intransitivity

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"items": self.items, "votes": self.votes} | self.found.plain()

    def lines(self) -> list[str]:
        """For a terminal."""
        return [f"{self.votes:,} votes between {self.items}.", *self.found.lines()]

    def findings(self) -> list[Finding]:
        """A finding where a scalar reward is refuted."""
        if self.found.verdict != "not adequate":
            return []
        return [
            Finding(
                "intransitive",
                self.found.sentence,
                "No reward model can fit these votes; a pairwise preference model can. Judges "
                "with different tastes are one cause: look at them one by one.",
            )
        ]


def agreement_of(rows: Sequence[Row]) -> tuple[Agreement | None, list[Finding]]:
    """Who agrees with whom, where pairs name two annotators or more who judged the same ones; and
    a finding where they agree too little. Of many annotators those with the most judgements."""
    judged = [row for row in rows if isinstance(row, Preference) and row.annotator is not None]
    counts = Counter(row.annotator for row in judged)
    if len(counts) < 2:
        return None, []
    kept = {name for name, _ in counts.most_common(MOST_ANNOTATORS)}
    ratings = ratings_of_preferences(row for row in judged if row.annotator in kept)
    if not _overlapping(ratings):
        return None, []
    found = agreement(ratings)
    alpha = found.alpha["nominal"]
    if not alpha.estimate.high < RELIABLE:
        return found, []
    return found, [
        Finding(
            "agreement",
            f"Annotators agree too little: Krippendorff's α {alpha.words()} is below {RELIABLE:g} "
            f"({found.shared:,} pairs judged by two or more of {len(found.names):,} annotators, "
            f"{found.prompts:,} prompts; two votes are equal in {found.observed.words()}).",
            "Treat labels as soft, model the annotators (their ids are here), or ask them more "
            "precisely.",
        )
    ]


def _overlapping(ratings: Ratings) -> bool:
    known = ratings.values == ratings.values  # nan is not itself
    return bool((known.sum(axis=1) > 1).any())


def transitivity_of(rows: Sequence[Row], seed: int = 0) -> Transitivity | None:
    """Whether a scalar reward is adequate for the votes of a file, where the same items meet more
    than once and in loops: named generators, the responses of a prompt, or responses that stand
    under many prompts. None where nothing does. Rankings are transitive as they stand."""
    judged = [row for row in rows if isinstance(row, Preference)]
    for votes, items in (_generators(judged), _within_prompts(judged), _anywhere(judged)):
        if votes and _loops([(vote.a, vote.b) for vote in votes]):
            found = intransitivity(votes, seed=seed, resamples=RESAMPLES, simulations=SIMULATIONS)
            return Transitivity(items, len(votes), found)
    return None


def _generators(rows: Sequence[Preference]) -> tuple[list[Vote], str]:
    votes: list[Vote] = []
    for row in rows:
        names = generators(row.extra)
        if names and names[0] != names[1]:
            votes.append(Vote(*names, p=float(row.label), prompt=_prompt(row)))
    different = {name for vote in votes for name in (vote.a, vote.b)}
    if len(different) > MOST_ITEMS or 2 * len(votes) < len(rows):
        return [], ""
    return votes, f"{len(different):,} generators that the rows name"


def generators(columns: Mapping[str, Any]) -> tuple[str, str] | None:
    """Who wrote the chosen and who the rejected response, by the columns `chosen_model` and
    `rejected_model` (also `_generator`, `_policy`), or `generator_1` and `generator_2`.

    >>> generators({"generator_1": "a", "generator_2": "b", "chosen_is": "output_2"})
    ('b', 'a')
    """
    for name in _GENERATORS:
        a, b = columns.get(f"chosen_{name}"), columns.get(f"rejected_{name}")
        if isinstance(a, str) and isinstance(b, str):
            return a, b
    a, b = columns.get("generator_1"), columns.get("generator_2")
    if isinstance(a, str) and isinstance(b, str) and "chosen_is" in columns:
        return (b, a) if columns["chosen_is"] == "output_2" else (a, b)
    return None


def _within_prompts(rows: Sequence[Preference]) -> tuple[list[Vote], str]:
    """Votes between the responses of one prompt, of prompts whose responses meet in loops; of many
    only the first, up to `MOST_ITEMS` responses."""
    texts = [_sides(row) for row in rows]
    members: dict[Hashable, list[int]] = {}
    for i, row in enumerate(rows):
        if texts[i][0] != texts[i][1]:
            members.setdefault(_prompt(row), []).append(i)
    looping = [m for m in members.values() if _loops([texts[i] for i in m])]
    votes: list[Vote] = []
    items = used = 0
    for numbers in looping:
        names = numbered([side for i in numbers for side in texts[i]]).tolist()
        items += max(names) + 1
        if items > MOST_ITEMS:
            break
        used += 1
        place = rows[numbers[0]].place.line
        met = Counter(frozenset(texts[i]) for i in numbers)
        # votes on the same pair of texts are independent given the texts, which is all that is
        # asked of here; single votes are told apart by their prompt
        repeated = len(numbers) >= 2 * len(met)
        for k, i in enumerate(numbers):
            a, b = (_name(place, names[2 * k + side], texts[i][side]) for side in (0, 1))
            asked = None if repeated else _prompt(rows[i])
            votes.append(Vote(a, b, float(rows[i].label), prompt=asked))
    part = "" if used == len(looping) else f" (the first of {len(looping):,} such prompts)"
    return votes, f"the responses of {used:,} prompts that meet in loops{part}"


def _anywhere(rows: Sequence[Preference]) -> tuple[list[Vote], str]:
    texts = [_sides(row) for row in rows]
    different = {side for both in texts for side in both}
    if len(different) > FEW_TEXTS or len(rows) < 3 * len(different):
        return [], ""
    votes = [
        Vote(a[:60], b[:60], float(row.label), prompt=_prompt(row))
        for row, (a, b) in zip(rows, texts, strict=True)
        if a[:60] != b[:60]
    ]
    return votes, f"{len(different):,} responses that stand under many prompts"


def _loops(edges: Sequence[tuple[str, str]]) -> bool:
    """Whether items meet in a loop of three or more."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for a, b in {(min(edge), max(edge)) for edge in edges}:
        x, y = top(a), top(b)
        if x == y:
            return True
        above[x] = y
    return False


def _name(line: int, number: int, text: str) -> str:
    return f"line {line}, response {number + 1} ({' '.join(text.split())[:30]})"


def _sides(row: Preference) -> tuple[str, str]:
    return response_text(row.chosen), response_text(row.rejected)


def _prompt(row: Preference) -> str:
    text = prompt_text(row.prompt)
    return normal(text) or text
