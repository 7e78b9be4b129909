"""Formats of judged data, by name: how each is told apart, read into a row, and written again.

`FORMATS` is the table; the first format that matches the columns of a sample is the one detected.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias

from luce.data import (
    formats_demonstrations,
    formats_pairs,
    formats_pairs_peers,
    formats_rankings,
    formats_unpaired,
)
from luce.data.fields import PAIR_COLUMNS, kind_of, shared
from luce.data.ledger import RowError
from luce.data.turns import is_hh_text
from luce.errors import DataError, did_you_mean
from luce.types import Demonstration, Feedback, Place, Preference, Ranking, Row, Structure

Read: TypeAlias = Callable[[Mapping[str, Any], Place], dict[str, Any]]
Write: TypeAlias = Callable[[Any], dict[str, Any]]

ROWS: dict[Structure, type[Row]] = {
    "pair": Preference,
    "unpaired": Feedback,
    "list": Ranking,
    "demonstration": Demonstration,
}


@dataclass(frozen=True)
class Format:
    """A spelling of judged data.

    Attributes:
        name: what `data.format` calls it.
        structure: what its rows are.
        needs: column → the kinds of value that tell the format (`text|chat` …, see `kind`).
        without: columns that speak against it.
        reads: further columns it reads, where they are there.
        about: where it is met.
        read: record → the fields of the row that depend on the format.
        write: row → the record, `DataError` where the format cannot hold it.
    """

    name: str
    structure: Structure
    needs: Mapping[str, str]
    read: Read
    write: Write
    about: str
    without: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def convert(self, place: Place, record: Mapping[str, Any]) -> Row:
        """The row a record spells; `RowError` names the field that is wrong."""
        consumed = (*self.needs, *self.reads)
        fields = shared(record, place, consumed)
        return ROWS[self.structure](**{**fields, **self.read(record, place)})

    def matches(self, shape: "Shape") -> bool:
        """Whether the columns of a sample spell this format."""
        return all(
            shape.kinds.get(name) in kinds.split("|") for name, kinds in self.needs.items()
        ) and not any(name in shape.kinds for name in self.without)


@dataclass(frozen=True)
class Shape:
    """What the columns of a sample hold: the most common kind of each that at least half of the
    rows have."""

    kinds: Mapping[str, str]
    columns: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, sample: Sequence[Mapping[str, Any]]) -> "Shape":
        """The shape of these records."""
        counted: dict[str, Counter[str]] = {}
        for record in sample:
            for name, value in record.items():
                counted.setdefault(str(name), Counter())[kind(value)] += 1
        kinds = {}
        for name, votes in counted.items():
            real = Counter({k: n for k, n in votes.items() if k not in ("null", "empty")})
            if 2 * sum(votes.values()) >= len(sample) and real:
                kinds[name] = real.most_common(1)[0][0]
        return cls(kinds, tuple(counted))


def kind(value: Any) -> str:
    """The kind of a value: text, hh (a `\\n\\nHuman:` text), turn, response (turns that begin with
    the assistant's), chat (other turns), texts, numbers, objects, object, number, bool, null or
    empty.

    >>> kind([{"role": "user", "content": "hi"}]), kind("hi"), kind(["a", "b"])
    ('chat', 'text', 'texts')
    """
    if isinstance(value, str):
        return "hh" if is_hh_text(value) else "text"
    if isinstance(value, bool):
        return "bool"
    if value is None or isinstance(value, int | float):
        return "null" if value is None else "number"
    if isinstance(value, Mapping):
        return "turn" if "role" in value or "from" in value else "object"
    if not isinstance(value, list | tuple):
        return type(value).__name__
    if not value:
        return "empty"
    if all(isinstance(v, Mapping) for v in value):
        first = value[0].get("role", value[0].get("from"))
        if first is None:
            return "objects"
        return "response" if first in ("assistant", "gpt") else "chat"
    if all(isinstance(v, str) for v in value):
        return "texts"
    return "numbers" if all(isinstance(v, int | float) for v in value) else "list"


def detect(sample: Sequence[Mapping[str, Any]], source: str = "data") -> tuple[Format, str]:
    """The format of a sample of records, and the reason in words.

    Raises:
        DataError: no format matches; names the columns found and the nearest ones wanted.
    """
    shape = Shape.of(sample)
    for known in FORMATS.values():
        if known.matches(shape):
            seen = ", ".join(f"`{name}` ({shape.kinds[name]})" for name in known.needs)
            return known, f"{len(sample)} rows looked at have {seen}"
    raise DataError(_undetected(shape, source))


def _undetected(shape: Shape, source: str) -> str:
    found = ", ".join(f"`{n}` ({shape.kinds.get(n, 'rare')})" for n in shape.columns) or "none"
    nearest = max(FORMATS.values(), key=lambda f: (_overlap(f, shape), -len(f.needs)))
    message = f"{source}: no format has these columns: {found[:300]}. "
    if not _overlap(nearest, shape):
        return message + (
            "A preference row has `prompt`, `chosen` and `rejected`; map other names with "
            "data.columns, e.g. {prompt: question}."
        )
    for name, kinds in nearest.needs.items():
        if name not in shape.kinds:
            others = [c for c in shape.columns if c not in nearest.needs]
            close = get_close_matches(name, others, n=1, cutoff=0.6)
            hint = f" Map other names with data.columns, e.g. {{{name}: its_name}}."
            if close:
                hint = f" Did you mean {close[0]!r}? Set data.columns: {{{name}: {close[0]}}}."
            needed = ", ".join(f"`{n}`" for n in nearest.needs)
            return (
                f"{message}The nearest, {nearest.name}, needs {needed}; `{name}` is missing.{hint}"
            )
        if shape.kinds[name] not in kinds.split("|"):
            return (
                f"{message}In the nearest, {nearest.name}, `{name}` is {kinds.replace('|', ' or ')}"
                f", but here it is {shape.kinds[name]}."
            )
    banned = ", ".join(name for name in nearest.without if name in shape.kinds)
    return f"{message}{nearest.name} has no {banned}. Name the format in data.format."


def _overlap(known: Format, shape: Shape) -> int:
    """Needed columns that are there, and once more for each that holds what is needed."""
    there = [name for name in known.needs if name in shape.kinds]
    right = [name for name in there if shape.kinds[name] in known.needs[name].split("|")]
    return len(there) + len(right)


def named(name: str) -> Format:
    """The format of this name."""
    if name not in FORMATS:
        raise DataError(f"data.format: no {name!r}. {did_you_mean(name, FORMATS)}")
    return FORMATS[name]


def check_form(known: Format, shape: Shape, place: Place, record: Mapping[str, Any]) -> None:
    """Refuse a row that mixes text into a file of turns, or turns into a file of text."""
    for name in known.needs:
        value, usual = record.get(name), shape.kinds.get(name)
        is_text, is_turns = isinstance(value, str), isinstance(value, list | dict)
        if (is_text and usual in ("chat", "response", "turn")) or (
            is_turns and usual in ("text", "hh")
        ):
            raise RowError(
                place, name, "form",
                f"{kind_of(value)} here, but {usual} in most rows of this file (format "
                f"{known.name}). Split the file, or convert the row.",
            )  # fmt: skip


def export(row: Row, format: str) -> dict[str, Any]:
    """The record that spells a row in this format, with the columns luce keeps.

    Raises:
        DataError: the format holds another structure, or cannot hold this row.
    """
    known = named(format)
    if not isinstance(row, ROWS[known.structure]):
        wanted = ROWS[known.structure].__name__
        raise DataError(
            f"{row.place}: format {format} holds a {wanted}, not a {type(row).__name__}."
        )
    record = {**row.extra, **_common(row), **known.write(row)}
    return record if row.token_ids is None else record | {"token_ids": _ids(row, record)}


def _ids(row: Row, record: Mapping[str, Any]) -> dict[str, Any]:
    """The column of token ids under the names that the responses have in a record."""
    assert row.token_ids is not None
    known = row.token_ids.responses
    found: dict[str, Any] = {"prompt": list(row.token_ids.prompt)}
    for name, value in record.items():
        if isinstance(value, str) and value in known and name != "prompt":
            found[name] = list(known[value])
        elif isinstance(value, list) and value and all(v in known for v in map(str, value)):
            found[name] = [list(known[str(v)]) for v in value]
    if len(found) == 1:
        raise DataError(f"{row.place}: `token_ids` stand for texts, which this format has not.")
    return found


def _common(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if row.id != str(row.place):
        record["id"] = row.id
    if row.weight != 1.0:
        record["weight"] = row.weight
    for name in ("annotator", "source", "tools"):
        if (value := getattr(row, name)) is not None:
            record[name] = value
    if row.chat_template_kwargs:
        record["chat_template_kwargs"] = dict(row.chat_template_kwargs)
    if isinstance(row, Preference):
        if row.label != 1.0:
            record["label"] = row.label
        for name in PAIR_COLUMNS[1:]:
            if (value := getattr(row, name)) is not None:
                record[name] = value
    return record


def _table(*parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Format]:
    return {name: Format(name, **spec) for part in parts for name, spec in part.items()}


FORMATS: dict[str, Format] = _table(
    formats_pairs.FORMATS,
    formats_pairs_peers.FORMATS,
    formats_unpaired.FORMATS,
    formats_rankings.FORMATS,
    formats_demonstrations.FORMATS,
)
