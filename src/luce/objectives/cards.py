"""Cards: what luce knows of an objective, or of a part of one.

Nothing is written twice: formulas are those of the objective, words those of its docstring, numbers
come out of automatic differentiation of the functions that train.
"""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from luce.errors import LuceError, did_you_mean
from luce.objectives.anatomy import LossFacts, facts, parts, score_of
from luce.objectives.build import make_objective, resolve
from luce.objectives.combine import WeightedSum
from luce.objectives.curves import (
    Curve,
    Curves,
    Satisfied,
    Shape,
    curves,
    left_out,
    of_loss,
    satisfied,
    shape,
)
from luce.objectives.docstring import Docstring, read_docstring
from luce.objectives.labels import LABELS, LabelModel
from luce.objectives.latex import to_latex
from luce.objectives.loss_words import LOSS_WORDS
from luce.objectives.losses import LOSSES, MarginLoss
from luce.objectives.needs import NEEDS, NOTHING
from luce.objectives.objective import Objective
from luce.objectives.own import OURS, is_own
from luce.objectives.presets import OBJECTIVES
from luce.objectives.ranking import LIST_LOSSES, ListLoss
from luce.objectives.regularizers import REGULARIZERS, Regularizer
from luce.objectives.score import Score
from luce.objectives.scores import SCORES
from luce.objectives.writing import bare
from luce.types import CostFunction

TABLES: dict[str, Mapping[str, Any]] = {
    "objectives": OBJECTIVES,
    "losses": LOSSES,
    "scores": SCORES,
    "labels": LABELS,
    "regularizers": REGULARIZERS,
    "lists": LIST_LOSSES,
}
"""Everything that has a card, by kind."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of an objective.

    Attributes:
        name: of the keyword.
        default, value: what it is unless given, and what it is here.
        meaning: what it is and what raising it does.
        verified: whether the default is the paper's or the authors'.
        note: what is known of the default where it is not.
    """

    name: str
    default: Any
    value: Any
    meaning: str = ""
    verified: bool = True
    note: str = ""


@dataclass(frozen=True)
class Reach:
    """What the cost does near 0 and where it is satisfied, in units of the score without its scale.

    Attributes:
        of: "a pair", or which response.
        quantity, unit: what is measured, and in what.
        shape: f(0), f′(0), f″(0) of the cost in that quantity.
        lowest: where the parabola that touches f at 0 is lowest, |f′(0)|/f″(0); None where it is
            not defined.
        satisfied: where.
        rising: whether the quantity is to rise to there, or to fall to minus that.
    """

    of: str
    quantity: str
    unit: str
    shape: Shape
    lowest: float | None
    satisfied: Satisfied
    rising: bool


