"""What those who judge say of comparisons: one of them, or a jury with everybody's own verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from luce.annotate import opinions
from luce.annotate.judge import ORDERS, Call, Judge, Order, Plan, jury
from luce.recipe.judge_account import Account, account
from luce.recipe.judge_members import Member, within
from luce.types import Annotator, Comparison

Seat: TypeAlias = tuple[int, Order | None]
"""Which comparison, and in which order it was shown; None where both were taken together."""


@dataclass(frozen=True)
class Said:
    """A verdict: P(a ≻ b), or None with the reason; of a prompted model also its label in the order
    shown and its call, None where it was not asked about equal texts."""

    probability: float | None
    reason: str = ""
    label: str = ""
    call: Call | None = None

    @property
    def text(self) -> str:
        """What a prompted model wrote."""
        return "" if self.call is None else self.call.reply.text

    def plain(self) -> dict[str, Any]:
        """For a row."""
        found: dict[str, Any] = {"preference": self.probability}
        return found | ({"reason": self.reason} if self.probability is None else {})


@dataclass(frozen=True)
class Ruling:
    """What was said of one comparison in one order.

    Attributes:
        comparison: its number.
        order: in which it was shown; None where both responses were taken together.
        said: by the only one, or by the jury: the mean of the members that have a verdict.
        members: name → verdict, of a jury; empty where one alone judges.
    """

    comparison: int
    order: Order | None
    said: Said
    members: Mapping[str, Said] = field(default_factory=dict)


@dataclass(frozen=True)
class Rulings:
    """What a run came to: of all comparisons that everybody has answered, in their order; and the
    account."""

    found: tuple[Ruling, ...]
    account: Account

    @property
    def any_valid(self) -> bool:
        """Whether there is a verdict that can be scored."""
        return any(ruling.said.probability is not None for ruling in self.found)


def rule(
    members: Sequence[Member], comparisons: Sequence[Comparison], *, both: bool = False
) -> Rulings:
    """What the members say of the comparisons: prompted models in both orders, and everybody else
    with them; where nobody is prompted, both responses are taken together unless `both`.

    One member's word is the ruling; of several `luce.jury` makes it, order by order, from those
    that have a verdict. A comparison that some member has not answered yet has no ruling.

    Raises:
        LuceError: see `Judge.run`; or a function gives no probability.
    """
    prompted = any(isinstance(member.annotator, Judge) for member in members)
    orders: tuple[Order | None, ...] = ORDERS if prompted or both else (None,)
    told: dict[str, dict[Seat, Said]] = {}
    total = Account()
    for member in members:
        if not isinstance(member.annotator, Judge):
            told[member.name] = _asked(member.annotator, comparisons, orders)
            continue
        ids = [str(number) for number in range(len(comparisons))]
        run = within(member.annotator, total.spent).run(comparisons, ids=ids)
        told[member.name] = {
            (int(v.comparison), v.order): Said(v.probability, v.reason, v.label, v.call)
            for v in run.verdicts
        }
        total += account(member.name, run)
    return Rulings(tuple(_together(told, comparisons, orders)), total)


def plan(members: Sequence[Member], comparisons: Sequence[Comparison]) -> Plan:
    """What `rule` would ask of the prompted models, and its price; nothing is asked."""
    judges = [m.annotator for m in members if isinstance(m.annotator, Judge)]
    return sum((judge.plan(comparisons) for judge in judges), Plan(0, 0, 0, 0, 0, 0, 0.0, 0.0))


def _asked(
    annotator: Annotator, comparisons: Sequence[Comparison], orders: Sequence[Order | None]
) -> dict[Seat, Said]:
    found: dict[Seat, Said] = {}
    for order in orders:
        shown = [c.swap() if order == "ba" else c for c in comparisons]
        for number, p in enumerate(opinions(annotator, shown)):
            found[number, order] = Said(1 - p if order == "ba" else p)
    return found


def _together(
    told: Mapping[str, Mapping[Seat, Said]],
    comparisons: Sequence[Comparison],
    orders: Sequence[Order | None],
) -> list[Ruling]:
    seats: list[Seat] = [(n, order) for n in range(len(comparisons)) for order in orders]
    seats = [seat for seat in seats if all(seat in verdicts for verdicts in told.values())]
    if len(told) == 1:
        (verdicts,) = told.values()
        return [Ruling(number, order, verdicts[number, order]) for number, order in seats]

    def word(verdicts: Mapping[Seat, Said]) -> Annotator:
        values = [verdicts[seat].probability for seat in seats]
        return lambda comparisons: [math.nan if p is None else p for p in values]

    everybody = [word(verdicts) for verdicts in told.values()]
    means = jury(everybody, invalid="nan")([comparisons[number] for number, _ in seats])
    found = []
    for seat, p in zip(seats, means, strict=True):
        members = {name: verdicts[seat] for name, verdicts in told.items()}
        why = ", ".join(dict.fromkeys(said.reason for said in members.values() if said.reason))
        said = Said(None, why) if math.isnan(p) else Said(p)
        found.append(Ruling(seat[0], seat[1], said, members))
    return found
