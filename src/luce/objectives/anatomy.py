"""What an objective is made of, in words and formulas, and what its margin loss is like."""

from dataclasses import dataclass
from typing import Any

from luce.objectives.check import number
from luce.objectives.combine import WeightedSum
from luce.objectives.curves import Shape, shape
from luce.objectives.losses import LOSSES, MarginLoss
from luce.objectives.mixture import Mixture
from luce.objectives.objective import Objective
from luce.objectives.pointwise import Pointwise
from luce.objectives.ranking import ListObjective
from luce.objectives.score import Score
from luce.objectives.terms import TargetMargin
from luce.objectives.writing import bare, tidy, total


@dataclass(frozen=True)
class LossFacts:
    """What is known of a margin loss φ(z), before anything scales z.

    Attributes:
        name: in the table of losses, or "".
        shape: φ(0), φ′(0), φ″(0).
        tail: "I" where φ keeps pushing, "II" where it stops or pulls back.
        link: P(chosen ≻ rejected) of a margin written out, or "" where there is none.
        bayes_consistent: whether its minimizer has the sign of 2p − 1.
        convex: whether it is.
    """

    name: str
    formula: str
    shape: Shape
    ratio: float | None
    tail: str
    link: str
    bayes_consistent: bool
    convex: bool


def score_of(objective: Any) -> Score | None:
    """Ω of an objective, of a sum that of its first part; None where there is none."""
    match objective:
        case Objective() | Pointwise() | ListObjective() | Mixture():
            return objective.score
        case WeightedSum():
            return score_of(objective.parts[0][1])
    return None


def parts(objective: Any) -> dict[str, str]:
    """Part → what it is, in the order of the algebra; what is as usual is left out."""
    match objective:
        case Objective():
            return _parts_of_pairs(objective)
        case Pointwise():
            x = "Ω(y)" if objective.structure == "unpaired" else "Ω"
            baseline = objective.baseline.formula(f"{number(objective.score.scale)}")
            x = f"{x} − z₀" if baseline else x
            found = {
                "score Ω(y)": bare(objective.score.formula),
                "good response": objective.utility.good(x),
                "bad response": objective.utility.bad(x),
            }
            return found | ({"baseline z₀": baseline} if baseline else {})
        case ListObjective():
            found = {
                "score Ω(y)": bare(objective.score.formula),
                "list loss": objective.loss.formula("Ω"),
                "grades R": "by their order" if objective.loss.ordinal else "by their value",
            }
            if objective.regularizers:
                found["regularizer"] = total(objective.regularizers)
            return found
        case Mixture():
            weights = ", ".join(f"{number(w)}" for w in objective.weights)
            return {"score Ω_i(y)": objective.score.formula, "weights w": weights}
        case WeightedSum():
            return {
                f"part {i}": f"{number(weight)} × {part.name}: {part.formula}"
                for i, (weight, part) in enumerate(objective.parts, start=1)
            }
    return {}


def _parts_of_pairs(o: Objective) -> dict[str, str]:
    target = o.target_margin
    if isinstance(target, TargetMargin):
        gamma = bare(target.formula)
    else:
        gamma = number(target) if target else ""
    z = f"{o.labels.factor}z − γ" if gamma else f"{o.labels.factor}z"
    label = o.labels.formula(f"φ({z})", f"φ(−{z})")
    name = loss_name(o.loss)
    found = {
        "score Ω(y)": bare(o.score.formula),
        "margin loss φ": f"{name}: {o.loss.formula('z')}" if name else o.loss.formula("z"),
        "target margin γ": gamma,
        "label": "" if label in ("φ(z)", "φ(z − γ)") else label,
        "scale": "" if o.scale == 1 else f"{number(o.scale)}",
        "weight w": o.weights.formula if o.weights else "",
        "margin scale κ": bare(o.margin_scale.formula) if o.margin_scale else "",
        "regularizer": total(r.formula for r in o.regularizers) if o.regularizers else "",
        "view": o.view.formula if o.view else "",
        "aggregate": tidy(o.aggregate.formula("cost")) if o.aggregate else "",
    }
    return {part: text for part, text in found.items() if text}


def loss_name(loss: MarginLoss) -> str:
    """The name of a margin loss in the table, or ""."""
    formula = loss.formula("z")
    return next((name for name, other in LOSSES.items() if other.formula("z") == formula), "")


def facts(loss: MarginLoss) -> LossFacts:
    """What is known of φ."""
    at0 = shape(loss.phi)
    return LossFacts(
        name=loss_name(loss),
        formula=loss.formula("z"),
        shape=at0,
        ratio=at0.ratio,
        tail=loss.tail,
        link=loss.link or ("its own" if loss.probability else ""),
        bayes_consistent=loss.bayes_consistent,
        convex=loss.convex,
    )
