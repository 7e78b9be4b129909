"""`luce judge`: who is better, by whom you trust: a reward model, a pairwise model, a prompted
model, a function of yours, or a jury of them. Every verdict goes to a file that `luce eval
win-rate` reads."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from luce.annotate.judge import Judge, Plan
from luce.errors import LuceError, did_you_mean
from luce.files import fingerprint, write_jsonl
from luce.recipe.eval_verdicts import PairVerdict, read_verdicts
from luce.recipe.eval_win_rate import WinRates, win_rates
from luce.recipe.judge_account import Account
from luce.recipe.judge_members import Member
from luce.recipe.judge_members import own_annotator as own_annotator
from luce.recipe.judge_panel import Ruling, plan, rule
from luce.recipe.judge_sides import Side, compared
from luce.types import Comparison, Text


@dataclass(frozen=True)
class Judged:
    """What was judged.

    Attributes:
        file: of the verdicts.
        rates: win rates, against the second of two sides, or against the baseline; of three sides
            or more also the matrix. None where no verdict is valid.
        notes: what was left out.
        account: calls and price, what is invalid, and what is not judged yet.
    """

    file: Path
    rates: WinRates | None
    notes: tuple[str, ...]
    account: Account

    @property
    def complete(self) -> bool:
        """Whether every comparison has its verdicts."""
        return self.account.complete

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdicts": str(self.file),
            **self.account.plain(),
            "notes": list(self.notes),
            "result": None if self.rates is None else self.rates.plain(),
        }

    def lines(self) -> list[str]:
        """For people."""
        told = ["No verdict is valid."] if self.rates is None else self.rates.lines()
        return [*told, *self.notes, *self.account.lines(), f"verdicts: {self.file}"]


@dataclass(frozen=True)
class Duel:
    """A comparison of two sides' responses to a prompt; `id` names it in rows."""

    a: str
    b: str
    comparison: Comparison
    id: str


def judge_sides(
    sides: Sequence[Side],
    members: Sequence[Member],
    out: Path,
    *,
    baseline: str | None = None,
    seed: int = 0,
) -> Judged:
    """The verdicts on all pairs of sides, or on each against the baseline, and what they come to.

    What is stored is not asked again; what cannot be asked now is told, and asked by the next call.

    Args:
        members: one, or several as a jury.
        out: where the verdicts go, each with the `id` of its comparison, and with every member's
            own verdict where there is a jury.
        seed: of the intervals.

    Raises:
        LuceError: see `duels` and `rule`.
    """
    found, notes = duels(sides, baseline)
    rulings = rule(members, [duel.comparison for duel in found])
    write_jsonl(out, [_row(found[ruling.comparison], ruling) for ruling in rulings.found])
    rates = None
    if rulings.any_valid:
        verdicts, unit = read_verdicts([out])
        known, silent = _told(verdicts)
        notes += silent
        rates = win_rates(known, unit=unit, baseline=baseline, seed=seed)
    return Judged(out, rates, tuple(notes), rulings.account)


def plan_sides(
    sides: Sequence[Side], members: Sequence[Member], baseline: str | None = None
) -> Plan | None:
    """What `judge_sides` would ask, and its price; nothing is asked. None where nobody who judges
    is prompted, so that there is nothing to pay."""
    found, _ = duels(sides, baseline)
    if not any(isinstance(member.annotator, Judge) for member in members):
        return None
    return plan(members, [duel.comparison for duel in found])


def duels(sides: Sequence[Side], baseline: str | None = None) -> tuple[list[Duel], list[str]]:
    """The comparisons of all pairs of sides, or of each with the baseline; and sentences on what is
    left out.

    Raises:
        LuceError: there are fewer than two sides, two that differ have one name, the baseline is
            none of them, or two have no prompt in common.
    """
    names = [side.name for side in sides]
    if len(sides) < 2:
        raise LuceError("luce judge compares two sides or more. Name a second one.")
    same = len(sides) == 2 and sides[0].responses == sides[1].responses
    if len(set(names)) < len(names) and not same:
        (name, _), *_ = Counter(names).most_common(1)
        raise LuceError(f"Two sides are called {name!r}. Give all of them --names.")
    if baseline is not None and baseline not in names:
        raise LuceError(f"No side is the baseline {baseline!r}. {did_you_mean(baseline, names)}")
    pairs = list(combinations(sides, 2))
    if baseline is not None:
        base = sides[names.index(baseline)]
        pairs = [(side, base) for side in sides if side is not base]
    found, notes = [], []
    seen: Counter[str] = Counter()
    for a, b in pairs:
        comparisons, told = compared(a, b)
        notes += told
        for c in comparisons:
            key = fingerprint([a.name, b.name, _prompt(c.prompt), c.a, c.b])[:16]
            seen[key] += 1
            id = key if seen[key] == 1 else f"{key}-{seen[key]}"
            found.append(Duel(a.name, b.name, c, id))
    return found, list(dict.fromkeys(notes))


def _told(verdicts: Sequence[PairVerdict]) -> tuple[list[PairVerdict], list[str]]:
    """The verdicts on pairs of sides that have a valid one, and sentences on the others."""
    every = Counter((v.model_a, v.model_b) for v in verdicts)
    valid = {(v.model_a, v.model_b) for v in verdicts if v.preference is not None}
    silent = [
        f"{a} against {b}: none of {count:,} verdicts is valid; they are in no table."
        for (a, b), count in every.items()
        if (a, b) not in valid
    ]
    return [v for v in verdicts if (v.model_a, v.model_b) in valid], silent


def _row(duel: Duel, ruling: Ruling) -> dict[str, Any]:
    said, c = ruling.said, duel.comparison
    verdict = PairVerdict(
        _prompt(c.prompt), duel.a, duel.b, said.probability, said.reason, ruling.order
    )
    row = {"id": duel.id, **verdict.plain(), "response_a": c.a, "response_b": c.b}
    if ruling.members:
        row["members"] = {name: each.plain() for name, each in ruling.members.items()}
    return row


def _prompt(prompt: Text) -> str:
    if isinstance(prompt, str):
        return prompt
    told = "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in prompt)
    return told or hashlib.sha256(repr(prompt).encode()).hexdigest()