@dataclass(frozen=True)
class Card:
    """What there is to say of an objective, or of a part.

    Attributes:
        name, kind: the row of a table, and which table (a key of `TABLES`).
        summary, text: first paragraph of the docstring, and the others.
        formula, latex: the cost with the numbers that run.
        parts: part → what it is here.
        parameters: in the order of the signature.
        needs: what a batch must carry besides log π → where it comes from.
        structure, scope: what a row is; "batch" where a cost depends on other rows.
        loss: facts of the margin loss, where there is one.
        reach: where the cost is satisfied.
        left_out: parts of the cost that `reach` does not look at.
        pbde: whether the score is f·log π + g with f > 0; None where there is no score.
        recovers: whether theorem 2 of Dumoulin et al. (2023) holds: an annotator who compares
            responses by this very score is recovered.
        optimum: the closed form, where there is one.
        source: paper and equation.
        pitfalls: program → where it computes something else.
    """

    name: str
    kind: str
    summary: str
    text: tuple[str, ...]
    formula: str
    latex: str
    parts: dict[str, str] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    needs: dict[str, str] = field(default_factory=dict)
    structure: str = ""
    scope: str = ""
    loss: LossFacts | None = None
    reach: tuple[Reach, ...] = ()
    left_out: tuple[str, ...] = ()
    pbde: bool | None = None
    recovers: bool = False
    optimum: str = ""
    source: str = ""
    pitfalls: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The card as JSON has it."""
        return asdict(self)


def card(what: str | CostFunction, parameters: Mapping[str, Any] | None = None) -> Card:
    """The card of an objective, by name or itself, or of a part.

    A part is named as `losses/logistic`, or by its own name where no other kind has it. The name of
    an objective is that of the objective.

    >>> card("dpo", {"beta": 0.5}).formula
    '−log σ(0.5·[log π/π_ref(chosen) − log π/π_ref(rejected)])'
    >>> card("losses/logistic").loss.ratio
    2.0

    Raises:
        LuceError: there is nothing of that name, several things, or a parameter it has not.
    """
    if not isinstance(what, str):
        return _of_objective(what.name, what, Docstring(), {})
    kind, name = find(what)
    if kind == "objectives":
        objective = make_objective(name, parameters or {})
        signature = inspect.signature(resolve(name)).parameters
        defaults = {key: p.default for key, p in signature.items()}
        return _of_objective(name, objective, read_docstring(resolve(name)), defaults)
    if parameters:
        raise LuceError(f"{what}: only objectives take `--set`. Name an objective that has it.")
    return _of_part(kind, name)


def summary(kind: str, name: str) -> str:
    """The first paragraph of a card, without the rest of it.

    >>> summary("objectives", "dpo")
    'Direct preference optimization: −log σ(β h).'
    """
    return _loss_summary(name) if kind == "losses" else read_docstring(TABLES[kind][name]).summary


def find(what: str) -> tuple[str, str]:
    """(kind, name) of what is meant.

    >>> find("simpo"), find("savage"), find("labels/geometric")
    (('objectives', 'simpo'), ('losses', 'savage'), ('labels', 'geometric'))
    """
    if is_own(what):
        return "objectives", what
    kind, slash, name = what.partition("/")
    if slash:
        if kind not in TABLES:
            raise LuceError(f"{what}: no {kind!r}. {did_you_mean(kind, TABLES)}")
        if name not in TABLES[kind]:
            raise LuceError(f"{kind}: no {name!r}. {did_you_mean(name, TABLES[kind])}")
        return kind, name
    found = [kind for kind, table in TABLES.items() if what in table]
    if not found:
        known = [name for table in TABLES.values() for name in table]
        hint = did_you_mean(what, known)
        hint = hint if hint.startswith("Did") else "`luce list objectives` says which there are."
        raise LuceError(f"no {what!r}. {hint}")
    if found[0] != "objectives" and len(found) > 1:
        raise LuceError(
            f"{what!r} is {' and '.join(f'{kind}/{what}' for kind in found)}. Say which."
        )
    return found[0], what


def _of_objective(
    name: str, objective: CostFunction, doc: Docstring, defaults: Mapping[str, Any]
) -> Card:
    score, (reach, without) = score_of(objective), _reach(objective)
    return Card(
        name=name,
        kind="objectives",
        summary=doc.summary,
        text=doc.text,
        formula=objective.formula,
        latex=_latex(objective.formula),
        parts=parts(objective),
        parameters=_parameters(objective, doc, defaults),
        needs={need: NEEDS[need] for need in sorted(objective.needs)},
        structure=objective.structure,
        scope=objective.scope,
        loss=facts(objective.loss) if isinstance(objective, Objective) else None,
        reach=reach,
        left_out=without,
        pbde=None if score is None else _pbde(score),
        recovers=_recovers(objective),
        optimum=doc.optimum,
        source=source_of(objective),
        pitfalls=doc.pitfalls,
    )


def source_of(objective: CostFunction) -> str:
    """Paper and equation; "" of an objective of somebody else's class."""
    return objective.source if isinstance(objective, OURS) else ""


def _latex(formula: str) -> str:
    """ "" where somebody's own formula has signs of its own."""
    try:
        return to_latex(formula)
    except LuceError:
        return ""


def _parameters(
    objective: CostFunction, doc: Docstring, defaults: Mapping[str, Any]
) -> tuple[Parameter, ...]:
    values = objective.parameters
    names = defaults or values
    return tuple(
        Parameter(
            name=name,
            default=defaults.get(name),
            value=values.get(name, defaults.get(name)),
            meaning=doc.args.get(name, ""),
            verified=name not in doc.defaults,
            note=doc.defaults.get(name, ""),
        )
        for name in names
    )


