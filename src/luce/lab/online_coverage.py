"""Regret against coverage: how much of what matters has π₀ to show for offline learning."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from luce.intervals import Estimate
from luce.lab.experiment import (
    Check,
    Experiment,
    Result,
    above,
    at_most,
    below,
    near,
    over_seeds,
    ratio_over_seeds,
)
from luce.lab.figures import legend_below, line_with_band, panels
from luce.models.tabular import LinearWorld, coverage_gap
from luce.online.explore import STRATEGIES, Candidates, Explorer, Strategy, learn
from luce.report.plots import INK, library_style

SHARES = (0.005, 0.02, 0.05, 0.1, 0.25)
"""Of π₀ on the quarter of actions that alone shows half of the features; the last is uniform."""
LEARNT = ("offline", "two_samples", "enhancer_actions")
COMPARISONS = 600


@dataclass(frozen=True)
class Lazy:
    """Highest against lowest reward without a tie-break, as argmax and argmin give them."""

    def choose(
        self, candidates: Candidates, generator: torch.Generator
    ) -> Int[Tensor, "*prompts 2"]:
        """(argmax, argmin): the same response where all rewards are equal."""
        rewards = candidates.rewards
        return torch.stack([rewards.argmax(-1), rewards.argmin(-1)], -1)

    def observe(self, candidates: Candidates, pairs: Int[Tensor, "*prompts 2"]) -> None:
        """Nothing to remember."""


def _lazy(d: int, worlds: tuple[int, ...]) -> Explorer:
    return Lazy()


@dataclass(frozen=True)
class Seen:
    """What was found at one share.

    Attributes:
        price: n times the regret that n comparisons of π₀'s own pairs leave, n → ∞.
        regret: strategy → J(π*) − J(π) after `COMPARISONS`.
    """

    price: Float[Tensor, " worlds"] = field(repr=False)
    regret: Mapping[str, Float[Tensor, " worlds"]] = field(repr=False)


def run(seeds: int, quick: bool) -> Result:
    """`seeds` worlds at each share; `quick` changes nothing else."""
    found = {}
    for share in SHARES:
        worlds = shown(coverage_gap(seeds), share)
        ends = {name: learn(worlds, STRATEGIES[name], 1).regret[-1] for name in LEARNT}
        found[share] = Seen(price(worlds), ends)
    worlds = coverage_gap(seeds)
    stuck = {
        name: learn(worlds, strategy, 1).regret[-1]
        for name, strategy in (
            ("argmax and argmin", Strategy("best and worst, no tie-break", _lazy, n=8)),
            ("ties at random", STRATEGIES["best_worst"]),
        )
    }
    return result(found, stuck, worlds.regret(worlds.reference))


def shown(world: LinearWorld, share: float) -> LinearWorld:
    """π₀ with that share, evenly, on the last quarter of the actions."""
    n = world.reference.shape[-1]
    rare = n // 4
    mass = torch.full((n,), (1 - share) / (n - rare), dtype=torch.float64)
    mass[-rare:] = share / rare
    return replace(world, reference=mass.log().expand_as(world.reference))


def price(world: LinearWorld) -> Float[Tensor, " worlds"]:
    """tr(V I⁻¹)/2η: with the Fisher information I of a comparison of two samples of π₀ and the
    covariance V of φ under π*, the regret of n of them is this over n, for large n. The error of
    θ̂ is normal with I⁻¹/n, and η KL(π̂ ‖ π*) is Var_π*(r̂ − r*)/2η to second order."""
    draw = world.reference.exp()
    gap = world.reward.unsqueeze(-1) - world.reward.unsqueeze(-2)
    weight = draw.unsqueeze(-1) * draw.unsqueeze(-2) * gap.sigmoid() * (-gap).sigmoid()
    # Σ w (φ_a − φ_b)(φ_a − φ_b)ᵀ over pairs is twice φᵀ (diag(w 1) − w) φ
    laplacian = torch.diag_embed(weight.sum(-1)) - weight
    phi = world.features
    information = 2 * (phi.mT @ laplacian @ phi).mean(-3)
    best = world.optimum().exp()
    centred = phi - (best.unsqueeze(-1) * phi).sum(-2, keepdim=True)
    covariance = (centred.mT @ (best.unsqueeze(-1) * centred)).mean(-3)
    solved = torch.linalg.solve(information, covariance)
    return solved.diagonal(dim1=-2, dim2=-1).sum(-1) / (2 * world.eta)


def result(
    found: Mapping[float, Seen], stuck: Mapping[str, Tensor], start: Float[Tensor, " worlds"]
) -> Result:
    """Checks, figure and verdict."""
    hidden, covered = SHARES[1], SHARES[-1]
    theory = _to_theory(found[covered])
    even = [s for s in SHARES if _ratio(found[s], "offline", "two_samples").value < 1]
    lost = {name: over_seeds(found[hidden].regret[name]).value for name in LEARNT}
    verdict = (
        "Holds, and coverage decides. Where π₀ gives 2 % of its mass to the actions that show half "
        f"of the features, {COMPARISONS} comparisons offline leave a regret of "
        f"{lost['offline']:.2f}, online {lost['two_samples']:.2f}, with an enhancer "
        f"{lost['enhancer_actions']:.3f}. From a share of "
        f"{min(even, default=math.nan):g} on offline learning is the better of the first two, "
        "and its regret is that of the closed form tr(V I⁻¹)/2ηn "
        f"({theory.value:.2f} times it where π₀ is uniform). An enhancer hardly needs coverage, "
        "where it may choose among all actions. Its heuristic, best against worst, has to break "
        "ties at random: of the constant reward of the first round argmax and argmin are one "
        "response, and nothing is ever learnt."
    )
    rows = [
        {
            "share": share,
            "strategy": STRATEGIES[name].label,
            **over_seeds(seen.regret[name]).flat("regret"),
            "closed_form": seen.price.mean().item() / COMPARISONS,
        }
        for share, seen in found.items()
        for name in LEARNT
    ]
    with library_style():
        figures = {"coverage": _figure(found)}
    return Result(checks(found, stuck, start), figures, {"coverage": rows}, verdict)


def checks(
    found: Mapping[float, Seen], stuck: Mapping[str, Tensor], start: Float[Tensor, " worlds"]
) -> tuple[Check, ...]:
    """Who is better where, and how near to the closed form."""
    hidden, covered = SHARES[1], SHARES[-1]
    first, last = (found[share].price for share in (SHARES[0], covered))
    return (
        above(
            f"share {hidden:g}: offline / online",
            _ratio(found[hidden], "offline", "two_samples"),
            3.0,
        ),
        above(
            f"share {hidden:g}: online / enhancer",
            _ratio(found[hidden], "two_samples", "enhancer_actions"),
            1.0,
        ),
        below(
            f"share {covered:g}: offline / online",
            _ratio(found[covered], "offline", "two_samples"),
            1.0,
        ),
        near(
            f"share {covered:g}: offline / closed form of many comparisons",
            _to_theory(found[covered]),
            1.0,
            0.25,
        ),
        above("price of a regret: least share over uniform", ratio_over_seeds(first, last), 5.0),
        *(
            above(
                f"offline regret: share {a:g} less share {b:g}",
                over_seeds(found[a].regret["offline"] - found[b].regret["offline"]),
                0.0,
            )
            for a, b in zip(SHARES[1:], SHARES[2:], strict=False)
        ),
        at_most(
            "argmax and argmin of a constant reward: regret less that of π₀, largest",
            over_seeds((stuck["argmax and argmin"] - start).abs()),
            1e-9,
        ),
        above("ties at random: regret less, by", over_seeds(start - stuck["ties at random"]), 0.5),
    )


def _ratio(seen: Seen, over: str, under: str) -> Estimate:
    return ratio_over_seeds(seen.regret[over], seen.regret[under])


def _to_theory(seen: Seen) -> Estimate:
    return ratio_over_seeds(seen.regret["offline"], seen.price / COMPARISONS)


def _figure(found: Mapping[float, Seen]) -> Figure:
    figure, (left, right) = panels(
        [f"after {COMPARISONS} comparisons", "offline, against its closed form"], 3.7
    )

    def stacked(of: Callable[[Seen], Tensor]) -> Float[Tensor, "shares worlds"]:
        return torch.stack([of(seen) for seen in found.values()])

    for number, name in enumerate(LEARNT):
        values = stacked(lambda seen, n=name: seen.regret[n])
        line_with_band(left, SHARES, values, STRATEGIES[name].label, number)
    left.set_xscale("log")
    left.set_xticks(SHARES, [f"{share:g}" for share in SHARES])
    left.set_xlabel("share of π₀ that shows half of the features")
    left.set_ylabel(r"$J(\pi^*) - J(\hat\pi)$")
    foretold = stacked(lambda seen: seen.price / COMPARISONS).mean(1).tolist()
    line_with_band(right, foretold, stacked(lambda seen: seen.regret["offline"]), "measured", 0)
    right.plot(foretold, foretold, "-.", color=INK, linewidth=1.2, label="tr(V I⁻¹)/2ηn")
    for share, x in zip(SHARES, foretold, strict=True):
        y = found[share].regret["offline"].mean().item()
        right.annotate(f"{share:g}", (x, y), (6, -12), textcoords="offset points", fontsize=8.5)
    right.set_xscale("log")
    right.set_xticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
    right.set_xlabel("closed form of many comparisons")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_yticks([0.03, 0.1, 0.3, 1.0], ["0.03", "0.1", "0.3", "1"])
        axes.minorticks_off()
    right.legend(fontsize=8.5, loc="upper left")
    legend_below(figure, left)
    return figure


EXPERIMENT = Experiment(
    name="online-coverage",
    claim="Offline learning suffers from insufficient coverage: what π₀ hardly shows is judged "
    "wrongly, and online data mend it.",
    source="Xiong, Iterative Preference Learning, limitation of offline learning; arXiv:2312.11456",
    run=run,
    seeds=200,
    quick_seeds=40,
    verdict="holds",
    stops="Once π₀ gives a tenth of its mass to what matters, offline learning is as good as "
    "online learning without exploration, or better.",
    cpu_s=(14, 3),
)
