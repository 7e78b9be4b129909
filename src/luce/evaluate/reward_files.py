"""Files of RewardBench 1 and 2: scores or outcomes row by row, or column by column."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.data.opening import read_text
from luce.errors import DataError
from luce.evaluate.reading import Placed, Record, count, optional_number, records, text, wanted
from luce.types import Place

_CHOSEN = ("scores_chosen", "score_chosen", "chosen_score")
_REJECTED = ("scores_rejected", "score_rejected", "rejected_score")
_RESULTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Outcome:
    """Whether the chosen response of one pair was preferred.

    Attributes:
        subset: which part of the benchmark.
        id: the pair's own name there.
        correct: 1 or 0; ½ where a judge called a tie; the mean over both orders where the pair was
            judged in both; None where there is no outcome.
        tie: two equal scores; or a judge's ½, by a tie or by a verdict that turned with the order.
        verdicts: of a judge, that were asked for; missing: those among them that are invalid.
    """

    subset: str
    id: str
    correct: float | int | None
    tie: bool = False
    verdicts: int = 1
    missing: int = 0

    def filled(self, outcome: float) -> float:
        """`correct`, had the verdicts that are missing this outcome.

        >>> Outcome("hep-go", "1", 1.0, verdicts=2, missing=1).filled(0.0)
        0.5
        """
        if self.correct is None:
            return outcome
        known = self.verdicts - self.missing
        return (self.correct * known + outcome * self.missing) / self.verdicts


@dataclass(frozen=True)
class ScoredList:
    """The scores of one prompt's responses, the correct ones first (RewardBench 2).

    Attributes:
        subset, id: as in `Outcome`; in the subset Ties the id is `ref:7` or `tied:7`.
        scores: one a response; None where any of them is missing.
        correct: how many are correct responses, ≥ 1.
    """

    subset: str
    id: str
    scores: tuple[float | int, ...] | None
    correct: int


def outcome(
    subset: str, id: str, chosen: float | int | None, rejected: float | int | None
) -> Outcome:
    """Correct where the chosen response scores strictly higher, as published: equal scores are
    wrong, and counted as ties beside.

    >>> found = outcome("hep-go", "1", 0.5, 0.5)
    >>> found.correct, found.tie
    (0.0, True)
    """
    if chosen is None or rejected is None or math.isnan(chosen) or math.isnan(rejected):
        return Outcome(subset, id, None)
    return Outcome(subset, id, 1.0 if chosen > rejected else 0.0, chosen == rejected)


def read_outcomes(path: str | Path) -> list[Outcome]:
    """Outcomes of RewardBench 1 (or any pairs by subset) from `subset`, `id` and either
    `scores_chosen` and `scores_rejected`, or `results` (1, 0, or 0.5 for a judge's tie; a mean of
    two orders may be 0.25 or 0.75, with `verdicts` and `missing` for how many there are). One row
    each, or one object of columns as rewardbench writes it. A null is a missing outcome.

    Raises:
        DataError: the file cannot be read, or a field is missing or wrong.
    """
    found = []
    for place, record in _rows(path):
        subset = text(record, "subset", place, "It names the part of the benchmark.")
        id = str(record.get("id", place.line))
        if not any(name in record for name in _CHOSEN):
            said = wanted(record, ("results", _CHOSEN[0]), place)
            value = optional_number(said, "results", place)
            if value is not None and value not in _RESULTS:
                told = f"found {value:g}; give 1, 0, or 0.5 for a tie."
                raise RowError(place, "results", "value", told)
            found.append(Outcome(subset, id, value, value == 0.5, *_verdicts((place, record))))
            continue
        pair = []
        for names in (_CHOSEN, _REJECTED):
            value = _bare(wanted(record, names, place))
            pair.append(optional_number(value, names[0], place))
        found.append(outcome(subset, id, *pair))
    return found


def read_scored_lists(path: str | Path) -> list[ScoredList]:
    """Rows of RewardBench 2: `subset`, `id`, `scores` (the correct responses first) and
    `num_correct`, 1 where it is not said. One row each, or one object of columns.

    Raises:
        DataError: the file cannot be read, or a field is missing or wrong.
    """
    found = []
    for place, record in _rows(path):
        subset = text(record, "subset", place, "It names the part of the benchmark.")
        scores = wanted(record, "scores", place)
        if not isinstance(scores, list) or len(scores) < 2:
            told = f"a list of two scores or more is expected, found {kind_of(scores)}."
            raise RowError(place, "scores", "value", told)
        values = [optional_number(_bare(score), "scores", place) for score in scores]
        correct = count(record, "num_correct", place) if "num_correct" in record else 1
        if not 0 < correct < len(values):
            told = f"{correct} of {len(values)} are correct; at least one of each kind is needed."
            raise RowError(place, "num_correct", "value", told)
        known = [value for value in values if value is not None]
        whole = tuple(known) if len(known) == len(values) else None
        found.append(ScoredList(subset, str(record.get("id", place.line)), whole, correct))
    return found


def _verdicts(row: Placed) -> tuple[int, int]:
    """How many verdicts were asked for, and how many of them are missing."""
    place, record = row
    if "verdicts" not in record:
        return 1, 0
    verdicts, missing = (count(record, name, place) for name in ("verdicts", "missing"))
    if verdicts < 1 or missing > verdicts:
        raise RowError(place, "missing", "value", f"{missing} of {verdicts} verdicts are missing.")
    return verdicts, missing


def _bare(score: Any) -> Any:
    """A score that a pipeline wrapped in a list of one."""
    return score[0] if isinstance(score, list) and len(score) == 1 else score


def _rows(path: str | Path) -> Iterator[Placed]:
    """Rows, or the columns of one object turned into rows, numbered from 1."""
    file = Path(path)
    if not (file.is_file() and ".json" in file.suffixes):
        yield from records(path)
        return
    whole = _one_object(file)
    if whole is None:
        yield from records(path)
        return
    columns = {name: value for name, value in whole.items() if isinstance(value, list)}
    if "subset" not in columns:
        raise DataError(
            f"{path}: no column `subset`. Found: {', '.join(whole)[:200]}. Give the file of scores "
            "of single rows, not that of the subsets' accuracies."
        )
    n = len(columns["subset"])
    for name, value in columns.items():
        if len(value) != n:
            raise DataError(
                f"{path}: column {name} has {len(value)} entries and `subset` has {n}. Give "
                "columns of one length."
            )
    for row in range(n):
        record: Record = {name: value[row] for name, value in columns.items()}
        yield Place(str(path), row + 1), record


def _one_object(file: Path) -> dict[str, Any] | None:
    """The file's one object of columns; None where it holds rows."""
    content = read_text(file)
    if not content.lstrip().startswith("{"):
        return None
    try:
        whole = json.loads(content)
    except json.JSONDecodeError:
        return None  # several objects one after another; their reader names what is wrong
    return whole if isinstance(whole, dict) and not isinstance(whole.get("data"), list) else None
