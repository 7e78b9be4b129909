"""β in comparable units.

At the reference every cost looks like its parabola, f(h) ≈ f(0) + f′(0) h + ½ f″(0) h², whose
lowest point is at h = |f′(0)|/f″(0): there the pull towards the preferred response and the pull
back to the reference balance. Two objectives regularize alike if that point is the same. IPO has it
at 1/2τ, the square at 1/β, the logistic loss at 2/β: DPO regularizes like IPO with β_IPO = 2τ half
its own β (Tang et al., 2024, arXiv:2402.05749, section 4.1 and appendix B.2).
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from luce.errors import LuceError
from luce.objectives.anatomy import score_of
from luce.objectives.build import make_objective, resolve
from luce.objectives.check import number
from luce.objectives.curves import curves, satisfied, shape, unit
from luce.objectives.objective import Objective
from luce.objectives.presets import OBJECTIVES
from luce.objectives.score import Score
from luce.objectives.scores import log_prob, log_ratio, mean_log_prob, mean_log_ratio
from luce.objectives.terms import TargetMargin

BETAS = ("beta", "tau", "gamma", "scale")
"""Names under which an objective may have its β; the first in its signature is it."""

PER_TOKEN = {log_prob().term: mean_log_prob().term, log_ratio().term: mean_log_ratio().term}
"""Scores of whole responses → the same per token."""

FAR = 10.0
"""A β that is further from the default than this factor is remarked on, if it is one of the other
family's."""

SMALLEST_PER_TOKEN, LARGEST_OF_SUMS = 1.0, 0.3
"""The smallest β that is usual per token, the largest that is usual on sums."""


@dataclass(frozen=True)
class Conversion:
    """A β of one objective in the units of another.

    Attributes:
        source, target: names of the objectives.
        source_key, target_key: what each calls its β.
        source_beta, target_beta: the two numbers.
        lowest: where both parabolas have their lowest point, in the target's `unit`.
        unit: "nats" or "nats per token".
        tokens: mean length of a response, where sums were compared with means.
    """

    source: str
    source_key: str
    source_beta: float
    target: str
    target_key: str
    target_beta: float
    lowest: float
    unit: str
    tokens: float | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def beta_key(name: str) -> str | None:
    """What an objective calls its β, or None.

    >>> beta_key("dpo"), beta_key("ipo"), beta_key("rso_hinge"), beta_key("orpo")
    ('beta', 'tau', 'gamma', None)
    """
    return next((key for key in inspect.signature(resolve(name)).parameters if key in BETAS), None)


def convert_beta(
    source: str,
    target: str,
    source_parameters: Mapping[str, Any] | None = None,
    target_parameters: Mapping[str, Any] | None = None,
    tokens: float | None = None,
) -> Conversion:
    """The β with which `target` regularizes as `source` does, near the reference.

    Args:
        source, target: names of objectives on pairs.
        source_parameters: those of the source, its β among them; else its defaults.
        target_parameters: those of the target, without its β.
        tokens: the mean length of responses, wanted where one objective sums over tokens and the
            other takes means.

    >>> convert_beta("dpo", "gpo_square", {"beta": 0.1}).target_beta
    0.05

    Raises:
        LuceError: the two cannot be compared; with the reason.
    """
    key, source_key = _key(target), _key(source)
    one = make_objective(source, source_parameters or {})
    settings = dict(target_parameters or {})
    if key in settings:
        raise LuceError(f"{target}: `{key}` is what is looked for. Leave it out.")
    other = make_objective(target, settings)
    score, wanted = _comparable(one), _lowest(one)
    factor = _tokens(score, _comparable(other), source, target, tokens)
    wanted = wanted / factor
    beta = float(other.parameters[key])
    for _ in range(100):  # exact at once where the margin is proportional to β
        found = _lowest(make_objective(target, settings | {key: beta}))
        if abs(found / wanted - 1) < 1e-13:
            break
        beta *= found / wanted
    else:
        raise LuceError(f"{target}: no `{key}` puts the lowest point at {wanted:.6g}.")
    return Conversion(
        source=source,
        source_key=source_key,
        source_beta=float(one.parameters[source_key]),
        target=target,
        target_key=key,
        target_beta=float(f"{beta:.12g}"),
        lowest=wanted,
        unit=unit(_comparable(other)),
        tokens=tokens if factor != 1 else None,
    )


def _key(name: str) -> str:
    key = beta_key(name)
    if key is None:
        *others, last = (f"`{key}`" for key in BETAS)
        raise LuceError(
            f"{name}: has no β to convert, which would be its {', '.join(others)} or {last}."
        )
    return key


