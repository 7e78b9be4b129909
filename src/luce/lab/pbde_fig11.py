"""Two annotators told apart, without anybody saying who judged."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from luce.lab.experiment import Check, Experiment, Result, at_most, near, over_seeds
from luce.lab.pbde_density import BLUE, GREEN, RED, band, curve, legend, sheet
from luce.lab.pbde_networks import setting
from luce.lab.pbde_two import Found, disentangle
from luce.lab.pbde_world import SHARES, World, world
from luce.report.plots import library_style


def run(seeds: int, quick: bool) -> Result:
    """`seeds` mixtures."""
    size = setting(quick)
    space = world(size.points)
    return result(disentangle(space, size, seeds), space, quick)


def result(found: Sequence[Found], space: World, quick: bool) -> Result:
    """Checks, figure and verdict."""

    def over(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)

    narrow, wide = space.tastes
    shares = over_seeds(over([one.shares[0].item() for one in found]))
    tv = [
        over_seeds(over([one.policies[i].total_variation(taste) for one in found]))
        for i, taste in enumerate((narrow, wide))
    ]
    marginal = over_seeds(over([one.marginal.total_variation(space.target) for one in found]))
    where = over_seeds(over([one.policies[0].mean() for one in found]))
    high = over_seeds(over([one.policies[0].density.max().item() for one in found]))
    tall = 0.6 if quick else 0.9
    checks: tuple[Check, ...] = (
        near("share of the one who likes iced coffee", shares, SHARES[0], 0.015),
        near("mean of what he likes", where, -2.5, 0.12),
        at_most("TV(first learnt, likes iced coffee)", tv[0], 0.45 if quick else 0.2),
        at_most("TV(second learnt, likes hot coffee)", tv[1], 0.15 if quick else 0.1),
        at_most("TV(mixture of both, p*)", marginal, 0.2 if quick else 0.15),
        Check("highest density of the first", high, f"> {tall:g}", low=tall),
    )
    with library_style():
        figures = {"densities": _figure(found, space)}
    table = [
        {
            "annotator": name,
            "share": share,
            **over_seeds(over([one.shares[i].item() for one in found])).flat("share_learnt"),
            **tv[i].flat("tv"),
        }
        for i, (name, share) in enumerate(zip(("iced", "hot"), SHARES, strict=True))
    ]
    verdict = (
        f"Holds. The shares come out as {shares.value:.3f} and {1 - shares.value:.3f}, and each "
        "policy is what one of the two likes; the narrow taste is found less exactly, since few "
        "pairs fall into it. The index of the policies, which eq. 29 and 30 drop, is needed: with "
        "one policy for both, the mixture is the single annotator of pbde-fig5."
    )
    return Result(checks, figures, {"annotators": table}, verdict)


def _figure(found: Sequence[Found], space: World) -> Figure:
    titles = ["first annotator", "second annotator", "both, by their shares"]
    figure, all_axes = sheet(titles, 3)
    theories = [*space.tastes, space.target]
    parts = [
        [one.policies[0] for one in found],
        [one.policies[1] for one in found],
        [one.marginal for one in found],
    ]
    for axes, theory, policies in zip(all_axes, theories, parts, strict=True):
        curve(axes, space.pretrained, BLUE, ":", r"$\pi_{pre}$, the start of both")
        band(axes, policies, GREEN, "learnt, range over seeds")
        curve(axes, theory, RED, "-.", "theory: what is liked")
        axes.set_xlabel("x")
    all_axes[0].set_ylabel("density")
    for axes, share in zip(all_axes, SHARES, strict=False):
        axes.set_title(f"share {share:g}", loc="right", fontsize=9)
    legend(figure, all_axes[0])
    return figure


EXPERIMENT = Experiment(
    name="pbde-fig11",
    claim="A mixture of annotators, shares learnt, disentangles two of them without their names.",
    source="Dumoulin et al., arXiv:2311.14115, eq. 29 and 30, appendix A.4, figure 11",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="The narrow taste is found less exactly than the wide one, and somebody has to say that "
    "there are two.",
    cpu_s=(73, 6),
)
