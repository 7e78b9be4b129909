"""Rows that repeat or contradict earlier ones, found as the rows go by."""

import hashlib
from typing import Any

from luce.data.ledger import Entry, RowError, entry
from luce.files import canonical_json
from luce.types import Feedback, Place, Preference, Ranking, Row


class Repeats:
    """Remembers a hash of every row seen, and where it stood.

    Attributes:
        contradicted: place → id of all rows that contradict each other, first ones included.
    """

    def __init__(self) -> None:
        self.contradicted: dict[Place, str] = {}
        self._rows: dict[bytes, Place] = {}
        self._ids: dict[str, tuple[bytes, Place]] = {}
        self._verdicts: dict[bytes, tuple[bytes | None, Place, str]] = {}

    def see(self, row: Row) -> list[Entry]:
        """Notes on this row: an exact duplicate, or the opposite judgement of the same responses.

        Raises:
            RowError: its id belongs to an earlier row with other content.
        """
        contents = _contents(row)
        whole = _hash(contents)
        has_id = row.id != str(row.place)
        if has_id and row.id in self._ids and self._ids[row.id][0] != whole:
            place = self._ids[row.id][1]
            detail = f"{row.id!r} is also the id of {place}, with other content."
            raise RowError(row.place, "id", "duplicate_id", detail, row.id)
        if has_id:
            self._ids.setdefault(row.id, (whole, row.place))
        notes = []
        if whole in self._rows:
            notes.append(entry(row.place, row.id, "", "noted", "duplicate",
                               f"the same as {self._rows[whole]}."))  # fmt: skip
        self._rows.setdefault(whole, row.place)
        asked, preferred = _verdict(row)
        if asked is not None:
            earlier = self._verdicts.setdefault(asked, (preferred, row.place, row.id))
            if None not in (preferred, earlier[0]) and earlier[0] != preferred:
                notes.append(entry(row.place, row.id, "", "noted", "contradiction",
                                   f"judged the other way in {earlier[1]}; together they are a "
                                   "soft label."))  # fmt: skip
                self.contradicted |= {earlier[1]: earlier[2], row.place: row.id}
        return notes


def _contents(row: Row) -> Any:
    base = [row.prompt, row.tools, dict(row.chat_template_kwargs)]
    match row:
        case Preference():
            return [*base, row.chosen, row.rejected, row.label]
        case Feedback():
            return [*base, row.completion, row.label]
        case Ranking():
            return [*base, row.responses, row.scores]
    return [*base, getattr(row, "completion", None)]


def _verdict(row: Row) -> tuple[bytes | None, bytes | None]:
    """(what was judged by whom, what was found better); (None, None) where that cannot be said.
    Two annotators who differ do not contradict themselves."""
    match row:
        case Preference():
            sides = [_hash(row.chosen), _hash(row.rejected)]
            better = None if row.label == 0.5 else sides[0 if row.label > 0.5 else 1]
            asked = _hash([row.prompt, row.annotator]) + b"".join(sorted(sides))
            return asked, better
        case Feedback():
            return _hash([row.prompt, row.annotator, row.completion]), bytes([row.label])
    return None, None


def _hash(value: Any) -> bytes:
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).digest()[:16]
