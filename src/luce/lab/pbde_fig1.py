"""A reward model after a Luce annotator: it learns the logarithm of what he likes."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from luce.lab.experiment import Check, Experiment, Result, at_most, exactly, over_seeds
from luce.lab.pbde_density import (
    GREEN,
    RED,
    Foretold,
    densities,
    distances,
    legend,
    over,
    rows,
    sheet,
)
from luce.lab.pbde_networks import Arm, Learnt, learn, setting
from luce.lab.pbde_world import World, normal, world
from luce.models.tabular import best_scores, grid, luce_annotator, mixture
from luce.objectives import LOSSES, OBJECTIVES
from luce.report.plots import library_style

NEAR = (-4.0, 6.0)
"""Outside, judgements are certain and say nothing of how far apart two points are."""


def run(seeds: int, quick: bool) -> Result:
    """`seeds` reward models for each way of drawing pairs."""
    size = setting(quick)
    space = world(size.points)
    foretold = arms(space)
    return result(foretold, learn([one.arm for one in foretold], space, size, seeds), space, quick)


def arms(space: World) -> list[Foretold]:
    """Pairs from π_pre, as the authors' program draws them, and uniform, as their text says."""
    objective, person, uniform = (
        OBJECTIVES["bradley_terry"](),
        space.one_person,
        space.space.uniform(),
    )
    drawn = (
        Arm("pairs from π_pre", objective, person, afresh=True),
        Arm("pairs uniform", objective, person, uniform, afresh=True),
    )
    return [
        Foretold(drawn[0], space.target, "p*", 0.05, 0.07),
        Foretold(drawn[1], space.target, "p*", 0.08, 0.1),
    ]


def result(
    foretold: Sequence[Foretold], learnt: Sequence[Sequence[Learnt]], space: World, quick: bool
) -> Result:
    """Checks, figures and verdict."""
    target = space.target
    by_weight, by_range = (
        over_seeds(torch.tensor([_spread(one, space, near) for one in learnt[0]]))
        for near in (False, True)
    )
    kl = over(learnt[0], lambda p: target.kl(p).item())
    checks = [
        *distances(foretold, learnt, quick),
        at_most("pairs from π_pre: KL(p* ‖ learnt), nats", kl, 0.02 if quick else 0.01),
        at_most("reward − log p*: sd under p*, nats", by_weight, 0.15 if quick else 0.12),
        at_most("reward − log p*: sd over −4 < x < 6, nats", by_range, 0.35 if quick else 0.3),
        _exact_offset(),
    ]
    tv, uniform = (over(ended, target.total_variation).value for ended in learnt)
    with library_style():
        figures = {"densities": densities(foretold, learnt, space, columns=2)}
        figures["offset"] = _offsets(learnt, space)
    verdict = (
        f"Holds. exp(reward)/Z is p* to a total variation of {tv:.3f}, and the reward is log p* "
        f"plus a constant to {by_weight.value:.2f} nats where p* lies. Outside of −4 to 6 it is "
        "not: there every judgement is certain and the data do not say how unwanted a point is. "
        "Uniform pairs, which the text of figure 1 names and the authors' program does not use, "
        f"recover p* too (total variation {uniform:.3f})."
    )
    return Result(tuple(checks), figures, {"densities": rows(foretold, learnt, space)}, verdict)


def _spread(one: Learnt, space: World, near: bool) -> float:
    """Standard deviation of reward − log p*: under p*, or over `NEAR`."""
    offset = one.energy - space.target.log_prob
    if not near:
        return space.target.variance(offset).item() ** 0.5
    assert space.space.points is not None
    inside = (space.space.points > NEAR[0]) & (space.space.points < NEAR[1])
    return offset[inside].std().item()


def _exact_offset() -> Check:
    """Theorem 1 itself: the best scores of the population against log p*."""
    space = grid(*NEAR, 101)
    shares = torch.tensor([0.4, 0.6], dtype=torch.float64)
    target = mixture([normal(space, -2.5, 0.25), normal(space, 2.5, 1.0)], shares)
    pre = normal(space, 0.0, 5.0)
    offset = best_scores(luce_annotator(target), LOSSES["logistic"], pre) - target.log_prob
    spread = (offset - offset.mean()).abs().max().item()
    return at_most("exact optimum: reward − log p* less its mean, nats", exactly(spread), 1e-5)


def _offsets(learnt: Sequence[Sequence[Learnt]], space: World) -> Figure:
    """Figure 7: the reward, log p* shifted by the mean difference, and the difference."""
    assert space.space.points is not None
    x = space.space.points.tolist()
    log_target = space.target.log_prob
    figure, (left, right) = sheet(["reward and log p*", "reward − log p*, less its mean"], 2)
    for number, one in enumerate(learnt[0]):
        offset = one.energy - log_target
        level = space.target.expectation(offset)
        label = "learnt, one line a seed" if number == 0 else None
        left.plot(x, (one.energy - level).tolist(), color=GREEN, linewidth=1.6, label=label)
        right.plot(x, (offset - level).tolist(), color=GREEN, linewidth=1.2)
    left.plot(x, log_target.tolist(), "-.", color=RED, linewidth=1.3, label="theory")
    right.axhline(0.0, color=RED, linestyle="-.", linewidth=1.3)
    left.set_ylim(-40, 5)
    right.set_xlim(-6, 9)
    right.set_ylim(-3, 3)
    left.set_ylabel("nats")
    for axes in (left, right):
        axes.set_xlabel("x")
    legend(figure, left)
    return figure


EXPERIMENT = Experiment(
    name="pbde-fig1",
    claim="A reward model learns the annotator's implicit preference distribution: e^r ∝ p*.",
    source="Dumoulin et al., arXiv:2311.14115, theorem 1, figures 1 and 7",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="Where p* lies. Outside −4 to 6 judgements are certain, and the reward is tens of nats "
    "off.",
    cpu_s=(63, 6),
)
