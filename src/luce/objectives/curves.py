"""The cost of an objective as a function of one number, and what that function does.

Of pairs the number is how far two responses are apart, in the units of the score without its
scale: h = log π/π_ref(chosen) − log π/π_ref(rejected), in nats, for DPO. Of responses that are
judged one by one it is where each stands. Labels are hard.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.combine import WeightedSum
from luce.objectives.losses import LOSSES, MarginLoss
from luce.objectives.mixture import Mixture
from luce.objectives.objective import Objective
from luce.objectives.pointwise import Pointwise
from luce.objectives.ranking import ListObjective, Matrix
from luce.objectives.score import Score
from luce.objectives.terms import TargetMargin
from luce.objectives.writing import bare, total

Points: TypeAlias = Float[Tensor, " points"]
Function: TypeAlias = Callable[[Points], Points]

How = Literal[
    "the slope is 0", "the slope is a tenth of that at 0", "never", "it does not fall at 0"
]

MUST_HAVE_BEEN_STEEP = 1e-9
"""A slope that reaches 0 after having been smaller than this share of that at 0 has underflowed."""


@dataclass(frozen=True)
class Curve:
    """The cost of a pair, or of a response.

    Attributes:
        label: of what.
        cost: x → cost, one number each.
        rising: whether the policy is to raise x, rather than to lower it.
        probability: x → P(chosen ≻ rejected), where the loss has a link.
    """

    label: str
    cost: Function
    rising: bool = True
    probability: Function | None = None


@dataclass(frozen=True)
class Curves:
    """What there is to draw of an objective.

    Attributes:
        quantity: x written out.
        unit: "nats", "nats per token", or "" where the score counts something else.
        scale: roughly what x is multiplied by before it meets a loss; x is interesting around
            1/scale.
        curves: one of a pair, or one each of a good and of a bad response.
        left_out: parts of the cost that are not functions of x.
    """

    quantity: str
    unit: str
    scale: float
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """Value and derivatives of a cost where x = 0.

    Attributes:
        value, slope, curvature: f(0), f′(0), f″(0).
    """

    value: float
    slope: float
    curvature: float

    @property
    def ratio(self) -> float | None:
        """|f′(0)|/f″(0): the x at which the parabola that touches f at 0 has its lowest point (Tang
        et al., 2024, arXiv:2402.05749, section 4.1). None where f does not fall, or is not curved.
        """
        falls = self.slope < 0 and self.curvature > 0
        return -self.slope / self.curvature if falls else None


@dataclass(frozen=True)
class Satisfied:
    """Where a cost is done with a pair.

    Attributes:
        at: the smallest x ≥ 0 at which the slope is 0; if it never is, the largest at which it is
            still a tenth of that at 0; None where it is neither.
        how: which of the two.
    """

    at: float | None
    how: How


def derivative(cost: Function, x: Points) -> Points:
    """d cost / d x at each point."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(cost(x).sum(), x)
    return slope


def shape(cost: Function) -> Shape:
    """f(0), f′(0) and f″(0) of a cost, by automatic differentiation in float64.

    >>> shape(LOSSES["logistic"].phi).ratio
    2.0
    """
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = cost(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    curvature = torch.zeros_like(x)
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.sum(), x, materialize_grads=True)
    return Shape(value.item() + 0.0, slope.item() + 0.0, curvature.item() + 0.0)  # no −0


def satisfied(curve: Curve, scale: float) -> Satisfied:
    """At which distance from 0, in the direction that the curve asks for, it is satisfied.

    >>> hinge = Curve("a pair", LOSSES["hinge"].phi)
    >>> found = satisfied(hinge, scale=1.0)
    >>> round(found.at, 9), found.how
    (1.0, 'the slope is 0')

    Args:
        scale: what the curve's number is multiplied by before it meets a loss, roughly: the search
            looks from a thousandth of 1/scale to a hundred thousand of it.
    """

    def cost(x: Points) -> Points:
        return curve.cost(x if curve.rising else -x)

    def slope(x: float) -> float:
        return derivative(cost, torch.tensor([x], dtype=torch.float64)).item()

    start = slope(0.0)
    if start == 0 and slope(-1e-6 / scale) < 0:
        return Satisfied(0.0, "the slope is 0")
    if start >= 0:
        return Satisfied(None, "it does not fall at 0")
    x = torch.cat([torch.zeros(1), torch.logspace(-3, 5, 4000)]).double() / scale
    slopes = derivative(cost, x)
    stopped = (slopes >= 0).nonzero().flatten().tolist()
    if stopped:
        edge = _bisect(lambda y: slope(y) >= 0, x[stopped[0] - 1].item(), x[stopped[0]].item())
        if -slope(edge * (1 - 1e-3)) > MUST_HAVE_BEEN_STEEP * -start:
            return Satisfied(edge, "the slope is 0")
    pulling = (slopes <= 0.1 * start).nonzero().flatten()
    last = int(pulling[-1])
    if last == len(x) - 1:
        return Satisfied(None, "never")
    edge = _bisect(lambda y: slope(y) > 0.1 * start, x[last].item(), x[last + 1].item())
    return Satisfied(edge, "the slope is a tenth of that at 0")


