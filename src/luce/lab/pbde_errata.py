"""Where the papers' printed formulas cannot be meant: each beside what the objective computes."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.lab.experiment import Check, Experiment, Result, above, at_most, exactly, near
from luce.lab.figures import panels
from luce.lab.pbde_density import BLUE, RED
from luce.lab.pbde_world import FINE, world
from luce.models.tabular import pairs_of, score_optimum
from luce.objectives import LOSSES, OBJECTIVES
from luce.objectives.scores import log_prob
from luce.report.plots import INK, library_style
from luce.types import Lists, Pairs, Responses

ORDERED, MISORDERED = 2.0, -2.0
"""Margins, nats, of a pair that the model ranks as the annotator does, and of one it does not."""


def run(seeds: int, quick: bool) -> Result:
    """Exact; no seeds are needed, and a quick run is the same."""
    checks = (
        *_ranking("eq. 19 (RRHF)", rrhf, rrhf_as_printed),
        *_ranking("eq. 20 (SLiC)", slic, slic_as_printed),
        *_one_index(),
        *_factor(),
        *_savage(),
    )
    with library_style():
        figures = {"errata": _figure()}
    verdict = (
        "Five formulas are not what the authors ran. Eq. 19 and 20 print the bracket's sign "
        "outside: as printed neither loss pushes a wrongly ordered pair, and both fall without end "
        "on a right one. Eq. 29 and 30 drop the index of the policies: with one policy the "
        "mixture is a single annotator, whatever the weights. Eq. 26 to 28 leave out the factor "
        "50. Savage, which the GPO paper lists among convex losses, is not convex. The "
        "objectives here follow the programs, and the sources that the papers cite."
    )
    return Result(checks, figures, {"errata": _table()}, verdict)


def _one(z: Float[Tensor, " margins"]) -> tuple[Responses, Responses]:
    """Pairs of responses of one token, z nats apart."""
    one = torch.ones(len(z), dtype=torch.int64)
    return Responses(-5 + z / 2, one), Responses(-5 - z / 2, one)


def rrhf(z: Float[Tensor, " margins"]) -> Float[Tensor, " margins"]:
    """The ranking part of the product's loss: without the likelihood of the best."""
    chosen, rejected = _one(z)
    both = Responses(
        torch.stack([chosen.policy, rejected.policy], 1).flatten(),
        torch.ones(2 * len(z), dtype=torch.int64),
    )
    grades = torch.tensor([1.0, 0.0], dtype=z.dtype).repeat(len(z))
    cost = OBJECTIVES["rrhf"]()(Lists(both, torch.full((len(z),), 2), grades))
    return cost + chosen.policy


def rrhf_as_printed(z: Float[Tensor, " margins"]) -> Float[Tensor, " margins"]:
    """−(m_i − m_j)⁺."""
    return -torch.relu(z)


def slic(z: Float[Tensor, " margins"]) -> Float[Tensor, " margins"]:
    """The product's hinge with δ = 1, without its likelihood."""
    chosen, rejected = _one(z)
    return OBJECTIVES["slic"](delta=1.0, lam=0.0)(Pairs(chosen, rejected))


def slic_as_printed(z: Float[Tensor, " margins"]) -> Float[Tensor, " margins"]:
    """δ − (z)⁺ with δ = 1."""
    return 1 - torch.relu(z)


def slope(loss: Callable[[Tensor], Tensor], z: float) -> float:
    """dloss/dz."""
    at = torch.tensor([z], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss(at).sum(), at)[0].item()


def _ranking(
    name: str, meant: Callable[[Tensor], Tensor], printed: Callable[[Tensor], Tensor]
) -> list[Check]:
    far = printed(torch.tensor([1e3], dtype=torch.float64)).item()
    return [
        near(f"{name} as printed: slope at a wrong order", exactly(slope(printed, MISORDERED)),
             0.0, 0.0),
        near(f"{name} as meant: likewise", exactly(slope(meant, MISORDERED)), -1.0, 1e-9),
        near(f"{name} as meant: slope at a right order", exactly(slope(meant, ORDERED)), 0.0, 1e-9),
        at_most(f"{name} as printed: cost at a margin of 1000", exactly(far), -900.0),
    ]  # fmt: skip


