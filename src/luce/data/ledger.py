"""The ledger of a data set: which rows were dropped, changed or worth a note, and why."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from luce.errors import DataError
from luce.types import Place

Action: TypeAlias = Literal["dropped", "changed", "noted"]
Entry: TypeAlias = dict[str, Any]
"""`{"file", "line", "id", "field", "action", "reason", "detail"}`, one line of `rows.jsonl`."""


class RowError(DataError):
    """One row that cannot be used.

    Attributes:
        place: file and line.
        field: the column or path in it (`chosen[1].role`), "" where the whole row is meant.
        reason: a short code, the same for every row with this fault (`empty`, `role` …).
        detail: a sentence for people.
        id: the row's own id, where it was read before the fault was found.
    """

    def __init__(
        self, place: Place, field: str, reason: str, detail: str, id: str | None = None
    ) -> None:
        where = f"{place}: {field}: " if field else f"{place}: "
        super().__init__(where + detail)
        self.place, self.field, self.reason, self.detail, self.id = place, field, reason, detail, id

    def entry(self) -> Entry:
        """The ledger's line for this row, set aside."""
        return entry(self.place, self.id, self.field, "dropped", self.reason, self.detail)

    def at(self, place: Place, id: str | None) -> "RowError":
        """The same fault of a row that stands here."""
        return RowError(place, self.field, self.reason, self.detail, id)


def entry(
    place: Place, id: str | None, field: str, action: Action, reason: str, detail: str
) -> Entry:
    """A line of the ledger.

    >>> entry(Place("pairs.jsonl", 3), None, "chosen", "dropped", "empty", "is empty")["id"]
    'pairs.jsonl:3'
    """
    return {
        "file": place.file,
        "line": place.line,
        "id": id or str(place),
        "field": field,
        "action": action,
        "reason": reason,
        "detail": detail,
    }


def stop_on(bad: Sequence[RowError]) -> None:
    """One error that shows the first three bad rows and counts the others; nothing if none."""
    if not bad:
        return
    shown = [_with_id(error) for error in bad[:3]]
    if len(bad) > 3:
        shown.append(f"… and {len(bad) - 3} more")
    raise DataError("\n".join(shown) + "\nMend them, or set data.bad_rows: drop to leave them out.")


def _with_id(error: RowError) -> str:
    own = error.id is not None and error.id != str(error.place)
    return f"{error} (id {error.id})" if own else str(error)


def tally(entries: Iterable[Entry]) -> dict[str, int]:
    """Entries by `action/reason`, in alphabetical order."""
    counted = Counter(f"{e['action']}/{e['reason']}" for e in entries)
    return dict(sorted(counted.items()))
