"""The audit of a preference data set: what it will teach besides what it is meant to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.data.audit.displacement import Displacement, displacement
from luce.data.audit.findings import Finding
from luce.data.audit.leaks import Leaks, leaks, split_leaks
from luce.data.audit.lengths import Lengths, LengthShare, length_share, lengths
from luce.data.audit.noise import Noise, noise
from luce.data.audit.pairs import Pairs, pairs_of
from luce.data.audit.repeats import Fault, faults
from luce.data.audit.separability import Separability, separability
from luce.data.ledger import Entry, RowError, entry
from luce.errors import DataError
from luce.types import Row

PARTS = 20
"""Sources, and annotators, told one by one: those with the most pairs."""


@dataclass(frozen=True)
class Part:
    """The pairs of one source, or of one annotator.

    Attributes:
        kind: "source" or "annotator"; name: which.
        pairs, prompts: how many.
        length: who is preferred, the longer or the shorter response, in characters.
        faulty: pairs with any fault.
    """

    kind: str
    name: str
    pairs: int
    prompts: int
    length: LengthShare
    faulty: int

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = {k: getattr(self, k) for k in ("kind", "name", "pairs", "prompts", "faulty")}
        return counts | {"length": self.length.plain()}

    def line(self) -> str:
        """One line for a terminal."""
        return (
            f"{self.kind} {self.name}: {self.pairs:,} pairs, {self.faulty:,} with a fault; "
            f"{self.length.line()}"
        )


@dataclass(frozen=True)
class Audit:
    """All that the texts and labels of a file say by themselves.

    Attributes:
        pairs: what was looked at.
        rows, ties: rows that gave the pairs; pairs without a preferred response.
        unreadable: rows that could not be read.
        faults: rows that are broken or repeated.
        lengths, separability, noise, displacement: what else explains the labels.
        leaks: prompts shared with another file, with another split.
        parts: by source and by annotator, where the rows name more than one.
    """

    pairs: Pairs
    rows: int
    ties: int
    unreadable: tuple[RowError, ...]
    faults: tuple[Fault, ...]
    lengths: Lengths
    separability: Separability
    noise: Noise
    displacement: Displacement
    leaks: tuple[Leaks, ...]
    parts: tuple[Part, ...]

    def findings(self) -> list[Finding]:
        """Everything found, what breaks rows first."""
        found = []
        if self.unreadable:
            reasons = Counter(error.reason for error in self.unreadable)
            told = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
            found.append(
                Finding(
                    "unreadable",
                    f"{len(self.unreadable):,} of {self.rows + len(self.unreadable):,} rows cannot "
                    f"be used ({told}).",
                    "Mend them; luce train stops at them, or drops them under bad_rows: drop.",
                    len(self.unreadable),
                    tuple(str(error) for error in self.unreadable[:5]),
                )
            )
        found += [fault.finding(self.pairs) for fault in self.faults if fault.pairs]
        for leak in self.leaks:
            found += leak.findings(self.pairs)
        found += self.noise.findings()
        found += self.lengths.findings()
        found += self.separability.findings()
        return found + self.displacement.findings()

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rows": self.rows,
            "unreadable": len(self.unreadable),
            "pairs": len(self.pairs),
            "prompts": self.pairs.prompt_count,
            "ties": self.ties,
            "faults": [fault.plain() for fault in self.faults],
            "length": self.lengths.plain(),
            "separability": self.separability.plain(),
            "noise": self.noise.plain(),
            "displacement": self.displacement.plain(),
            "leaks": [leak.plain() for leak in self.leaks],
            "parts": [part.plain() for part in self.parts],
        }

    def sections(self) -> list[tuple[str, list[str]]]:
        """Title and lines of each part, for a terminal."""
        total = len(self.pairs)
        shown = [
            ("rows", [fault.line(total) for fault in self.faults]),
            ("length", self.lengths.lines()),
            ("one look at a response", self.separability.lines()),
            ("noise of the labels", self.noise.lines()),
            ("responses alike", self.displacement.lines()),
        ]
        if self.leaks:
            shown.append(("leaks", [line for leak in self.leaks for line in leak.lines()]))
        if self.parts:
            shown.append(("by source and annotator", [part.line() for part in self.parts]))
        return shown

    def leave(self) -> dict[int, Entry]:
        """Number of a row → why a clean file does without it: faults and leaks, of which the first
        is named. Of a ranking, every pair must be at fault."""
        marks: dict[int, tuple[str, str]] = {}
        for fault in self.faults:
            for i, why in fault.pairs.items():
                marks.setdefault(i, (fault.reason, why))
        for leak in self.leaks:
            for name, found in (("leak", leak.exact), ("contamination", leak.near)):
                for i in found:
                    marks.setdefault(i, (name, f"the prompt is in {leak.against}"))
        whole = Counter(pair.row for pair in self.pairs.items)
        marked = Counter(self.pairs.items[i].row for i in marks)
        entries: dict[int, Entry] = {}
        for i in sorted(marks):
            pair = self.pairs.items[i]
            if marked[pair.row] == whole[pair.row]:
                reason, why = marks[i]
                made = entry(pair.place, pair.id, "", "dropped", reason, f"{why}.")
                entries.setdefault(pair.row, made)
        return entries


def audit(
    rows: Sequence[Row],
    *,
    unreadable: Sequence[RowError] = (),
    against: Sequence[tuple[str, Sequence[str]]] = (),
    seed: int = 0,
) -> Audit:
    """Look at judged rows from every side that needs no model.

    Args:
        rows: pairs or rankings; of a ranking all pairs are looked at.
        unreadable: rows that were left out before.
        against: (name, prompts) of other files whose prompts should not be here.
        seed: of the intervals and of the drawing.

    Raises:
        DataError: no pair, or a row that is neither a pair nor a ranking.
    """
    pairs = pairs_of(rows)
    if not len(pairs):
        raise DataError("No row holds a pair with a label: there is nothing to look at.")
    found = faults(pairs, seed)
    within = split_leaks(pairs)
    shared = [leaks(pairs, prompts, name) for name, prompts in against]
    return Audit(
        pairs=pairs,
        rows=len(rows),
        ties=sum(pair.tie for pair in pairs.items),
        unreadable=tuple(unreadable),
        faults=found,
        lengths=lengths(pairs),
        separability=separability(pairs, seed),
        noise=noise(pairs, seed),
        displacement=displacement(pairs, seed),
        leaks=tuple([*shared, *([within] if within else [])]),
        parts=_parts(pairs, {i for fault in found for i in fault.pairs}),
    )


def _parts(pairs: Pairs, faulty: set[int]) -> tuple[Part, ...]:
    made = []
    for kind in ("source", "annotator"):
        members: dict[str, list[int]] = {}
        for i, pair in enumerate(pairs.items):
            name = pair.source if kind == "source" else pair.annotator
            members.setdefault("not named" if name is None else name, []).append(i)
        if len(members) < 2:
            continue
        for name, numbers in sorted(members.items(), key=lambda m: (-len(m[1]), m[0]))[:PARTS]:
            part = pairs.take(np.array(numbers))
            bad = len(faulty.intersection(numbers))
            made.append(
                Part(
                    kind, name, len(part), part.prompt_count, length_share(part, "characters"), bad
                )
            )
    return tuple(made)
