"""Tables of votes: items down, annotators (or draws, or rating dimensions) across."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from luce.errors import DataError, LuceError
from luce.files import canonical_json
from luce.types import Preference


@dataclass(frozen=True, eq=False)
class Ratings:
    """What each annotator said of each item, as numbers; nan where nothing was said.

    Attributes:
        values: items × columns. Which numbers stand for which answers is the maker's choice, but
            whatever reads votes as places on a scale (ordinal, interval, correlations) takes the
            numbers as they are: a tie between 1 and 2 is 1.5, not 0.
        names: who or what each column is: annotators, draws of one annotator, or dimensions.
        prompts: for each item, whose prompt it is; None: each its own. Intervals draw prompts.

    Raises:
        LuceError: the values are not two-dimensional or hold an infinity, or names or prompts do
            not fit them.

    >>> Ratings(np.array([[1, 2], [1, np.nan]]), ("anna", "ben")).given
    3
    """

    values: np.ndarray
    names: tuple[str, ...]
    prompts: tuple[Hashable, ...] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=float)
        object.__setattr__(self, "values", values)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise LuceError(
                f"A table of votes has shape {values.shape} and {len(self.names)} names. Give "
                "items × columns, and one name for each column."
            )
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise LuceError(f"Two columns are called {twice!r}. Give each annotator its own name.")
        if np.isinf(values).any():
            raise LuceError(
                "A vote is infinite. Votes are finite numbers, nan where there is none."
            )
        if self.prompts is not None and len(self.prompts) != len(values):
            raise LuceError(
                f"{len(self.prompts)} prompts for {len(values)} items. Give one for each item."
            )

    @property
    def items(self) -> int:
        """How many items there are, voted on or not."""
        return len(self.values)

    @property
    def given(self) -> int:
        """How many votes there are."""
        return int((~np.isnan(self.values)).sum())

    @cached_property
    def prompt_numbers(self) -> np.ndarray:
        """For each item the number of its prompt, counted from 0 in order of appearance."""
        return prompt_numbers(self.prompts, self.items)

    def column(self, name: str) -> np.ndarray:
        """The votes of one column, item by item.

        Raises:
            LuceError: no column has this name.
        """
        if name not in self.names:
            raise LuceError(f"No votes of {name!r}. There are: {', '.join(self.names)}.")
        return self.values[:, self.names.index(name)]


def prompt_numbers(prompts: Sequence[Hashable] | None, items: int) -> np.ndarray:
    """For each item the number of its prompt, from 0 in order of appearance; None: each its own.

    >>> prompt_numbers(["x", "y", "x"], 3)
    array([0, 1, 0])
    """
    if prompts is None:
        return np.arange(items)
    if len(prompts) != items:
        raise LuceError(f"{len(prompts)} prompts for {items} items. Give one for each item.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(p, len(numbers)) for p in prompts], dtype=int)


def ratings_of_items(
    items: Sequence[Mapping[str, Any]],
    prompts: Sequence[Hashable] | None = None,
    *,
    values: Mapping[Any, float] | None = None,
) -> Ratings:
    """The table of one mapping annotator → answer for each item.

    Args:
        items: an annotator who is not in a mapping, or whose answer is None or nan, did not vote.
        prompts: for each item, whose prompt it is; None: each its own.
        values: answer → number, for answers that are not numbers, or not the right ones. It must
            list every answer but None and nan.

    Raises:
        LuceError: an answer is no number, or is not among `values`.

    >>> ratings_of_items([{"anna": "A", "ben": "tie"}, {"ben": "B"}],
    ...                values={"A": 1.0, "tie": 1.5, "B": 2.0}).values
    array([[1. , 1.5],
           [nan, 2. ]])
    """
    names = tuple(dict.fromkeys(name for item in items for name in item))
    where = {name: number for number, name in enumerate(names)}
    votes = np.full((len(items), len(names)), np.nan)
    for number, item in enumerate(items):
        for name, answer in item.items():
            votes[number, where[name]] = _value(answer, values, f"item {number}, {name}")
    return Ratings(votes, names, None if prompts is None else tuple(prompts))


def ratings_of_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    item: str = "item",
    annotator: str = "annotator",
    vote: str = "vote",
    prompt: str | None = None,
    values: Mapping[Any, float] | None = None,
) -> Ratings:
    """The table of rows with one vote each; the arguments name the rows' columns.

    Args:
        prompt: the column that says whose prompt an item is; None: each item its own.
        values: as for `ratings_of_items`.

    Raises:
        LuceError: a row lacks a column, an annotator voted twice on an item, or the rows of an
            item disagree on its prompt.

    >>> rows = [{"item": 7, "annotator": "anna", "vote": 1},
    ...         {"item": 7, "annotator": "ben", "vote": 2}]
    >>> ratings_of_rows(rows).values
    array([[1., 2.]])
    """
    said: dict[Hashable, dict[str, Any]] = {}
    prompts: dict[Hashable, Hashable] = {}
    for number, row in enumerate(rows):
        for column in (item, annotator, vote, *([] if prompt is None else [prompt])):
            if column not in row:
                raise LuceError(f"Row {number} of the votes has no {column!r}.")
        key, name = row[item], str(row[annotator])
        if name in said.setdefault(key, {}):
            raise LuceError(
                f"Row {number} of the votes: {name} votes a second time on {key!r}. Keep one of "
                "the two; repeated draws of an annotator are columns of a table of their own."
            )
        said[key][name] = row[vote]
        asked = key if prompt is None else row[prompt]
        if prompts.setdefault(key, asked) != asked:
            raise LuceError(
                f"Row {number} of the votes: {key!r} belongs to another prompt than in an earlier "
                "row. An item has one prompt."
            )
    return ratings_of_items(list(said.values()), list(prompts.values()), values=values)


def ratings_of_preferences(rows: Iterable[Preference]) -> Ratings:
    """The table of judged pairs that name their annotators: an item is a prompt with two
    responses, in whichever order; the votes are 1 and 0 for the one and the other of the two, ½
    for a tie. Soft labels count as the side they lean to.

    A pair that one annotator judged several times counts once, as the mean of these votes leans.

    Raises:
        DataError: a row does not say who judged.
    """
    found: dict[str, dict[str, list[float]]] = {}
    prompts: dict[str, str] = {}
    for row in rows:
        if row.annotator is None:
            raise DataError(
                f"{row.place}: no annotator. Agreement is between annotators; leave out rows that "
                "do not say who judged."
            )
        prompt, chosen, rejected = map(canonical_json, (row.prompt, row.chosen, row.rejected))
        first, second = sorted((chosen, rejected))
        item = canonical_json([prompt, first, second])
        prompts[item] = prompt
        lean = _lean(row.label if chosen == first else 1 - row.label)
        found.setdefault(item, {}).setdefault(row.annotator, []).append(lean)
    items = [
        {name: _lean(sum(votes) / len(votes)) for name, votes in said.items()}
        for said in found.values()
    ]
    return ratings_of_items(items, list(prompts.values()))


def _lean(share: float | int) -> float:
    return 1.0 if share > 0.5 else 0.0 if share < 0.5 else 0.5


def _value(answer: Any, values: Mapping[Any, float] | None, place: str) -> float:
    if answer is None or (isinstance(answer, float) and np.isnan(answer)):
        return np.nan
    if values is not None:
        if answer not in values:
            known = ", ".join(repr(a) for a in values)
            raise LuceError(f"Votes, {place}: the answer {answer!r} is not one of {known}.")
        return float(values[answer])
    if isinstance(answer, bool | int | float | np.number):
        return float(answer)
    raise LuceError(
        f"Votes, {place}: the answer {answer!r} is not a number. Say with `values` which number "
        "stands for which answer."
    )
