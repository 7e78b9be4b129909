"""Judged rows as plain numbers, for formulas written with `math` alone; and the batches of tensors
that say the same.

A formula takes the rows and a second, equal copy of them. What it reads from the copy has no
gradient: central differences move the first only.
"""

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from luce.types import Demonstrations, Lists, Pairs, Responses, Unpaired

E, LOG = math.exp, math.log
STEP = 1e-5


def sigma(z: float) -> float:
    return 1 / (1 + E(-z))


def nls(z: float) -> float:
    """−log σ(z)."""
    return LOG(1 + E(-z))


def relu(x: float) -> float:
    return max(0.0, x)


def uniform(key, index, seed):
    """SplitMix64 of (key, index, seed), in whole numbers."""
    mask = 2**64 - 1
    x = (key + index * 0x9E3779B97F4A7C15 + seed * 0xC2B2AE3D27D4EB4F) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    x ^= x >> 31
    return ((x >> 11) + 0.5) / 2**53


@dataclass
class Y:
    """A response: numbers per token, and a reward."""

    p: list[float]
    ref: list[float]
    reward: list[float]
    kl: list[float] = field(default_factory=list)
    sum_p2: list[float] = field(default_factory=list)
    history: list[float] = field(default_factory=list)
    policy_2: list[float] = field(default_factory=list)

    @property
    def n(self) -> int:
        return len(self.p)

    @property
    def l(self) -> float:  # noqa: E743
        return sum(self.p)

    @property
    def r(self) -> float:
        return sum(self.ref)

    @property
    def a(self) -> float:
        """log π/π_ref."""
        return self.l - self.r

    @property
    def m(self) -> float:
        return self.l / self.n


@dataclass
class Row:
    """A pair."""

    w: Y
    l: Y  # noqa: E741
    label: float = 1.0
    margin: float = 0.25
    score_w: float = 1.0
    score_l: float = 0.0
    from_reference: str = "w"
    key: int = 0

    @property
    def h(self) -> float:
        return self.w.a - self.l.a


def _y(p: Sequence[float], ref: Sequence[float], reward: float, tilt: float) -> Y:
    """A response whose other columns follow from a number of its own."""
    p, ref = list(p), list(ref)
    return Y(
        p,
        ref,
        [reward],
        kl=[0.1 * tilt + 0.05 * i for i in range(len(p))],
        sum_p2=[0.9 / (1 + tilt + i) for i in range(len(p))],
        history=[0.5 * (x + y) - 0.1 * tilt for x, y in zip(p, ref, strict=True)],
        policy_2=[0.7 * x - 0.2 * tilt for x in p],
    )


ROWS = [
    Row(
        _y([-1.0, -3.0], [-0.5, -1.5], 0.3, 1.0),
        _y([-1.5, -1.5, -1.5], [-1.0, -1.0, -1.0], 0.8, 0.5),
        score_w=2.0,
        score_l=0.5,
        key=11,
    ),
    Row(
        _y([-0.2, -0.4, -0.1], [-0.9, -1.1, -0.6], 1.1, 0.3),
        _y([-2.5], [-1.25], -0.4, 1.2),
        score_w=0.9,
        score_l=0.2,
        margin=math.nan,
        from_reference="l",
        key=12,
    ),
    Row(
        _y([-0.7], [-0.8], -0.2, 0.9),
        _y([-0.3, -0.6], [-2.0, -1.0], 0.1, 0.4),
        score_w=3.0,
        score_l=1.0,
        margin=0.5,
        key=13,
    ),
]
"""h = −0.5, 3.15 and −2; no two ranks of policy and reference margins agree."""


LEARNT = ("p", "reward", "kl", "policy_2")


def tensors(ys: Sequence[Y]) -> Responses:
    """The responses as luce takes them, with everything a gradient may flow to as a leaf."""

    def flat(name: str) -> torch.Tensor:
        return torch.tensor([x for y in ys for x in getattr(y, name)], dtype=torch.float64)

    learnt = {name: flat(name).requires_grad_() for name in ("kl", "policy_2")}
    return Responses(
        flat("p").requires_grad_(),
        torch.tensor([y.n for y in ys]),
        flat("ref"),
        {"sum_p2": flat("sum_p2"), "history": flat("history"), **learnt},
        flat("reward").requires_grad_(),
    )


