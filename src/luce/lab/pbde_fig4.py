"""Who is preferred to whom, on the whole square: one person, two people, and models of the two."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.intervals import Estimate
from luce.lab.experiment import Experiment, Result, above, at_most, exactly, near, over_seeds
from luce.lab.pbde_fig5 import arms
from luce.lab.pbde_networks import Learnt, learn, setting
from luce.lab.pbde_two import Found, disentangle, undecided
from luce.lab.pbde_world import World, world
from luce.models.tabular import luce_annotator
from luce.report.plots import library_style

Square = Float[Tensor, "n n"]


def run(seeds: int, quick: bool) -> Result:
    """`seeds` single policies and as many mixtures."""
    size = setting(quick)
    space = world(size.points)
    single = learn([one.arm for one in arms(space)], space, size, seeds)[0]
    return result(single, disentangle(space, size, seeds), space, quick)


def result(single: Sequence[Learnt], mixed: Sequence[Found], space: World, quick: bool) -> Result:
    """Checks, figure and verdict."""
    truth, one = space.two_people, space.one_person
    singles = [luce_annotator(run.policy) for run in single]
    mixtures = [found.preference for found in mixed]
    optimum = luce_annotator(arms(space)[0].theory)

    def error(square: Square) -> float:
        return (square - truth).abs().mean().item()

    error_single, error_mixed = _over(singles, error), _over(mixtures, error)
    apart = (one - truth).abs().max().item()
    unsure = [_over(squares, undecided) for squares in (mixtures, singles)]
    checks = (
        near("two people: share of the square undecided", exactly(undecided(truth)), 0.429, 0.01),
        at_most("one person who likes both: likewise", exactly(undecided(one)), 0.1),
        above("eq. 24 and 25: largest difference of P", exactly(apart), 0.5),
        near("mixture: share undecided", unsure[0], 0.427, 0.02 if quick else 0.01),
        near("one policy: share undecided", unsure[1], 0.287, 0.03 if quick else 0.01),
        at_most("mixture: mean error of P", error_mixed, 0.04 if quick else 0.02),
        near("one policy: mean error of P", error_single, 0.161, 0.01),
        near(
            "its exact optimum: mean error of P",
            exactly(error(optimum)),
            0.161,
            0.01,
        ),
    )
    squares = {
        "one person who likes both": one,
        "two people, one asked": truth,
        "learnt as one": torch.stack(singles).mean(0),
        "learnt as a mixture": torch.stack(mixtures).mean(0),
    }
    with library_style():
        figures = {"preferences": _figure(squares)}
    table = [
        {"who": name, "undecided": undecided(square), "error": error(square)}
        for name, square in squares.items()
    ]
    verdict = (
        "Holds. Two people with opposite tastes are undecided over "
        f"{undecided(truth):.0%} of the square, one person who likes both over "
        f"{undecided(one):.0%}. No single density has such a square: fitted to it, one is wrong "
        f"by {error_single.value:.2f} on average, as is its exact optimum, and a mixture by "
        f"{error_mixed.value:.3f}. (Means over seeds are drawn.)"
    )
    return Result(checks, figures, {"squares": table}, verdict)


def _over(squares: Sequence[Square], of: Callable[[Square], float]) -> Estimate:
    return over_seeds(torch.tensor([of(square) for square in squares], dtype=torch.float64))


def _figure(squares: dict[str, Square]) -> Figure:
    figure = Figure(figsize=(13.2, 3.5), layout="constrained")
    image = None
    for number, (name, square) in enumerate(squares.items(), start=1):
        axes = figure.add_subplot(1, 4, number)
        image = axes.imshow(
            square.T.numpy(), origin="lower", extent=(-10, 10, -10, 10), vmin=0, vmax=1,
            cmap="RdBu_r", interpolation="nearest",
        )  # fmt: skip
        axes.set_title(name, loc="left", fontsize=10.5)
        axes.set_xlabel("$x_A$")
        axes.set_xticks([-10, -5, 0, 5, 10])
        axes.set_yticks([-10, -5, 0, 5, 10])
        if number == 1:
            axes.set_ylabel("$x_B$")
    assert image is not None
    figure.colorbar(image, ax=figure.axes, shrink=0.85, label=r"P($x_A \succ x_B$)")
    return figure


EXPERIMENT = Experiment(
    name="pbde-fig4",
    claim="Regions near one half come of strong but opposite preferences, which no single "
    "annotator's model can capture and a mixture can.",
    source="Dumoulin et al., arXiv:2311.14115, eq. 24 and 25, figure 4",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="The mixture has to be told that there are two of them.",
    cpu_s=(127, 11),
)
