"""Files of outputs as alpaca_eval reads them: what models answered to instructions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from luce.errors import DataError
from luce.evaluate.reading import count, records, text


@dataclass(frozen=True)
class Output:
    """One answer.

    Attributes:
        model: who gave it (`generator`).
        index: number of the instruction.
        instruction: what was asked.
        text: the answer; it may be empty.
    """

    model: str
    index: int
    instruction: str
    text: str


def read_outputs(path: str | Path) -> list[Output]:
    """`instruction`, `output` and `generator` (the file's name where there is none) of every row.
    The index is the field `index`, else the row's number among those of its model, from 0.

    Raises:
        DataError: the file cannot be read, or a field is missing or wrong.
    """
    found: list[Output] = []
    rows: Counter[str] = Counter()
    for place, record in records(path):
        model = Path(path).name.split(".")[0]
        if "generator" in record:
            model = text(record, "generator", place, "It names the model that answered.")
        index = count(record, "index", place) if "index" in record else rows[model]
        rows[model] += 1
        asked = text(record, "instruction", place)
        found.append(Output(model, index, asked, text(record, "output", place)))
    return found


def beside(
    outputs: Sequence[Output], against: Sequence[Output], path: str | Path
) -> list[tuple[Output, Output]]:
    """(the baseline's, the model's) answer to every instruction that both have, in the baseline's
    order. An instruction that stands there k times meets the k-th of the other.

    Args:
        outputs: of one model.
        against: of the baseline; `path` is its file.

    Raises:
        DataError: the baseline's file has several models.
    """
    for one in against:
        if one.model != against[0].model:
            raise DataError(
                f"{path}: generator: {against[0].model!r} and {one.model!r}. Give the outputs of "
                "one baseline."
            )
    ours = {key: one for key, one in zip(_keys(outputs), outputs, strict=True)}
    return [
        (one, ours[key]) for key, one in zip(_keys(against), against, strict=True) if key in ours
    ]


def _keys(outputs: Sequence[Output]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    found = []
    for one in outputs:
        found.append((one.instruction, seen[one.instruction]))
        seen[one.instruction] += 1
    return found
