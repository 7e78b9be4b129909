"""Files of AlpacaEval 2: annotations, instruction difficulties, and rows of the gamed variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from luce.data.fields import number
from luce.data.ledger import RowError
from luce.errors import DataError
from luce.evaluate.length_control import Rows, gamed_rows
from luce.evaluate.reading import Placed, Record, count, optional_number, records, text, wanted
from luce.types import Place

_PREFERENCE = (
    "A preference is from 1 (the baseline wins) to 2 (the model wins), 0 or 1.5 for a draw, and "
    "null where the judge gave none."
)
_LENGTH = "Give the outputs (`output_1`, `output_2`), or their lengths (`len_1`, `len_2`)."


@dataclass(frozen=True)
class Annotation:
    """One verdict of AlpacaEval: output 1 is the baseline's, output 2 the model's.

    Attributes:
        model: who made output 2.
        index: which instruction, from 0.
        baseline_length, length: of outputs 1 and 2, characters.
        preference: P(output 2 wins) in [0, 1], ½ for a draw; None where there is no verdict.
        baseline: who made output 1, where that is known.
        verdicts: that were asked for, one in each order shown; missing: those among them that the
            judge did not give, so that the preference is of the others alone.
    """

    model: str
    index: int
    baseline_length: int
    length: int
    preference: float | int | None
    baseline: str | None = None
    verdicts: int = 1
    missing: int = 0

    def filled(self, outcome: float) -> float:
        """The preference, had the verdicts that are missing this outcome.

        >>> Annotation("m", 0, 9, 9, 1.0, verdicts=2, missing=1).filled(0.0)
        0.5
        """
        if self.preference is None:
            return outcome
        known = self.verdicts - self.missing
        return (self.preference * known + outcome * self.missing) / self.verdicts


def read_annotations(path: str | Path) -> list[Annotation]:
    """Annotations as alpaca_eval writes them (`annotations.json`, a list), or one a line.

    Fields: `preference`; `output_1` and `output_2`, or their lengths `len_1` and `len_2` in
    characters; `generator_2` (or `model`), `generator_1` where known; `index`, the number of the
    instruction; `preference_by_order`, order shown → preference or null, where a judge was asked in
    several. Without `index` it is the row's number among those of its model, as in alpaca_eval;
    then all instructions must be there in their order.

    Raises:
        DataError: the file cannot be read, a field is missing or wrong, or a model has two rows for
            one instruction. The message names file, row and field.
    """
    seen: dict[tuple[str, int], Place] = {}
    position: dict[str, int] = {}
    found = []
    for place, record in records(path):
        model = text(record, ("generator_2", "model"), place, "It names the model that is judged.")
        at = position.get(model, 0)
        position[model] = at + 1
        index = count(record, "index", place) if "index" in record else at
        if (model, index) in seen:
            raise RowError(
                place,
                "index",
                "repeated",
                f"{model} was judged on instruction {index} before, at {seen[model, index]}. Keep "
                "one of the two.",
            )
        seen[model, index] = place
        baseline = record.get("generator_1")
        found.append(
            Annotation(
                model,
                index,
                _length((place, record), "1"),
                _length((place, record), "2"),
                _preference((place, record)),
                baseline if isinstance(baseline, str) else None,
                *_orders(record),
            )
        )
    return found


def read_difficulty(path: str | Path) -> dict[int, float]:
    """instruction → γ, from a csv (or json, jsonl) with `index` and `instruction_difficulty`; the
    file of the gamed rows serves too. An unnamed first column is the index, as pandas writes it.

    Raises:
        DataError: the file cannot be read, a field is missing or no number, or an instruction has
            two different difficulties.
    """
    found: dict[int, float] = {}
    for place, record in records(path):
        index = count(record, ("index", ""), place, "It is the number of the instruction, from 0.")
        hard = number(
            wanted(record, "instruction_difficulty", place), "instruction_difficulty", place
        )
        if found.setdefault(index, hard) != hard:
            raise RowError(
                place,
                "instruction_difficulty",
                "repeated",
                f"instruction {index} has {found[index]!r} further up and {hard!r} here. Keep one.",
            )
    return found


def read_gamed(path: str | Path) -> Rows:
    """The rows of the gamed variants, from a csv (or json, jsonl) with `preference` in [0, 1],
    `std_delta_len`, the standardised length difference, and `instruction_difficulty`.

    Raises:
        DataError: the file cannot be read, or a field is missing or no number.
    """
    columns: list[tuple[float, float, float]] = []
    for place, record in records(path):
        gap = number(wanted(record, "std_delta_len", place), "std_delta_len", place)
        hard = number(
            wanted(record, "instruction_difficulty", place), "instruction_difficulty", place
        )
        said = number(wanted(record, "preference", place), "preference", place, 0.0, 1.0)
        columns.append((gap, hard, said))
    gaps, difficulties, labels = ([row[i] for row in columns] for i in range(3))
    return gamed_rows(gaps, difficulties, labels)


def difficulties_of(
    annotations: Sequence[Annotation], difficulty: Mapping[int, float]
) -> list[float]:
    """γ of each annotation's instruction.

    Raises:
        DataError: an instruction has no difficulty.
    """
    for row in annotations:
        if row.index not in difficulty:
            raise DataError(
                f"Instruction {row.index} ({row.model}) has no difficulty; the file gives "
                f"{len(difficulty)} of them. Give the difficulties of the same instructions, or "
                "use the length-controlled win rate that fits its own."
            )
    return [difficulty[row.index] for row in annotations]


def _preference(row: Placed) -> float | None:
    place, record = row
    value = optional_number(
        wanted(record, "preference", place, _PREFERENCE), "preference", place, _PREFERENCE
    )
    if value is None:
        return None
    if value == 0:
        return 0.5
    if not 1 <= value <= 2:
        raise RowError(place, "preference", "value", f"found {value:g}. {_PREFERENCE}")
    return value - 1


def _orders(record: Record) -> tuple[int, int]:
    """How many verdicts were asked for, and how many of them are missing."""
    said = record.get("preference_by_order")
    if not isinstance(said, dict) or not said:
        return 1, 0
    return len(said), sum(value is None for value in said.values())


def _length(row: Placed, side: str) -> int:
    place, record = row
    output, length = f"output_{side}", f"len_{side}"
    if isinstance(record.get(output), str):
        return len(record[output])
    if output in record and record[output] is not None:
        text(record, output, place, _LENGTH)
    return count(record, length if length in record else (length, output), place, _LENGTH)