def _one_index() -> list[Check]:
    """Σ wᵢ σ(Ω(A) − Ω(B)) with one policy is σ(Ω(A) − Ω(B))."""
    space = world(41)
    a, b = torch.cartesian_prod(torch.arange(41), torch.arange(41)).T
    pairs = pairs_of(space.target, a, b, space.two_people[a, b])

    def same(y: Responses) -> Responses:
        return Responses(y.policy, y.lengths, columns={"policy_2": y.policy})

    mixed = OBJECTIVES["mixture"](weights=(0.4, 0.6))(
        Pairs(same(pairs.chosen), same(pairs.rejected), pairs.label)
    )
    apart = (mixed - OBJECTIVES["luce"]()(pairs)).abs().max().item()
    fine = world(FINE)
    optimum = score_optimum(
        fine.two_people,
        log_prob(),
        LOSSES["logistic"],
        fine.space,
        proposal=fine.pretrained,
    )
    return [
        at_most("eq. 30 without the index: cost, less that of one annotator", exactly(apart), 1e-9),
        near("its optimum: TV to what both like", exactly(optimum.total_variation(fine.target)),
             0.486, 2e-3),
    ]  # fmt: skip


def _factor() -> list[Check]:
    """A tenth of a nat per token, which is much between two texts."""
    gap = torch.tensor([0.1], dtype=torch.float64)
    sure = {}
    for scale in (1.0, 50.0):
        chosen, rejected = _one(gap)
        cost = OBJECTIVES["luce_length_normalized"](scale=scale)(Pairs(chosen, rejected))
        sure[scale] = math.exp(-cost.item())
    return [
        near("eq. 26 as printed: P at 0.1 nats per token", exactly(sure[1.0]), 0.525, 1e-3),
        near("eq. 26 times 50: likewise", exactly(sure[50.0]), 0.993, 1e-3),
    ]


def bend(loss: str) -> float:
    """Least second derivative of φ on [−6, 6]: under 0 where it is not convex."""
    z = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    value = LOSSES[loss].phi(z)
    return ((value[2:] - 2 * value[1:-1] + value[:-2]) / 1e-4).min().item()


def _savage() -> list[Check]:
    others = min(
        bend(name) for name in ("logistic", "hinge", "square", "exponential", "truncated_quadratic")
    )
    return [
        at_most("savage: least second derivative (not convex)", exactly(bend("savage")), -0.05),
        above("the other five losses: likewise (convex)", exactly(others), -1e-6),
    ]


def _table() -> list[dict[str, float | str]]:
    return [
        {"formula": name, "margin": z, "slope_printed": slope(printed, z),
         "slope_meant": slope(meant, z)}
        for name, meant, printed in (("eq. 19", rrhf, rrhf_as_printed),
                                     ("eq. 20", slic, slic_as_printed))
        for z in (MISORDERED, ORDERED)
    ]  # fmt: skip


def _figure() -> Figure:
    titles = ["eq. 19, RRHF", "eq. 20, SLiC, δ = 1", "eq. 26, P by nats per token", "savage"]
    figure, all_axes = panels(titles, 3.5)
    z = torch.linspace(-3, 3, 241, dtype=torch.float64)
    both = ((rrhf, rrhf_as_printed), (slic, slic_as_printed))
    for axes, (meant, printed) in zip(all_axes, both, strict=False):
        axes.plot(z, printed(z), "--", color=RED, linewidth=1.4, label="as printed")
        axes.plot(z, meant(z), color=BLUE, linewidth=1.8, label="as meant")
        axes.set_xlabel("margin of the pair, nats")
    gap = torch.linspace(-0.3, 0.3, 241, dtype=torch.float64)
    all_axes[2].plot(gap, torch.sigmoid(gap), "--", color=RED, linewidth=1.4)
    all_axes[2].plot(gap, torch.sigmoid(50 * gap), color=BLUE, linewidth=1.8)
    all_axes[2].set_xlabel("difference, nats per token")
    wide = torch.linspace(-6, 6, 241, dtype=torch.float64)
    all_axes[3].plot(wide, LOSSES["savage"].phi(wide), color=BLUE, linewidth=1.8)
    chord = LOSSES["savage"].phi(torch.tensor([-6.0, 0.0], dtype=torch.float64))
    all_axes[3].plot([-6, 0], chord, ":", color=INK, linewidth=1.4)
    all_axes[3].annotate("a chord under the curve", (-5.9, 0.12), fontsize=8.5)
    all_axes[3].set_xlabel("margin")
    all_axes[0].set_ylabel("cost")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


EXPERIMENT = Experiment(
    name="pbde-errata",
    claim="Equations 19, 20, 26 to 30 as printed; the losses of GPO's table 1, all convex.",
    source="Dumoulin et al., arXiv:2311.14115; Tang et al., arXiv:2402.05749",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="does not hold",
    stops="Not as printed: the authors' programs, and the sources that the papers cite, have what "
    "the objectives here compute.",
    cpu_s=(1, 1),
)