def _bisect(reached: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def curves(objective: Any) -> Curves:
    """The cost of an objective as curves.

    Raises:
        LuceError: its cost is no function of scores.
    """
    match objective:
        case Objective():
            return _of_pairs(objective)
        case Pointwise():
            return _of_responses(objective)
        case ListObjective():
            return _of_lists(objective)
        case Mixture():
            score = objective.score
            pair = Curve(
                "a pair on which all annotators agree",
                lambda x: LOSSES["logistic"].phi(score.scale * x),
                probability=lambda x: torch.sigmoid(score.scale * x),
            )
            return Curves(_apart(score), unit(score), score.scale, (pair,))
        case WeightedSum():
            return _of_sum(objective)
    raise LuceError(f"{objective.name}: its cost is no function of a margin, so none is drawn.")


def of_loss(loss: MarginLoss) -> Curves:
    """φ(z) itself."""
    return Curves("z", "", 1.0, (Curve("a pair", loss.phi, probability=loss.probability),))


def unit(score: Score) -> str:
    """What a score counts before its scale: "nats", "nats per token", or "" for anything else."""
    if score.affine is None:
        return ""
    return {"sum": "nats", "mean": "nats per token", "reward": ""}[score.unit]


def _apart(score: Score) -> str:
    return f"{score.term}(chosen) − {score.term}(rejected)"


def _of_pairs(o: Objective) -> Curves:
    target = o.target_margin
    gamma = 0.0 if isinstance(target, TargetMargin) else target

    def cost(x: Points) -> Points:
        z = o.score.scale * x
        return o.scale * o.labels.cost(o.loss.phi, z, gamma, lambda: gamma, None)

    return Curves(
        _apart(o.score),
        unit(o.score),
        o.score.scale,
        (Curve("a pair", cost, probability=_scaled(o.loss.probability, o.score.scale)),),
        left_out(o),
    )


def _scaled(link: Function | None, scale: float) -> Function | None:
    return None if link is None else lambda x: link(scale * x)


def left_out(o: Objective) -> tuple[str, ...]:
    """What of a pair's cost is no function of its own margin."""
    terms = [
        (o.target_margin if isinstance(o.target_margin, TargetMargin) else None, "target margin"),
        (o.weights, "weight"),
        (o.margin_scale, "margin scale"),
        (o.view, "view"),
    ]
    found = [_named(name, term.formula) for term, name in terms if term is not None]
    found += [f"regularizer {total([r.formula])}" for r in o.regularizers]
    return (*found, "aggregate") if o.aggregate else tuple(found)


def _named(name: str, formula: str) -> str:
    """Name and formula, unless the formula is but the name again; explanations stand elsewhere."""
    formula = bare(formula.partition("; ")[0])
    return name if formula in name else f"{name} {formula}"


def _of_responses(o: Pointwise) -> Curves:
    def curve(label: str, good: float) -> Curve:
        def cost(x: Points) -> Points:
            return o.utility.value(o.score.scale * x, torch.full_like(x, good))

        return Curve(label, cost, rising=good == 1)

    pair = o.structure == "pair"
    names = ("chosen", "rejected") if pair else ("desirable", "undesirable")
    shown = [curve(f"{name} response", p) for name, p in zip(names, (1.0, 0.0), strict=True)]
    baseline = o.baseline.formula("scale")
    left = ("baseline z₀",) if baseline else ()
    return Curves(f"{o.score.term}(y)", unit(o.score), o.score.scale, tuple(shown), left)


def _of_lists(o: ListObjective) -> Curves:
    def cost(x: Points) -> Points:
        z = o.score.scale * x / 2
        grade = torch.tensor([[1.0, 0.0]]).to(x).expand(len(x), 2)
        omega = torch.stack([z, -z], 1)
        return o.loss.value(Matrix(omega, grade, torch.ones_like(omega, dtype=torch.bool)))

    left = tuple(f"regularizer {total([text])}" for text in o.regularizers)
    label = "a list of two, graded 1 and 0"
    quantity = f"{o.score.term}(better) − {o.score.term}(worse)"
    return Curves(quantity, unit(o.score), o.score.scale, (Curve(label, cost),), left)


def _of_sum(o: WeightedSum) -> Curves:
    """The chosen response raised by x/2, the rejected one lowered by x/2."""
    known = [(w, p) for w, p in o.parts if isinstance(p, Objective | Pointwise)]
    if not known or o.structure != "pair":
        raise LuceError(f"{o.name}: its parts are no functions of one margin, so none is drawn.")
    score = known[0][1].score
    alike = [(w, p) for w, p in known if p.score.term == score.term]
    left = [p.name for _, p in o.parts if not any(p is other for _, other in alike)]
    left += [what for _, p in alike for what in curves(p).left_out]
    parts = [(w, _both(curves(p).curves)) for w, p in alike]

    def cost(x: Points) -> Points:
        total = torch.zeros_like(x)
        for weight, part in parts:
            total = total + weight * part(x)
        return total

    label = "a pair, raised and lowered by half"
    return Curves(
        _apart(score), unit(score), score.scale, (Curve(label, cost),), tuple(dict.fromkeys(left))
    )


def _both(found: Sequence[Curve]) -> Function:
    """The cost of a pair whose responses stand at ±x/2, or whose margin is x."""
    if len(found) == 1:
        return found[0].cost
    good, bad = found
    return lambda x: good.cost(x / 2) + bad.cost(-x / 2)