def pairs(rows: Sequence[Row], running: dict[str, float] | None = None) -> Pairs:
    def each(read: Callable[[Row], float]) -> torch.Tensor:
        return torch.tensor([read(row) for row in rows], dtype=torch.float64)

    return Pairs(
        tensors([row.w for row in rows]),
        tensors([row.l for row in rows]),
        label=each(lambda row: row.label),
        margin=each(lambda row: row.margin),
        score_chosen=each(lambda row: row.score_w),
        score_rejected=each(lambda row: row.score_l),
        reference_sample=each(lambda row: float(row.from_reference == "w")),
        keys=torch.tensor([row.key for row in rows]),
        running=running or {},
    )


def batch_of(structure: str, rows: list[Any], running: dict[str, float]) -> tuple[Any, list[Any]]:
    """The batch of tensors, and (responses, their tensors) of every part of it.

    Rows are `Row`s of pairs; (Y, label) of unpaired responses; lists of (Y, grade); or Ys.
    """
    match structure:
        case "pair":
            batch = pairs(rows, running)
            w, l = [row.w for row in rows], [row.l for row in rows]  # noqa: E741
            return batch, [(w, batch.chosen), (l, batch.rejected)]
        case "unpaired":
            ys = [y for y, _ in rows]
            label = torch.tensor([p for _, p in rows], dtype=torch.float64)
            batch = Unpaired(tensors(ys), label, running=running)
            return batch, [(ys, batch.response)]
        case "list":
            ys = [y for row in rows for y, _ in row]
            grades = torch.tensor([g for row in rows for _, g in row], dtype=torch.float64)
            batch = Lists(tensors(ys), torch.tensor([len(row) for row in rows]), grades)
            return batch, [(ys, batch.responses)]
        case _:
            batch = Demonstrations(tensors(rows))
            return batch, [(rows, batch.response)]


def slopes(ys: Sequence[Y], cost: Callable[[], float]) -> dict[str, list[float]]:
    """Central differences of `cost` with respect to what is learnt of these responses."""

    def slope(values: list[float], i: int) -> float:
        at, found = values[i], []
        for values[i] in (at + STEP, at - STEP):
            found.append(cost())
        values[i] = at
        return (found[0] - found[1]) / (2 * STEP)

    return {
        name: [slope(getattr(y, name), i) for y in ys for i in range(len(getattr(y, name)))]
        for name in LEARNT
    }


def check(
    objective: Any,
    formula: Callable[..., list[float]],
    rows: list[Any] | None = None,
    running: dict[str, float] | None = None,
    **parameters: Any,
) -> None:
    """Costs are those of the formula (rows, the same rows without gradient, parameters), and
    gradients are its central differences."""
    rows = copy.deepcopy(ROWS if rows is None else rows)
    still = copy.deepcopy(rows)
    batch, sides = batch_of(objective.structure, rows, running or {})
    costs = objective(batch)
    expected = formula(rows, still, **parameters)
    assert costs.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for ys, y in sides:
        learnt = {"p": y.policy, "reward": y.reward}
        learnt |= {name: y.columns[name] for name in ("kl", "policy_2")}
        found = torch.autograd.grad(
            costs.sum(), [*learnt.values()], allow_unused=True, retain_graph=True
        )
        by_hand = slopes(ys, lambda: sum(formula(rows, still, **parameters)))
        for name, got in zip(learnt, found, strict=True):
            slope = [0.0] * len(by_hand[name]) if got is None else got.tolist()
            assert slope == pytest.approx(by_hand[name], rel=1e-6, abs=1e-8), name


def each(formula: Callable[..., float]) -> Callable[..., list[float]]:
    """A formula of one row, of every row."""

    def of_all(rows: list[Any], still: list[Any], **parameters: Any) -> list[float]:
        return [formula(y, s, **parameters) for y, s in zip(rows, still, strict=True)]

    return of_all


def makers(module: Any, *kinds: type) -> set[str]:
    """The public functions of a module that make one of these."""
    return {
        name
        for name, made in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(made)
        and made.__annotations__.get("return") in kinds
    }


LISTS_OF_TWO = [
    [(ROWS[0].w, 0.4), (ROWS[0].l, 0.9)],
    [(ROWS[1].w, 0.8), (ROWS[1].l, 0.2)],
]
"""(response, grade)."""
