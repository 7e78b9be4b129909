"""`luce data convert`: judged rows from one format to another."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from luce.data.formats import FORMATS, Format, detect, export
from luce.data.ledger import RowError
from luce.data.rows import Record, read
from luce.errors import DataError, did_you_mean
from luce.files import write_atomic
from luce.types import Place

SUFFIXES = (".jsonl", ".jsonl.gz", ".json")
SAMPLE = 100
"""Rows looked at to tell the format."""


def convert(
    source: str,
    out: Path,
    to: str,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    config: str | None = None,
    bad_rows: Literal["stop", "drop"] = "stop",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the rows of a source in another format, and say what was read, written and dropped.

    The output appears whole or not at all. A row that the target format cannot hold is a bad row.
    """
    if to not in FORMATS:
        raise DataError(f"--to: no {to!r}. {did_you_mean(to, FORMATS)}")
    if format != "auto" and format not in FORMATS:
        raise DataError(f"--format: no {format!r}. {did_you_mean(format, FORMATS)}")
    if not out.name.endswith(SUFFIXES):
        raise DataError(f"{out}: the output is JSON. End its name with {' or '.join(SUFFIXES)}.")
    if out.exists() and not overwrite:
        raise DataError(f"{out}: exists. Name another file, or add --overwrite.")
    bad: list[RowError] = []
    rows = read(source, split=split, config=config, columns=columns, on_bad=bad.append)
    sample = list(islice(rows, SAMPLE))
    if format == "auto":
        known, reason = detect([record for _, record in sample], source)
    else:
        known, reason = FORMATS[format], "named on the command line"
    records = list(_converted(chain(sample, rows), known, to, bad))
    if bad and bad_rows == "stop":
        shown = [str(error) for error in bad[:2]]
        more = f" ({len(bad) - 2} more.)" if len(bad) > 2 else ""
        raise DataError("\n".join(shown) + f"{more} Mend the rows, or add --bad-rows drop.")
    if not records:
        raise DataError(f"{source}: no row can be written as {to}. The first: {bad[0]}")
    _write(out, records)
    return {
        "source": source,
        "format": known.name,
        "reason": reason,
        "to": to,
        "output": str(out),
        "rows_written": len(records),
        "rows_dropped": len(bad),
        "dropped": dict(Counter(error.reason for error in bad)),
    }


def _converted(
    rows: Iterator[tuple[Place, Record]], known: Format, to: str, bad: list[RowError]
) -> Iterator[dict[str, Any]]:
    for place, record in rows:
        try:
            yield export(known.convert(place, record), to)
        except RowError as error:
            bad.append(error)
        except DataError as error:  # the row is sound, but the target has no place for it
            message = str(error).removeprefix(f"{place}: ")
            bad.append(RowError(place, "", "format", message))


def _write(out: Path, records: list[dict[str, Any]]) -> None:
    if out.name.endswith(".json"):
        text = json.dumps(records, ensure_ascii=False, indent=2) + "\n"
    else:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    data = text.encode("utf-8", "surrogatepass")
    write_atomic(out, gzip.compress(data, mtime=0) if out.name.endswith(".gz") else data)
