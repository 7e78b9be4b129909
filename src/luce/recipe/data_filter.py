"""The rows of a file without its faults, in the same format, and a list of those that left."""

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.data.ledger import Entry
from luce.data.rows import Record
from luce.errors import DataError
from luce.files import write_atomic, write_jsonl
from luce.recipe.convert import SUFFIXES


@dataclass(frozen=True)
class Filtered:
    """What was written.

    Attributes:
        output, left: the cleaned file, and the list of the rows that left, one a line with why.
        kept: rows written.
        reasons: why rows left → how many.
    """

    output: str
    left: str
    kept: int
    reasons: dict[str, int]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "output": self.output,
            "left": self.left,
            "rows_kept": self.kept,
            "rows_left": sum(self.reasons.values()),
            "reasons": self.reasons,
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        gone = ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.items())
        return [
            f"{self.output}: {self.kept:,} rows; {sum(self.reasons.values()):,} left"
            + (f" ({gone}), listed in {self.left}." if gone else ".")
        ]


def check_output(out: Path, overwrite: bool) -> None:
    """`DataError` where the cleaned file could not be written."""
    if not out.name.endswith(SUFFIXES):
        raise DataError(f"{out}: the output is JSON. End its name with {' or '.join(SUFFIXES)}.")
    if out.exists() and not overwrite:
        raise DataError(f"{out}: exists. Name another file, or add --overwrite.")


def write_filtered(
    out: Path, records: Sequence[Record], leave: Mapping[int, Entry], lost: Sequence[Entry],
    columns: Mapping[str, str],
) -> Filtered:  # fmt: skip
    """Write the records that stay, word for word as they were read, and list the others.

    Args:
        records: of the file, in order.
        leave: number of a record → why it leaves.
        lost: lines that are no record at all.
        columns: luce's name → the file's name, which the output has again.
    """
    kept = [
        {columns.get(name, name): value for name, value in record.items()}
        for number, record in enumerate(records)
        if number not in leave
    ]
    try:
        if out.name.endswith(".json"):
            text = json.dumps(kept, ensure_ascii=False, indent=2) + "\n"
        else:
            text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
    except TypeError as error:
        raise DataError(
            f"{out}: a column holds what JSON cannot: {error}. Leave it out."
        ) from error
    data = text.encode("utf-8", "surrogatepass")
    write_atomic(out, gzip.compress(data, mtime=0) if out.name.endswith(".gz") else data)
    entries = sorted([*leave.values(), *lost], key=lambda e: (e["file"], e["line"]))
    beside = out.with_name(out.name.split(".json")[0] + ".left.jsonl")
    write_jsonl(beside, entries)
    reasons = Counter(entry["reason"] for entry in entries)
    return Filtered(str(out), str(beside), len(kept), dict(reasons.most_common()))
