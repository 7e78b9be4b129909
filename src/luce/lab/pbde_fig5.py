"""Two annotators taken for one: lukewarm coffee."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from luce.lab.experiment import Experiment, Result, above, exactly, near
from luce.lab.pbde_density import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Foretold,
    band,
    curve,
    distances,
    legend,
    over,
    rows,
    sheet,
    theory_is,
)
from luce.lab.pbde_networks import Arm, Learnt, learn, setting
from luce.lab.pbde_world import FINE, World, world
from luce.models.tabular import score_optimum
from luce.objectives import LOSSES, OBJECTIVES
from luce.objectives.scores import log_prob
from luce.report.plots import library_style

PINK = "#c05a86"


def run(seeds: int, quick: bool) -> Result:
    """`seeds` runs."""
    size = setting(quick)
    space = world(size.points)
    foretold = arms(space)
    return result(foretold, learn([one.arm for one in foretold], space, size, seeds), space, quick)


def arms(space: World) -> list[Foretold]:
    """One density, fitted to the judgements of two people. Theory is the exact optimum: it has no
    closed form."""
    optimum = score_optimum(
        space.two_people,
        log_prob(),
        LOSSES["logistic"],
        space.space,
        proposal=space.pretrained,
    )
    arm = Arm("one policy for two people", OBJECTIVES["luce"](), space.two_people)
    return [Foretold(arm, optimum, "its exact optimum", 0.035, 0.07)]


def result(
    foretold: Sequence[Foretold], learnt: Sequence[Sequence[Learnt]], space: World, quick: bool
) -> Result:
    """Checks, figure and verdict."""
    fine = world(FINE)
    optimum = arms(fine)[0].theory
    tepid = over(learnt[0], lambda p: p.mass(-1.0, 1.0))
    iced = over(learnt[0], lambda p: p.at(0.0) - p.at(-2.5))
    checks = [
        *distances(foretold, learnt, quick),
        theory_is("exact optimum: TV to p*", optimum, fine.target, 0.486),
        near("exact optimum: highest at x =", exactly(optimum.peak()), 1.5, 0.06),
        near("exact optimum: density at 0", exactly(optimum.at(0.0)), 0.111, 1e-3),
        near(
            "learnt: TV to p*",
            over(learnt[0], space.target.total_variation),
            0.486,
            0.04 if quick else 0.02,
        ),
        near("learnt: density at 0", over(learnt[0], lambda p: p.at(0.0)), 0.11, 0.025),
        above("learnt: density at 0 less that at −2.5", iced, 0.0),
        above("learnt: mass of −1 to 1, over 5 times that of p*", tepid, 5 * _tepid(fine)),
    ]
    with library_style():
        figures = {"densities": _figure(foretold[0], learnt[0], space)}
    verdict = (
        f"Holds. Of what is served, {tepid.value:.0%} lies between −1 and 1, where p* has "
        f"{_tepid(fine):.0%}; the density at 0, which nobody likes, is higher than at −2.5, which "
        "one of the two likes best. It is the exact optimum of the mistaken model that does so: no "
        "more data or training would help (pbde-fig11 mends the model)."
    )
    return Result(tuple(checks), figures, {"densities": rows(foretold, learnt, space)}, verdict)


def _tepid(space: World) -> float:
    return space.target.mass(-1.0, 1.0)


def _figure(one: Foretold, ended: Sequence[Learnt], space: World) -> Figure:
    figure, (axes,) = sheet([one.arm.label], 1)
    figure.set_size_inches(6.2, 4.0)
    curve(axes, space.tastes[0], BLUE, "--", "likes iced coffee")
    curve(axes, space.tastes[1], PINK, "-.", "likes hot coffee")
    curve(axes, space.pretrained, ORANGE, ":", r"$\pi_{pre}$")
    band(axes, [run.policy for run in ended], GREEN, "learnt, range over seeds")
    curve(axes, one.theory, RED, "-.", "theory: exact optimum")
    axes.set_ylim(0, 0.65)
    axes.annotate("to 1.6", (-1.9, 0.62), fontsize=8, color=BLUE)
    axes.set_xlabel("x, from cold to hot")
    axes.set_ylabel("density")
    legend(figure, axes, columns=3)
    return figure


EXPERIMENT = Experiment(
    name="pbde-fig5",
    claim="A policy adapted to two annotators as if they were one fits neither of them.",
    source="Dumoulin et al., arXiv:2311.14115, section 5.1, eq. 25, figure 5",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="It is the exact optimum of a mistaken model: no more data or training would help.",
    cpu_s=(45, 4),
)