def _comparable(objective: Any) -> Score:
    """Ω of an objective whose cost is a function of its own margin."""
    if not isinstance(objective, Objective):
        raise LuceError(
            f"{objective.name}: its cost is not one loss of one margin, so that its β has no "
            "counterpart. Objectives on pairs with a score and a margin loss can be compared."
        )
    if isinstance(objective.target_margin, TargetMargin):
        raise LuceError(
            f"{objective.name}: its target margin differs from pair to pair, and with it where its "
            "cost is lowest."
        )
    return objective.score


def _lowest(objective: Any) -> float:
    """Where the parabola at the reference has its lowest point, in units of the score without its
    scale."""
    found = shape(curves(objective).curves[0].cost)
    if found.ratio is None:
        why = "is not curved at 0" if found.curvature == 0 else "does not fall to a lowest point"
        raise LuceError(
            f"{objective.name}: its cost {why} (f′(0) = {found.slope:.4g}, f″(0) = "
            f"{found.curvature:.4g}), so the ratio |f′(0)|/f″(0) is not defined."
        )
    return found.ratio


def _tokens(one: Score, other: Score, source: str, target: str, tokens: float | None) -> float:
    """By what the source's nats are divided to be the target's."""
    if one.term == other.term:
        return 1.0
    to_mean = PER_TOKEN.get(one.term) == other.term
    if not to_mean and PER_TOKEN.get(other.term) != one.term:
        raise LuceError(
            f"{source} measures {one.term}, {target} measures {other.term}: a nat of one is not a "
            "nat of the other, so no β stands for the same."
        )
    if tokens is None:
        raise LuceError(
            f"{source} counts {unit(one)}, {target} {unit(other)}: how many tokens a response has "
            "decides. Give their mean length: --tokens N."
        )
    if not tokens > 0:
        raise LuceError(f"tokens: {tokens!r} is no length.")
    return tokens if to_mean else 1 / tokens


def scale_warning(objective: Any, mean_length: float | None = None) -> str | None:
    """A sentence where a β looks like one of the other family: of sums over a response (DPO's 0.1)
    given to an objective that takes means per token (LN-DPO's 5), or the reverse. Else None, as of
    an objective's own default.

    Args:
        objective: any.
        mean_length: tokens of a response, for the number that was perhaps meant.

    >>> scale_warning(make_objective("ln_dpo", {"beta": 5.0}))
    >>> scale_warning(make_objective("ln_dpo", {"beta": 0.1})).split(": ")[0]
    'objective.ln_dpo.beta'
    """
    name = objective.name
    score = score_of(objective)
    if name not in OBJECTIVES or score is None or (key := beta_key(name)) is None:
        return None
    beta, default = float(objective.parameters[key]), _default(name, key, score)
    if beta == inspect.signature(resolve(name)).parameters[key].default:
        return None
    if score.unit == "mean" and beta <= min(LARGEST_OF_SUMS, (default or math.inf) / FAR):
        usual, counts = "for sums over a response", "takes means over tokens"
        meant = beta * mean_length if mean_length else default
    elif score.unit == "sum" and beta >= max(SMALLEST_PER_TOKEN, FAR * (default or 0)):
        usual, counts = "for means over tokens", "sums over the tokens of a response"
        meant = beta / mean_length if mean_length else default
    else:
        return None
    reached = _reached(objective, score)
    known = "" if default is None else f" The default is {number(default)}."
    hint = "" if meant is None else f" Did you mean {meant:.3g}?"
    return (
        f"objective.{name}.{key}: {number(beta)} is usual {usual}, but {name} {counts}."
        f"{reached}{known}{hint}"
    )


def _reached(objective: Any, score: Score) -> str:
    """Where a pair is satisfied, if that can be said in nats."""
    if not unit(score) or score.scale == 1:
        return ""
    shown = curves(objective)
    at = satisfied(shown.curves[0], shown.scale).at
    whose = f"{shown.curves[0].label[:1].upper()}{shown.curves[0].label[1:]}"
    return "" if at is None else f" {whose} is satisfied at {at:.3g} {NATS[score.unit]}."


NATS = {"mean": "nats per token", "sum": "nats over the whole response"}


def _default(name: str, key: str, score: Score) -> float | None:
    """The preset's own β, if it counts what this one counts."""
    usual = make_objective(name, {})
    other = score_of(usual)
    same = other is not None and other.unit == score.unit
    return float(usual.parameters[key]) if same else None
