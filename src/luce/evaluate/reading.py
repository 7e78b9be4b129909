"""Files of a benchmark, record by record; whatever is wrong is named by file, row and field."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from luce.data.fields import kind_of, number
from luce.data.ledger import RowError
from luce.data.rows import read
from luce.errors import DataError
from luce.types import Place

Record: TypeAlias = dict[str, Any]
Placed: TypeAlias = tuple[Place, Record]


def records(path: str | Path) -> list[Placed]:
    """The records of a file on disk (jsonl, json, csv, also as .gz, parquet), or of all files of a
    folder, each with its place.

    Raises:
        DataError: there is no such file or folder, it is empty, or a record cannot be read.
    """
    if not Path(path).exists():
        raise DataError(
            f"{path}: no such file or folder. Give a file on disk: the benchmark's own, or the "
            "verdicts that `luce judge` wrote."
        )
    return list(read(str(path)))


def wanted(record: Record, names: str | Sequence[str], place: Place, remedy: str = "") -> Any:
    """The value of the first of these fields that the record has, which may be null.

    Raises:
        RowError: it has none of them; says which it has.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name in record:
            return record[name]
    has = ", ".join(record) or "nothing"
    told = f"there is no such field (the row has: {has}). {remedy}".rstrip()
    raise RowError(place, " or ".join(names), "missing", told)


def text(record: Record, names: str | Sequence[str], place: Place, remedy: str = "") -> str:
    """A field that must hold text.

    Raises:
        RowError: the field is missing or holds something else.
    """
    value = wanted(record, names, place, remedy)
    if isinstance(value, str):
        return value
    said = f"text is expected, found {kind_of(value)}. {remedy}".rstrip()
    raise RowError(place, _first(record, names), "value", said)


def count(record: Record, names: str | Sequence[str], place: Place, remedy: str = "") -> int:
    """A field that must hold a whole number ≥ 0.

    Raises:
        RowError: the field is missing or holds something else.
    """
    field = _first(record, names)
    value = number(wanted(record, names, place, remedy), field, place, low=0.0)
    if value != int(value):
        raise RowError(place, field, "value", f"a whole number is expected, found {value:g}.")
    return int(value)


def optional_number(value: Any, field: str, place: Place, remedy: str = "") -> float | None:
    """A finite number, or None for null, nan and an empty cell.

    Raises:
        RowError: it is something else.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str) and value.strip().lower() in ("nan", "none", "null"):
        return None
    try:
        if isinstance(value, bool):
            raise RowError(place, field, "value", f"a number is expected, found {value}.")
        return number(value, field, place)
    except RowError as error:
        raise RowError(place, field, "value", f"{error.detail} {remedy}".rstrip()) from error


def _first(record: Record, names: str | Sequence[str]) -> str:
    names = [names] if isinstance(names, str) else list(names)
    return next((name for name in names if name in record), " or ".join(names))
