"""Rows out of every kind of source, each with the file and line it stands on.

Files are jsonl, json (a list, or an object with a list under `data`), both also as `.gz`, parquet,
csv and tsv; folders are those that `datasets` saved, or hold such files; any other name is asked of
`datasets.load_dataset`. A line that cannot be read is a `RowError`; a file that cannot be read is a
`DataError`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from luce.data import tables
from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.data.opening import raw_lines, read_text
from luce.errors import DataError, did_you_mean
from luce.types import Place

Record: TypeAlias = dict[str, Any]
OnBad: TypeAlias = Callable[[RowError], None]

JSON_LINES = (".jsonl", ".ndjson", ".jsonlines")
SUFFIXES = (*JSON_LINES, ".json", ".parquet", ".csv", ".tsv", ".arrow")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_DATA_KEY = re.compile(r'"data"\s*:\s*(?=\[)')
_SPACE = re.compile(r"[\s]*")


def read(
    source: str,
    *,
    split: str | None = None,
    config: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_bad: OnBad | None = None,
) -> Iterator[tuple[Place, Record]]:
    """The rows of a source, in order, as plain dictionaries.

    Args:
        source: a file, a folder, or a name that `datasets.load_dataset` knows.
        split, config: of a folder with several splits, or of a named data set.
        columns: luce's name → the file's name, for columns that are called otherwise.
        on_bad: called with each line that cannot be read; without it, the first one is raised.

    Raises:
        DataError: the source is missing, empty or not readable at all.
    """
    report = on_bad or _raise
    rename = {theirs: ours for ours, theirs in (columns or {}).items()}
    seen = 0

    def count_bad(error: RowError) -> None:
        nonlocal seen
        seen += 1
        report(error)

    for place, record in _open(source, split, config, count_bad):
        seen += 1
        if rename:
            record = {rename.get(name, name): value for name, value in record.items()}
        yield place, record
    if not seen:
        raise DataError(f"{source}: 0 rows. Is this the right file?")


def files_of(source: str, split: str | None = None) -> list[Path]:
    """The files behind a source, in reading order; none for a name of the hub."""
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        return []
    if tables.is_saved_dataset(path):
        return sorted(p for p in path.rglob("*") if p.is_file())
    return _data_files(path, split)


def _raise(error: RowError) -> None:
    raise error


def _open(
    source: str, split: str | None, config: str | None, report: OnBad
) -> Iterator[tuple[Place, Record]]:
    path = Path(source)
    if path.is_file():
        if split is not None:
            raise DataError(f"{source}: a single file has no splits; leave data.split out.")
        yield from _read_file(path, report)
    elif path.is_dir() and tables.is_saved_dataset(path):
        yield from tables.read_saved(path, split)
    elif path.is_dir():
        for file in _data_files(path, split):
            yield from _read_file(file, report)
    elif _kind(path) in SUFFIXES or not _HUB_NAME.fullmatch(source):
        raise DataError(f"{source}: no such file. {_siblings(path)}".rstrip())
    else:
        yield from tables.read_hub(source, config, split, _siblings(path))


def _kind(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def _siblings(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {str(folder)!r} does not exist either."
    names = [p.name for p in folder.iterdir() if p.is_dir() or _kind(p) in SUFFIXES]
    return did_you_mean(path.name, names) if names else ""


def _data_files(folder: Path, split: str | None) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and _kind(p) in SUFFIXES)
    files = [p for p in files if not p.name.startswith(".")]
    if split is not None:
        # A file belongs to a split by its own name or by that of a folder above it.
        named = [p for p in files if split in re.split(r"[/._-]", str(p.relative_to(folder)))]
        if not named:
            names = ", ".join(str(p.relative_to(folder)) for p in files[:8])
            raise DataError(f"{folder}: no file of split {split!r}. The folder holds: {names}.")
        files = named
    if not files:
        raise DataError(f"{folder}: no data file here (looked for {', '.join(SUFFIXES)}, or .gz).")
    return files


def _read_file(path: Path, report: OnBad) -> Iterator[tuple[Place, Record]]:
    kind = _kind(path)
    match kind:
        case ".parquet" | ".arrow":
            yield from tables.read_table(path, kind)
        case ".csv" | ".tsv":
            yield from tables.read_csv(path, "\t" if kind == ".tsv" else ",", report)
        case ".json":
            yield from _read_json(path, report)
        case _ if kind in JSON_LINES:
            yield from _read_lines(path, report)
        case _:
            raise DataError(
                f"{path}: no reader for {kind or 'a file without suffix'!r}. "
                f"Known: {', '.join(SUFFIXES)}, and .gz of the text formats."
            )


def _read_lines(path: Path, report: OnBad) -> Iterator[tuple[Place, Record]]:
    for number, raw in enumerate(raw_lines(path), start=1):
        place = Place(str(path), number)
        if not raw.strip():
            continue
        try:
            yield place, _parse_line(raw, place)
        except RowError as error:
            report(error)


def _parse_line(raw: bytes, place: Place) -> Record:
    cut = "the last line is half-written: the file was cut here. Write it again."
    ends = raw.endswith(b"\n")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if not ends and error.reason == "unexpected end of data":
            raise RowError(place, "", "json", cut) from error
        raise RowError(
            place,
            "",
            "encoding",
            f"byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8. "
            "Save the file as UTF-8.",
        ) from error
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        unfinished = error.msg.startswith("Unterminated") or not text.rstrip().endswith("}")
        detail = f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}."
        raise RowError(place, "", "json", cut if unfinished and not ends else detail) from error
    except RecursionError as error:
        raise RowError(place, "", "json", "nested too deeply to be read.") from error
    return checked_record(record, place, b"\\u" in raw)


def checked_record(record: Any, place: Place, may_have_surrogates: bool) -> Record:
    """The record, if it is an object all of whose text can be written as UTF-8."""
    if not isinstance(record, dict):
        raise RowError(place, "", "json", f"an object is expected, found {kind_of(record)}.")
    if may_have_surrogates:
        for name, value in record.items():
            path = _lone_surrogate(value, str(name))
            if path:
                raise RowError(
                    place,
                    path,
                    "encoding",
                    "holds half of a surrogate pair, which is no character. Mend the text.",
                    str(record["id"]) if "id" in record and record["id"] is not None else None,
                )
    return record


def _lone_surrogate(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return path
        return None
    if isinstance(value, dict):
        parts = ((f"{path}.{name}", part) for name, part in value.items())
    elif isinstance(value, list):
        parts = ((f"{path}[{i}]", part) for i, part in enumerate(value))
    else:
        return None
    return next((found for name, part in parts if (found := _lone_surrogate(part, name))), None)


def _read_json(path: Path, report: OnBad) -> Iterator[tuple[Place, Record]]:
    text = read_text(path)
    start = _skip_space(text, 0)
    if start == len(text):
        return
    if text[start] == "[":
        yield from _json_list(path, text, start, report)
        return
    try:
        whole, end = json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}.") from error
    if text[end:].strip():
        # Several objects one after another: JSON lines under the wrong suffix.
        yield from _read_lines(path, report)
    elif isinstance(whole, dict) and isinstance(whole.get("data"), list):
        found = _DATA_KEY.search(text)
        yield from _json_list(path, text, found.end() if found else start, report)
    else:
        found = ", ".join(whole) if isinstance(whole, dict) else kind_of(whole)
        raise DataError(
            f"{path}: a list of rows is expected, or an object with one under `data`. "
            f"Found: {found[:200]}."
        )


def _json_list(path: Path, text: str, start: int, report: OnBad) -> Iterator[tuple[Place, Record]]:
    decoder = json.JSONDecoder()
    at, line, counted = _skip_space(text, start + 1), 1, 0
    while at < len(text) and text[at] != "]":
        line, counted = line + text.count("\n", counted, at), at
        place = Place(str(path), line)
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            report(
                RowError(
                    place,
                    "",
                    "json",
                    f"not JSON: {error.msg} (line {error.lineno}); "
                    "the rows from here on cannot be read.",
                )
            )
            return
        try:
            yield place, checked_record(value, place, "\\u" in text[at:end])
        except RowError as error:
            report(error)
        at = _skip_space(text, end)
        if at < len(text) and text[at] == ",":
            at = _skip_space(text, at + 1)
    if at >= len(text):
        report(
            RowError(
                Place(str(path), text.count("\n") + 1),
                "",
                "json",
                "the list does not end; the file was cut here.",
            )
        )


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
