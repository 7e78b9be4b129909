"""A card in words: labels and lines, for the terminal and for pages."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from luce.objectives.anatomy import LossFacts
from luce.objectives.cards import Card, Parameter, Reach
from luce.objectives.check import number
from luce.objectives.presets import OBJECTIVES

Lines: TypeAlias = list[tuple[str, str]]

TAILS = {
    "I": "class I: it keeps pushing, however large the margin",
    "II": "class II: it stops pushing, or pulls back",
}

FORM = {
    True: "f·log π + g with f > 0",
    False: "not f·log π + g, so theorem 2 of Dumoulin et al. (2023) does not apply",
}
RECOVERS = (
    "; an annotator who compares responses by this very score is recovered, π = p* (Dumoulin et "
    "al., 2023, theorem 2)"
)

STRUCTURES = {
    "pair": "pairs",
    "unpaired": "single responses, good or bad",
    "list": "lists of graded responses",
    "demonstration": "demonstrations",
}


def group(name: str) -> str:
    """Among which objectives a preset stands: by its rows, and by what it compares with.

    >>> group("dpo"), group("rrhf")
    ('pairs, with a reference', 'lists of graded responses, without a reference')
    """
    objective = OBJECTIVES[name]()
    rows = STRUCTURES[objective.structure]
    if "reward" in objective.needs:
        return f"{rows}, a reward model"
    if objective.structure == "demonstration":
        return rows
    if objective.scope == "batch":
        return f"{rows}, the whole batch at once"
    return f"{rows}, with{'' if 'reference' in objective.needs else 'out'} a reference"


def short(value: float) -> str:
    """A number to four significant digits.

    >>> short(-0.123456), short(29.444)
    ('−0.1235', '29.44')
    """
    return number(float(f"{value:.4g}"))


def value_text(value: Any) -> str:
    """A parameter's value as a recipe writes it.

    >>> value_text(None), value_text(True), value_text((0.8, 1.0)), value_text(1 / 3)
    ('unset', 'true', '[0.8, 1]', '0.333333')
    """
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case tuple() | list():
            return f"[{', '.join(value_text(item) for item in value)}]"
        case int() | float():
            return f"{value:.6g}"
    return str(value)


def parameter_lines(card: Card) -> Lines:
    """`name = value` → meaning, and what is known of the default."""
    return [(f"{p.name} = {value_text(p.value)}", _meaning(p)) for p in card.parameters]


def _meaning(p: Parameter) -> str:
    texts = [p.meaning]
    if p.value != p.default:
        texts.append(f"(The default is {value_text(p.default)}.)" if p.default is not None else "")
    if not p.verified:
        texts.append(f"Default: {p.note}")
    return " ".join(filter(None, texts))


def loss_lines(loss: LossFacts) -> Lines:
    """Value and derivatives at 0, tail, link, consistency, convexity."""
    at = loss.shape
    ratio = "not defined" if loss.ratio is None else short(loss.ratio)
    link = f"P(chosen ≻ rejected) = {loss.link}" if loss.link else "none: z says who, not how sure"
    return [
        ("at 0", f"φ = {short(at.value)}, φ′ = {short(at.slope)}, φ″ = {short(at.curvature)}"),
        ("|φ′|/φ″", ratio),
        ("tail", TAILS[loss.tail]),
        ("link", link),
        ("Bayes", "consistent" if loss.bayes_consistent else "not consistent"),
        ("convex", "yes" if loss.convex else "no"),
    ]


def reach_lines(card: Card) -> Lines:
    """Who → where it is satisfied."""
    lines = [(r.of, _reach(r)) for r in card.reach]
    return [*lines, ("without", "; ".join(card.left_out))] if card.left_out else lines


def _reach(r: Reach) -> str:
    at = r.satisfied.at
    if at is None:
        return {
            "never": "never: the slope stays above a tenth of that at 0",
            "it does not fall at 0": "not defined: the cost does not fall at 0",
        }[r.satisfied.how]
    return f"{amount(at if r.rising else -at, r)}, where {r.satisfied.how}"


def amount(x: float, r: Reach) -> str:
    """So much of what the cost is a function of: "3 nats of log π", or "z = 3"."""
    return f"{short(x)} {r.unit} of {r.quantity}" if r.unit else f"{r.quantity} = {short(x)}"


def near_zero_lines(card: Card) -> Lines:
    """Who → f(0), f′(0), f″(0), and where the parabola of these is lowest."""
    return [(r.of, _near_zero(r)) for r in card.reach]


def _near_zero(r: Reach) -> str:
    at = r.shape
    text = f"f = {short(at.value)}, f′ = {short(at.slope)}, f″ = {short(at.curvature)}"
    if r.lowest is None:
        return f"{text}; no parabola with a lowest point"
    return f"{text}; the parabola is lowest at {short(r.lowest)} {r.unit}".rstrip()


def card_lines(card: Card) -> list[tuple[str, str | Lines]]:
    """The card from top to bottom; what there is nothing to say of is left out."""
    scope = "; the cost of each depends on the whole batch" if card.scope == "batch" else ""
    rows = f"{STRUCTURES[card.structure]}{scope}" if card.structure else ""
    found: list[tuple[str, str | Lines]] = [
        ("formula", card.formula),
        ("LaTeX", card.latex),
        ("parts", list(card.parts.items())),
        ("parameters", parameter_lines(card)),
        ("margin loss", loss_lines(card.loss) if card.loss else ""),
        ("near 0", near_zero_lines(card) if card.kind != "losses" else ""),
        ("satisfied", reach_lines(card)),
        ("score", _form(card)),
        ("optimum", card.optimum),
        ("rows", rows),
        ("needs", _needs(card.needs)),
        ("pitfalls", list(card.pitfalls.items())),
        ("source", card.source),
    ]
    return [(label, content) for label, content in found if content]


def _form(card: Card) -> str:
    if card.pbde is None:
        return ""
    view = ", before the view" if "view" in card.parts else ""
    return FORM[card.pbde] + view + (RECOVERS if card.recovers else "")


def _needs(needs: Mapping[str, str]) -> Lines:
    return list(needs.items())