def _recovers(objective: Any) -> bool:
    """Whether a pair costs φ(z) with the logistic link, Ω = f·log π + g, and nothing else."""
    if not isinstance(objective, Objective):
        return False
    affine = objective.score.affine is not None and objective.score.unit != "reward"
    plain = objective.labels.formula("φ(z)", "φ(−z)") == "φ(z)" and not objective.labels.factor
    alone = objective.target_margin == 0 and not left_out(objective)
    return affine and plain and alone and objective.loss.link == "σ(z)"


def _pbde(score: Score) -> bool | None:
    """Whether a score is f·log π + g; None of a reward, which is no function of a policy."""
    return None if score.unit == "reward" else score.affine is not None


def _reach(objective: Any) -> tuple[tuple[Reach, ...], tuple[str, ...]]:
    """Where the cost is satisfied, and what of it was left out of account."""
    try:
        shown = curves(objective)
    except LuceError:
        return (), ()
    found = tuple(_reach_of(c, shown) for c in shown.curves)
    return found, shown.left_out


def _reach_of(curve: Curve, shown: Curves) -> Reach:
    """The parabola of a curve that is to fall is taken in the direction in which it falls."""
    at0, towards = shape(curve.cost), 1 if curve.rising else -1
    ratio = Shape(at0.value, towards * at0.slope, at0.curvature).ratio
    return Reach(
        of=curve.label,
        quantity=shown.quantity,
        unit=shown.unit,
        shape=at0,
        lowest=None if ratio is None else towards * ratio,
        satisfied=satisfied(curve, shown.scale),
        rising=curve.rising,
    )


def _of_part(kind: str, name: str) -> Card:
    entry: Any = TABLES[kind][name]
    if isinstance(entry, MarginLoss):
        return _of_loss(name, entry)
    doc = read_docstring(entry)
    signature = inspect.signature(entry).parameters
    # a weight λ has no default
    given = {key: 1.0 if p.default is p.empty else p.default for key, p in signature.items()}
    formula, pbde, needs = _part(entry(**given))
    return Card(
        name=name,
        kind=kind,
        summary=doc.summary,
        text=doc.text,
        formula=formula,
        latex=to_latex(formula),
        parameters=tuple(
            Parameter(key, None if p.default is p.empty else p.default, given[key])
            for key, p in signature.items()
        ),
        needs={need: NEEDS[need] for need in sorted(needs)},
        pbde=pbde,
    )


def _part(made: Any) -> tuple[str, bool | None, frozenset[str]]:
    """Formula, whether it is f·log π + g, and needs of a part."""
    match made:
        case Score():
            return bare(made.formula), _pbde(made), made.needs
        case LabelModel():
            return made.formula(f"φ({made.factor}z)", f"φ(−{made.factor}z)"), None, NOTHING
        case Regularizer():
            return bare(made.formula), None, made.needs
        case ListLoss():
            return made.formula("Ω"), None, NOTHING
    raise LuceError(f"{made!r} is no part of an objective.")


def _of_loss(name: str, loss: MarginLoss) -> Card:
    formula, words = loss.formula("z"), LOSS_WORDS[name]
    shown = of_loss(loss)
    users = [n for n, make in OBJECTIVES.items() if _uses(make(), formula)]
    return Card(
        name=name,
        kind="losses",
        summary=_loss_summary(name),
        text=(),
        formula=formula,
        latex=to_latex(formula),
        loss=facts(loss),
        reach=(_reach_of(shown.curves[0], shown),),
        parts={"used by": ", ".join(users)} if users else {},
        source=words.source,
        pitfalls=words.pitfalls,
    )


def _loss_summary(name: str) -> str:
    return f"φ(z) = {LOSSES[name].formula('z')}: {LOSS_WORDS[name].about}."


def _uses(objective: CostFunction, formula: str) -> bool:
    if isinstance(objective, WeightedSum):
        return any(_uses(part, formula) for _, part in objective.parts)
    return isinstance(objective, Objective) and objective.loss.formula("z") == formula
