"""Rows out of tables: parquet, arrow, csv, folders saved by `datasets`, and named data sets.

A table fills what a row lacks with nulls; they are taken out again, so that a row from parquet
equals the row of the jsonl file that the table was made of.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from luce.data.ledger import RowError
from luce.data.opening import read_text
from luce.errors import DataError, did_you_mean
from luce.types import Place

BATCH = 1024
_JSON_CELL = re.compile(r"\s*[\[{].*[\]}]\s*\Z", re.DOTALL)


def strip_nulls(value: Any) -> Any:
    """The value without the keys and columns that hold null.

    >>> strip_nulls({"a": None, "b": [{"c": None, "d": 1}]})
    {'b': [{'d': 1}]}
    """
    if isinstance(value, dict):
        return {k: strip_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [strip_nulls(v) for v in value]
    return value


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote the folder."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def read_table(path: Path, kind: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a parquet or arrow file; `Place.line` is the row's number, from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        if kind == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=BATCH):
                    for record in batch.to_pylist():
                        number += 1
                        yield Place(str(path), number), strip_nulls(record)
            return
        with pa.memory_map(str(path)) as stream:
            try:
                reader: Any = pa.ipc.open_stream(stream)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(stream)
                reader = (reader.get_batch(i) for i in range(reader.num_record_batches))
            for batch in reader:
                for record in batch.to_pylist():
                    number += 1
                    yield Place(str(path), number), strip_nulls(record)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as {kind[1:]}: {_first_line(error)}") from error


def read_csv(
    path: Path, delimiter: str, report: Callable[[RowError], None]
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a csv or tsv file with a header; a cell that holds a JSON list or object is
    parsed."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(reader, None)
        if header is None:
            return
        line = reader.line_num + 1
        for cells in reader:
            place, line = Place(str(path), line), reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header):
                report(
                    RowError(
                        place,
                        "",
                        "columns",
                        f"{len(cells)} cells, but the header names {len(header)} columns.",
                    )
                )
                continue
            yield place, {n: _cell(c) for n, c in zip(header, cells, strict=True)}
    except csv.Error as error:
        report(RowError(Place(str(path), line), "", "csv", f"not readable as csv: {error}."))


def _cell(cell: str) -> Any:
    if _JSON_CELL.match(cell):
        try:
            return json.loads(cell)
        except json.JSONDecodeError:
            return cell
    return cell


def read_saved(folder: Path, split: str | None) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a folder that `datasets.save_to_disk` wrote."""
    import datasets

    try:
        loaded: Any = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise DataError(f"{folder}: cannot be read: {_first_line(error)}") from error
    yield from _rows_of(pick_split(loaded, split, str(folder)), str(folder))


def read_hub(
    name: str, config: str | None, split: str | None, hint: str
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a data set that `datasets.load_dataset` finds by its name."""
    import datasets

    try:
        loaded: Any = datasets.load_dataset(name, config)
    except Exception as error:
        raise DataError(
            f"{name}: there is no such file, and no data set of that name could be loaded "
            f"({_first_line(error)}) {hint}".rstrip()
        ) from error
    yield from _rows_of(pick_split(loaded, split, name), name)


def pick_split(loaded: Any, split: str | None, name: str) -> Any:
    """The split asked for; the only one where none is; an error that lists them otherwise."""
    if not isinstance(loaded, dict):
        if split is not None and str(getattr(loaded, "split", None) or split) != split:
            raise DataError(f"{name}: this is split {loaded.split}, not {split!r}.")
        return loaded
    splits = list(loaded)
    if split is None and len(splits) == 1:
        return loaded[splits[0]]
    if split is None:
        raise DataError(f"{name}: set data.split to one of: {', '.join(splits)}.")
    if split not in loaded:
        raise DataError(f"{name}: no split {split!r}. {did_you_mean(split, splits)}")
    return loaded[split]


def _rows_of(table: Any, name: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    for number, record in enumerate(table, start=1):
        yield Place(name, number), strip_nulls(record)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else 'no message'}"
